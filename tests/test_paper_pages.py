"""The pages of the two papers, drawn again from the records that are kept of their runs."""

from __future__ import annotations

import csv
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from test_readme import script

from precsearch.results import RunDirectory

ROOT = Path(__file__).parent.parent
Call = Callable[..., tuple[int, str, str]]
PAGES = {
    name: page
    for page in (ROOT / "docs").glob("*.md")
    for name in re.findall(r"<!-- results: ([\w-]+) -->", page.read_text(encoding="utf-8"))
}


def cells(path: Path) -> list[list[str | float]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [[float(cell) if _is_number(cell) else cell for cell in row] for row in csv.reader(file)]


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"-?[\d.]+(e-?\d+)?", cell) is not None


def test_every_run_whose_records_are_kept_has_a_page() -> None:
    kept = {path.name.removesuffix(".tar.xz") for path in (ROOT / "docs" / "records").iterdir()}
    assert set(PAGES) == kept
    assert kept >= {"lacey-mnist-1000", "lacey-mnist-5000", "lacey-mnist-whole", "lacey-cifar-5000", "sung-mlp"}


@pytest.mark.parametrize("figure", sorted((ROOT / "docs").rglob("*.svg")), ids=lambda path: path.stem)
def test_what_a_figure_shows_and_where_it_is_from_stand_beside_it(figure: Path) -> None:
    tables = [figure.with_suffix(".csv"), *figure.parent.glob(f"{figure.stem}-*.csv")]
    held = [table for table in tables if table.exists()]
    assert held and all(len(cells(table)) > 1 for table in held)
    link = f"images/{figure.relative_to(ROOT / 'docs' / 'images')}"
    pages = [page for page in (ROOT / "docs").glob("*.md") if link in page.read_text(encoding="utf-8")]
    told = [text.partition(link)[0].rpartition("Made by")[2] for text in map(Path.read_text, pages)]
    for origin in told or [figure.read_text(encoding="utf-8").rpartition("origin")[2]]:
        assert re.search(r"(precsearch run|python -m) \S+", origin) and re.search(r"seeds?\b", origin)
        assert re.search(r"20\d\d-\d\d-\d\d, .*cores.*torch \d", origin.replace("\n", " ").replace(" · ", ", "))
        assert re.search(r"experiment `?[0-9a-f]{16}|no experiment hash", origin)


@pytest.mark.parametrize("before", ["", "old\n"])
def test_results_leave_the_rest_of_the_page_alone(before: str) -> None:
    page = "<!-- results: one -->\n{}<!-- end -->\n\n<!-- results: two -->\nkept\n<!-- end -->\n"
    maker = script("docs/make_paper_results.py")
    assert maker.put_between_marks(page.format(before), "one", "new\n") == page.format("new\n")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PAGES))
def test_records_draw_the_page_again(name: str, tmp_path: Path, call: Call) -> None:
    with tarfile.open(ROOT / "docs" / "records" / f"{name}.tar.xz") as records:
        records.extractall(tmp_path, filter="data")
    assert call("report", tmp_path / name)[0] == 0
    maker, run = script("docs/make_paper_results.py"), RunDirectory(tmp_path / name)
    found = maker.between_marks(name).search(PAGES[name].read_text(encoding="utf-8"))
    assert found is not None
    wanted = re.findall(rf"images/{name}/([\w-]+)\.svg", found[0])
    assert wanted
    for figure in wanted:
        stored = ROOT / "docs" / "images" / name / f"{figure}.csv"
        drawn = cells(run.path / "figures" / f"{figure}.csv")
        assert drawn == [[pytest.approx(cell, abs=1e-9) for cell in row] for row in cells(stored)], figure
    assert maker.results(run, name, wanted) == found[0]
