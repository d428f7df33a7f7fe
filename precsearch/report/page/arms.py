"""What stands on the page of a comparison or a grid, as data that the template only lays out."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from precsearch.experiment.cells import axes_of, seeds_of
from precsearch.report import words
from precsearch.report.arms.answers import answers_of
from precsearch.report.page.arms_tables import TABLES
from precsearch.report.page.commands import Command
from precsearch.report.page.content import Page, sections_of
from precsearch.report.page.overview import RunPart, Tile, environment_of
from precsearch.report.page.parts import AnswerPart, QuestionPart
from precsearch.report.page.trainings import training_table
from precsearch.report.page.verdicts import VerdictPart

if TYPE_CHECKING:
    from precsearch.analysis.answers import Told
    from precsearch.report.arms.reading import ArmsData
    from precsearch.report.figures import Figure

_MARKS: Final[dict[Told, str]] = {"yes": "yes", "no": "same", "mixed": "open", "not shown": "open"}
_NOTHING: Final = "No two arms have ended a training on the same seed, so nothing can be said yet."
_NAMES: Final = {"compare": "comparison", "grid": "grid"}


def page_of_arms(runs: Sequence[ArmsData], figures: Sequence[Figure], folder: str) -> Page:
    """Everything of the page.

    Args:
        runs: at least one, all of one kind; labels differ.
        figures: drawn from them.
        folder: the figures' folder as seen from the page, a relative URL.
    """
    kind = runs[0].kind
    questions = _questions(runs)
    tables = TABLES[kind](runs) if kind in TABLES else []
    return Page(
        title=" and ".join(dict.fromkeys(data.experiment.name for data in runs)),
        lead=() if questions else (_NOTHING,),
        notes=tuple(_notes(runs)),
        unfinished=any(not data.finished for data in runs),
        runs=tuple(map(_run_part, runs)),
        verdicts=VerdictPart((), (), (), ()),
        sections=sections_of(figures, folder),
        trials=training_table(runs),
        commands=tuple(command for data in runs for command in _commands(data)),
        kind=_NAMES[kind],
        questions=questions,
        tables=tuple(tables),
    )


def _questions(runs: Sequence[ArmsData]) -> tuple[QuestionPart, ...]:
    by_question: dict[str, list[AnswerPart]] = {}
    for data in runs:
        where = f"{data.label}: " if len(runs) > 1 else ""
        for answer in answers_of(data):
            part = AnswerPart(answer.told, _MARKS[answer.told], f"{where}{answer.sentence}")
            by_question.setdefault(answer.question, []).append(part)
    return tuple(QuestionPart(question, tuple(parts)) for question, parts in by_question.items())


def _notes(runs: Sequence[ArmsData]) -> list[str]:
    several, found = len(runs) > 1, []
    for data in runs:
        name = data.label if several else "This run"
        if not data.finished:
            found.append(
                f"{name} is not finished: {len(data.trainings)} of {words.count(data.wanted, 'training')} have ended, "
                "and what follows may change. While the run goes on this page is written anew now and then; it loads "
                "itself again every 30 s."
            )
        if data.failed:
            reasons = Counter(training.record.reason or "no reason was recorded" for training in data.failed)
            told = "; ".join(f"{words.count(count, 'training')}: {reason}" for reason, count in reasons.items())
            found.append(
                f"{f'{name}: ' if several else ''}{words.count(len(data.failed), 'training')} failed ({told}). "
                "What is left of their arms may look better than it is: networks that fail do badly."
            )
    data_sets = {(data.experiment.data.name, data.experiment.data.train_limit) for data in runs}
    if len(data_sets) > 1:
        found.append("These runs did not learn from the same images: their figures are not comparable.")
    return found


def _run_part(data: ArmsData) -> RunPart:
    seconds = sum(training.record.seconds for training in (*data.trainings, *data.tuning))
    experiment = data.experiment
    limit = experiment.data.train_limit
    images = f", {limit:,} training images" if limit is not None else ""
    outcome = (
        f"{experiment.model.name} on {experiment.data.name}{images}: {len(data.trainings)} of "
        f"{words.count(data.wanted, 'training')}, {len(data.complete)} complete, {len(data.failed)} failed; "
        f"{words.duration(seconds)} of training{' with the tuning' if data.tuning else ''}."
    )
    return RunPart(
        label=data.label,
        path=str(data.path),
        outcome=outcome,
        tiles=tuple(_tiles(data)),
        yaml=data.run.experiment.read_text(encoding="utf-8"),
        environment=environment_of(data.run),
    )


def _tiles(data: ArmsData) -> list[Tile]:
    axes = axes_of(data.experiment)
    cells = ", ".join(f"{path.removeprefix('inner.')}: {', '.join(map(str, values))}" for path, values in axes.items())
    seeds = Counter((training.cell, training.label) for training in data.complete).values()
    least = (
        f"{min(seeds)} to {max(seeds)} of them complete" if seeds and min(seeds) != max(seeds) else "the same in each"
    )
    found = [Tile("Seeds of every arm", str(seeds_of(data.experiment)), least)]
    found.append(Tile("Cells", str(len(data.points)), cells or "one"))
    compare = data.experiment.compare
    if compare is not None:
        found.insert(0, Tile("Arms", str(len(compare.arms)), ", ".join(compare.arms)))
        margin = f"as good as equal within {100 * compare.margin:.2f} points"
        found.append(Tile("Compared with", compare.against, margin))
    return found


def _commands(data: ArmsData) -> list[Command]:
    path = shlex.quote(str(data.path))
    found = []
    if not data.finished:
        found.append(Command(f"precsearch resume {path}", "Continue where it stopped"))
    return [*found, Command(f"precsearch list {path}", "The arms and the answers, in the terminal")]
