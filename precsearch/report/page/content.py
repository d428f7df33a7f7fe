"""What stands on the page, as data that the template only lays out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import precsearch
from precsearch.report.page import overview
from precsearch.report.page.columns import TrialTable
from precsearch.report.page.commands import Command, commands
from precsearch.report.page.overview import RunPart
from precsearch.report.page.parts import QuestionPart, TablesPart
from precsearch.report.page.trials import trial_table
from precsearch.report.page.verdicts import VerdictPart, verdict_part

if TYPE_CHECKING:
    from precsearch.report.figures import Figure
    from precsearch.report.reading import RunData

RENEW_SECONDS: Final = 30


@dataclass(frozen=True)
class FigurePart:
    """A drawing, its words, and where its files lie as seen from the page."""

    name: str
    title: str
    caption: str
    svg: str
    file: str
    csv: str
    json: str


@dataclass(frozen=True)
class SectionPart:
    """Figures under one heading."""

    id: str
    title: str
    figures: tuple[FigurePart, ...] = ()


@dataclass(frozen=True)
class Page:
    """The page.

    Attributes:
        title: names of the experiments.
        lead: what the search bought, in a few sentences.
        notes: what a reader must know first, such as that the run is not finished.
        unfinished: whether the page asks to be loaded again.
        runs: one each.
        verdicts: the verdict table.
        sections: the figures.
        trials: the trial table.
        commands: how to go on.
        version: of precsearch.
        renew_seconds: after which an unfinished page is loaded again.
        kind: of experiment, where it is no search.
        questions: that the runs answer.
        tables: beside the verdict table.
    """

    title: str
    lead: tuple[str, ...]
    notes: tuple[str, ...]
    unfinished: bool
    runs: tuple[RunPart, ...]
    verdicts: VerdictPart
    sections: tuple[SectionPart, ...]
    trials: TrialTable
    commands: tuple[Command, ...]
    version: str = precsearch.__version__
    renew_seconds: int = RENEW_SECONDS
    kind: str = ""
    questions: tuple[QuestionPart, ...] = ()
    tables: tuple[TablesPart, ...] = ()

    @property
    def contents(self) -> tuple[SectionPart, ...]:
        """Every section with a heading, in order."""
        found = [SectionPart("answers", "Answers")] if self.questions else []
        found.append(SectionPart("in-short", "In short"))
        if self.verdicts.rows:
            found.append(SectionPart("verdicts", "Verdicts"))
        tables = [SectionPart(each.id, each.title) for each in self.tables]
        found += [*self.sections, *tables, SectionPart("trials", self.trials.title)]
        return (*found, SectionPart("go-on", "How to go on"), SectionPart("made-with", "What it was made with"))


def page_of(runs: Sequence[RunData], figures: Sequence[Figure], folder: str) -> Page:
    """Everything of the page.

    Args:
        runs: at least one; labels differ.
        figures: drawn from them.
        folder: the figures' folder as seen from the page, a relative URL.
    """
    verdicts = verdict_part(runs)
    return Page(
        title=" and ".join(dict.fromkeys(run.experiment.name for run in runs)),
        lead=verdicts.lead,
        notes=overview.notes(runs),
        unfinished=any(overview.unfinished(run) for run in runs),
        runs=tuple(overview.run_part(run) for run in runs),
        verdicts=verdicts,
        sections=sections_of(figures, folder),
        trials=trial_table(runs),
        commands=commands(runs),
    )


def sections_of(figures: Sequence[Figure], folder: str) -> tuple[SectionPart, ...]:
    """The figures by section, in their order."""
    by_title: dict[str, list[FigurePart]] = {}
    for figure in figures:
        by_title.setdefault(figure.section, []).append(_figure(figure, folder))
    return tuple(
        SectionPart(f"section-{index}", title, tuple(parts))
        for index, (title, parts) in enumerate(by_title.items(), start=1)
    )


def _figure(figure: Figure, folder: str) -> FigurePart:
    files: Mapping[str, str] = {kind: f"{folder}/{figure.name}.{kind}" for kind in ("svg", "csv", "json")}
    return FigurePart(
        name=figure.name,
        title=figure.title,
        caption=figure.caption,
        svg=figure.svg,
        file=files["svg"],
        csv=files["csv"],
        json=files["json"],
    )
