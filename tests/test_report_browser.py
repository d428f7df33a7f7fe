"""The page in a real browser: drawn, quiet, without a network, on a desk and on a phone, in light and in dark."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_reports import Made, make_report

from precsearch.report.page import Written, write_report

pytestmark = pytest.mark.slow
NAMES = ("chromium", "chromium-browser", "google-chrome")
DESK, PHONE = (1280, 900), (390, 844)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        reason = f"no browser: none of {', '.join(NAMES)} is installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # a container's root has no sandbox to give
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write_report([make_report(tmp_path_factory.mktemp("one") / "made")])


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("two")
    runs = [make_report(folder / name, Made(trials=6), seed) for seed, name in enumerate("ab")]
    return write_report(runs, folder / "report.html")


class Visit:
    """A page that was opened, and what went wrong on it."""

    def __init__(self, browser: Any, written: Written, size: tuple[int, int], scheme: str = "light") -> None:
        self.url = written.path.as_uri()
        self.wrong: list[str] = []
        width, height = size
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        context.set_offline(True)
        self.page = context.new_page()
        self.page.on("console", lambda message: self.wrong.append(f"console: {message.text}"))
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("request", self._asked)
        self.page.goto(self.url)

    def _asked(self, request: Any) -> None:
        if request.url != self.url and not request.url.startswith("data:"):
            self.wrong.append(f"request: {request.url}")

    def check(self, written: Written) -> None:
        """Every figure is drawn, nothing reaches past the page, nothing was asked for, nothing went wrong."""
        assert written.figures
        for figure in written.figures:
            drawing = self.page.locator(f"#figure-{figure.name} svg").first
            assert drawing.is_visible(), figure.name
            box = drawing.bounding_box()
            assert box["width"] > 100 and box["height"] > 50, figure.name
            marks = drawing.locator("path, rect, use, circle, polyline, text").count()
            assert marks > 10, figure.name
        for handle in self.page.locator("details summary").all():
            handle.click()
        widths = self.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert widths[0] <= widths[1], "the page scrolls to the side"
        assert self.wrong == []

    def column(self, index: int) -> list[str]:
        cells = f"table.sortable tbody tr:not([hidden]) td:nth-child({index + 1})"
        return [str(text) for text in self.page.locator(cells).all_text_contents()]


@pytest.mark.parametrize("which", ["one", "two"])
@pytest.mark.parametrize("size", [DESK, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_figure_is_drawn_and_nothing_else_is_asked_for(
    browser: Any, request: pytest.FixtureRequest, which: str, size: tuple[int, int], scheme: str
) -> None:
    written: Written = request.getfixturevalue(which)
    Visit(browser, written, size, scheme).check(written)


def test_dark_is_dark(browser: Any, one: Written) -> None:
    brightness = {}
    for scheme in ("light", "dark"):
        page = Visit(browser, one, DESK, scheme).page
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        ink = page.evaluate("getComputedStyle(document.querySelector('figure svg text')).fill")
        brightness[scheme] = [sum(map(int, color.strip("rgb()").split(","))) for color in (ground, ink)]
    assert brightness["light"][0] > 600 and brightness["dark"][0] < 200
    assert brightness["light"][1] < 400 < brightness["dark"][1], "the drawings follow"


def test_headings_sort_by_click_and_by_key(browser: Any, one: Written) -> None:
    visit = Visit(browser, one, DESK)
    headers = [str(text) for text in visit.page.locator("table.sortable thead th").all_text_contents()]
    wanted = headers.index("BitOPs (M)")
    heading = visit.page.locator("table.sortable thead th").nth(wanted)
    numbers = [float(text) for text in visit.column(wanted) if text]
    empty = visit.column(wanted).count("")
    assert numbers != sorted(numbers) and len(numbers) > 9 and empty == 2
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert [float(text) for text in visit.column(wanted)[:-empty]] == sorted(numbers)
    heading.locator("button").focus()
    visit.page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert [float(text) for text in visit.column(wanted)[:-empty]] == sorted(numbers, reverse=True)
    visit.page.keyboard.press("Shift+Tab")
    visit.page.keyboard.press("Space")
    assert heading.get_attribute("aria-sort") is None
    assert visit.page.locator("th[aria-sort]").count() == 1
    assert visit.wrong == []


def test_rows_are_filtered_by_state(browser: Any, one: Written) -> None:
    visit = Visit(browser, one, PHONE)
    visit.page.locator("select[data-filter=state]").select_option("failed")
    assert visit.column(2) == ["failed"]
    assert visit.page.locator("#shown").inner_text() == f"1 of {len(one.page.trials.rows)} rows"
    visit.page.locator("select[data-filter=state]").select_option("")
    visit.page.locator("select[data-filter=arm]").select_option("uniform")
    assert set(visit.column(1)) == {"uniform"}


def test_without_scripts_every_row_is_there(browser: Any, one: Written) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(one.path.as_uri())
    assert page.locator("table.sortable tbody tr").count() == len(one.page.trials.rows) > 20
    assert not page.locator("select[data-filter=state]").is_visible()


def test_a_script_in_a_name_does_not_run(browser: Any, tmp_path: Path) -> None:
    run = make_report(tmp_path / "made", Made(trials=2, seeds=0))
    record = next(each for each in run.records() if each.state == "failed")
    hostile = record.model_copy(update={"reason": "<script>document.title='stolen'</script><img src=x onerror='1'>"})
    run.write_record(run.trial(record.number), hostile)
    visit = Visit(browser, write_report([run]), DESK)
    assert visit.page.title() == "made · precsearch" and visit.wrong == []


def test_an_unfinished_page_loads_itself_again(browser: Any, tmp_path: Path) -> None:
    run = make_report(tmp_path / "made", Made(trials=2, pruned=0, failed=0, seeds=0))
    run.experiment.write_text(run.experiment.read_text().replace("n_trials: 2", "n_trials: 3"))
    visit = Visit(browser, write_report([run]), DESK)
    assert visit.page.locator("meta[http-equiv=refresh]").get_attribute("content") == "30"
    assert "2 of 3 trials" in visit.page.locator("[role=note]").inner_text()
