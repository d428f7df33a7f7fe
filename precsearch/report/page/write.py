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
from precsearch.experiment.loading import load_experiment
from precsearch.files import write_text
from precsearch.report.arms.reading import read_arms_data
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
        ``difference``, ``low`` and ``high`` of its 95 % interval, ``seeds``, ``p``, ``sentence``; of a comparison
        ``cell``, ``at`` and ``arm`` for the trial, and ``left_out``, ``margin``, ``p_equivalent``, ``detectable``;
        of a grid likewise for every gap, and for every effective compression ratio ``curve``, ``ratio``, ``bound``,
        ``low``, ``high``, ``seeds``, ``by_bytes``),
        ``answers`` of a comparison or a grid (``question``, ``answer``, ``sentence``), ``figures`` (``name``,
        ``section``, ``title``, ``caption``, and the paths ``svg``, ``csv`` and ``json``).
        """
        return {
            "report": str(self.path),
            "runs": [run.path for run in self.page.runs],
            "finished": not self.page.unfinished,
            "lead": list(self.page.lead),
            "notes": list(self.page.notes),
            "answers": [
                {"question": part.question, "answer": answer.told, "sentence": answer.sentence}
                for part in self.page.questions
                for answer in part.answers
            ],
            "verdicts": [
                *(row.told for row in self.page.verdicts.rows),
                *(told for part in self.page.tables for told in part.told),
            ],
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
        from precsearch.report.page.render import render

        make = _of_search if _kind(runs) == "search" else _of_arms
        figures, page = make(list(zip(runs, _labels(runs), strict=True)), quote(folder.name))
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


def _of_search(runs: Sequence[tuple[RunDirectory, str]], folder: str) -> tuple[tuple[Figure, ...], Page]:
    from precsearch.report.figures import draw
    from precsearch.report.page.content import page_of

    data = [read_report_data(run, label) for run, label in runs]
    figures = tuple(draw(data))
    return figures, page_of(data, figures, folder)


def _of_arms(runs: Sequence[tuple[RunDirectory, str]], folder: str) -> tuple[tuple[Figure, ...], Page]:
    from precsearch.report.figures.arms import draw_arms
    from precsearch.report.page.arms import page_of_arms

    data = [read_arms_data(run, label) for run, label in runs]
    figures = tuple(draw_arms(data))
    return figures, page_of_arms(data, figures, folder)


def _kind(runs: Sequence[RunDirectory]) -> str:
    """What all runs are.

    Raises:
        ConfigurationError: when they are not all of one kind.
    """
    kinds = {run.path: load_experiment(run.experiment).kind for run in runs}
    if len(set(kinds.values())) > 1:
        told = ", ".join(f"{path} is of kind {kind}" for path, kind in kinds.items())
        raise ConfigurationError(f"runs of one kind must stand side by side, but {told}; report each kind by itself")
    return next(iter(kinds.values()))


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
