"""`report.html` and the files beside it: read, drawn, then written whole."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from precsearch.errors import ConfigurationError, RunDirectoryError
from precsearch.files import write_text
from precsearch.report.reading import read_report_data
from precsearch.results import RunDirectory

if TYPE_CHECKING:
    from precsearch.report.figures import Figure
    from precsearch.report.page.content import Page

NAME: Final = "report.html"
FIGURES: Final = "figures"


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        path: of the page.
        folder: of the figures' files.
        figures: in the order of the page.
        page: what stands on it.
    """

    path: Path
    folder: Path
    figures: tuple[Figure, ...]
    page: Page

    def to_dict(self) -> dict[str, Any]:
        """The one object of ``report --json``.

        Keys: ``report`` (path), ``runs`` (paths), ``finished``, ``lead`` and ``notes`` (sentences),
        ``verdicts`` (``run``, ``trial`` or null for the mean over several, ``against``, ``metric``, ``verdict``,
        ``difference``, ``low`` and ``high`` of its 95 % interval, ``seeds``, ``p``, ``sentence``), ``figures``
        (``name``, ``section``, ``title``, ``caption``, and the paths ``svg``, ``csv`` and ``json``).
        """
        return {
            "report": str(self.path),
            "runs": [run.path for run in self.page.runs],
            "finished": not self.page.unfinished,
            "lead": list(self.page.lead),
            "notes": list(self.page.notes),
            "verdicts": [row.told for row in self.page.verdicts.rows],
            "figures": [
                {
                    "name": figure.name,
                    "section": figure.section,
                    "title": figure.title,
                    "caption": figure.caption,
                    **{kind: str(self.folder / f"{figure.name}.{kind}") for kind in ("svg", "csv", "json")},
                }
                for figure in self.figures
            ],
        }


def write_report(runs: Sequence[RunDirectory], output: Path | None = None) -> Written:
    """Write the report of one run, or of several side by side. Starts no work, changes nothing else.

    Args:
        runs: at least one, each once.
        output: the page; in the run directory where None, of several runs in the working directory. The figures'
            files are in a folder beside it.

    Raises:
        ConfigurationError: when a run is named twice, or `output` is a directory.
        RunDirectoryError: when a run cannot be read, or the page not written.
        AllocationError: when an allocation is damaged.
    """
    path, folder = _places(runs, output)
    with _uncollected():
        from precsearch.report.figures import draw
        from precsearch.report.page.content import page_of
        from precsearch.report.page.render import render

        data = [read_report_data(run, label) for run, label in zip(runs, _labels(runs), strict=True)]
        figures = tuple(draw(data))
        page = page_of(data, figures, quote(folder.name))
        text = render(page)
    try:
        for figure in figures:
            write_text(folder / f"{figure.name}.svg", figure.svg)
            write_text(folder / f"{figure.name}.csv", figure.table.to_csv())
            write_text(folder / f"{figure.name}.json", figure.table.to_json())
        write_text(path, text)
    except RunDirectoryError as error:
        raise RunDirectoryError(f"{error}, or write the report elsewhere with --output FILE") from None
    return Written(path, folder, figures, page)


@contextmanager
def _uncollected() -> Iterator[None]:
    """A context without garbage collection: many objects and little garbage, so it would only take a fifth longer."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _places(runs: Sequence[RunDirectory], output: Path | None) -> tuple[Path, Path]:
    """Where the page goes, and the folder of the figures."""
    resolved = [run.path.resolve() for run in runs]
    for index, run in enumerate(runs):
        run.require()
        if resolved.index(resolved[index]) != index:
            raise ConfigurationError(f"each run directory once must hold, but got {run.path} twice")
    if output is None:
        if len(runs) == 1:
            return runs[0].path / NAME, runs[0].path / FIGURES
        output = Path(NAME)
    if output.is_dir():
        raise ConfigurationError(f"--output must name a file, but {output} is a folder; give {output / NAME}")
    return output, output.with_name(f"{output.stem}-figures")


def _labels(runs: Sequence[RunDirectory]) -> list[str]:
    """The shortest ends of the paths that tell the runs apart: `a`, or `x/a` and `y/a`."""
    parts = [run.path.resolve().parts for run in runs]
    longest = max(map(len, parts))
    for length in range(1, longest + 1):
        labels = ["/".join(each[-length:]).replace("//", "/") for each in parts]
        if len(set(labels)) == len(labels):
            return labels
    return [str(run.path) for run in runs]
