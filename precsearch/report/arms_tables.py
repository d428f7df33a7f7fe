"""The arms of a `compare` or a `grid` in the terminal: before, while they are trained, and after."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from precsearch.report import words
from precsearch.report.tables import table

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from precsearch.experiment import Experiment
    from precsearch.plans import TrialPlan
    from precsearch.report.arms_view import ArmsView
    from precsearch.results import RunDirectory, TrainingRecord
    from precsearch.study.arms.look import ArmsLook

_SHOWN = ("test_accuracy", "drawn_test_accuracy", "test_loss", "generalization_gap", "model_size")
_HEADERS = {"generalization_gap": "gap", "drawn_test_accuracy": "drawn %"}
_NOTES = {
    "generalization_gap": "gap: accuracy on training less validation images, in points",
    "drawn_test_accuracy": "drawn: mean over draws, of a network that is drawn to the end; test: the same one frozen",
}
_COSTS = ("average_bits", "model_size", "bitops")


def print_arms(console: Console, view: ArmsView, finished_before: bool = False) -> None:
    """What is done, a row for each arm in each cell, what failed."""
    counts, wanted = view.counts, words.count(view.wanted, "training")
    done = len(view.asked_for)
    told = [wanted if view.finished else f"{done} of {wanted} done", f"{counts['complete']} complete"]
    told += [f"{counts['failed']} failed"] if counts["failed"] else []
    told += [f"{len(view.tunings)} of {len(view.plan.tuning)} to tune"] if view.plan.tuning else []
    console.print(Text(f"{view.experiment.name}: {', '.join(told)}, {words.duration(view.seconds)} of training"))
    if finished_before:
        console.print(Text("This run was finished already: nothing was trained. This is what it found."))
    _print_failed(console, view.trainings + view.tunings)
    if view.trainings:
        _print_block(console, _rows(view))
        notes = [note for metric, note in _NOTES.items() if any(metric in row.metrics for row in view.rows)]
        for note in ("means over seeds; the test split was read once, at the end of each training", *notes):
            console.print(Text(note, style="dim"))
    if any(view.cells):
        _print_block(console, _cells(view.cells))


def print_arms_files(console: Console, view: ArmsView, page: Path | None) -> None:
    """Where everything is, the report by name, and what to type next."""
    path = shlex.quote(str(view.run.path))
    console.print()
    console.print(Text(f"Everything is in {view.run.path}"), soft_wrap=True)
    lines = [(str(page), "the report, for a browser")] if page is not None else []
    lines.append((f"precsearch list {path}", "every arm"))
    lines.append((f"precsearch show {path} --training NAME", "one training, by its folder's name"))
    for command, what in lines:
        console.print(Text(f"  {command:<48} {what}"), soft_wrap=True)


def print_look(console: Console, experiment: Experiment, look: ArmsLook, run: RunDirectory) -> None:
    """`run --dry-run`: cells, arms, seeds, how many trainings, and what each arm costs where it is known."""
    plan = look.plan
    console.print(Text(f"Plan of {experiment.name} (nothing is trained, nothing is written)", style="bold"))
    first = next(iter(look.trials.values()))
    images = ", ".join(f"{number:,} {split}" for split, number in first.images.items())
    seeds, labels = words.count(len(plan.seeds), "seed"), sum(map(len, plan.arms))
    facts = {
        "data": f"{experiment.data.name}: {images} images",
        "model": experiment.model.name,
        "trainings": f"{words.count(len(plan.cells), 'cell')}, {words.count(labels, 'arm')} in them x {seeds} = "
        f"{words.count(labels * len(plan.seeds), 'training')}"
        + (f", {plan.shared} of them shared with another cell" if plan.shared else ""),
        "run directory": str(run.path),
    }
    if plan.tuning:
        facts["tuning"] = f"{words.count(len(plan.tuning), 'training')} more, {len(plan.tried)} values for each arm"
    made = Table.grid(padding=(0, 2))
    for name, fact in facts.items():
        made.add_row(Text(name, style="dim"), Text(fact))
    console.print(made)
    _print_block(console, _looked(look))
    if look.layers:
        alone = sum(arm.layer is not None for arms in plan.arms for arm in arms)
        console.print(Text(f"and {words.count(alone, 'arm')} in which one layer alone is quantized", style="dim"))
    if any(plan.cells):
        _print_block(console, _cells(plan.cells))


def look_dict(experiment: Experiment, look: ArmsLook, run: RunDirectory) -> dict[str, Any]:
    """The plan as one JSON object.

    Keys: ``name``, ``kind``, ``run``, ``seeds``, ``cells``; ``trainings``, ``shared`` and ``tuning`` (numbers of
    trainings); ``arms`` (``cell``, ``label``, ``bits``, ``layer``, ``budgets``, ``costs``).
    """
    arms = []
    for cell, own in enumerate(look.plan.arms):
        for arm in own:
            trial = look.trials.get((cell, arm.label))
            budgets = [budget.model_dump(mode="json") for budget in trial.budgets] if trial else []
            known = {"budgets": budgets, "costs": trial.costs if trial else {}}
            arms.append({"cell": cell, "label": arm.label, "bits": arm.bits, "layer": arm.layer, **known})
    return {
        "name": experiment.name,
        "kind": experiment.kind,
        "run": str(run.path),
        "seeds": len(look.plan.seeds),
        "cells": [dict(point) for point in look.plan.cells],
        "trainings": len(look.plan.trainings),
        "shared": look.plan.shared,
        "tuning": len(look.plan.tuning),
        "arms": arms,
    }


def _rows(view: ArmsView) -> Table:
    wanted = dict.fromkeys((*_SHOWN, view.experiment.inner.budget.kind))
    shown = [metric for metric in wanted if any(metric in row.metrics for row in view.rows)]
    shown = [metric for metric in shown if not metric.startswith("average_bits")]  # they have a column of their own
    made = table("cell", "arm", "seeds", *map(_header, shown), "bits w/a", left=(1,), title="Arms")
    made.columns[1].no_wrap = True
    before = None
    for row in view.rows:
        failed = f" ({row.failed} failed)" if row.failed else ""
        made.add_row(
            "" if row.cell == before else str(row.cell),
            Text(row.arm.label),
            f"{row.complete}/{len(view.plan.seeds)}{failed}",
            *(_value(metric, row.metrics.get(metric)) for metric in shown),
            words.average_bits(row.metrics),
        )
        before = row.cell
    return made


def _header(metric: str) -> str:
    return _HEADERS.get(metric, words.metric_header(metric))


def _value(metric: str, value: float | None) -> str:
    if metric == "generalization_gap" and value is not None:
        return f"{100 * value:.2f}"
    return words.metric_text(metric, value)


def _cells(cells: tuple[dict[str, Any], ...]) -> Table:
    made = table("cell", "where", left=(1,), title="Cells")
    for number, point in enumerate(cells):
        made.add_row(str(number), Text(words.params_text(point) or "as the experiment says"))
    return made


def _looked(look: ArmsLook) -> Table:
    made = table("cell", "arm", "budget", *map(words.metric_header, _COSTS), left=(1, 2), title="Arms")
    before = None
    for (cell, label), trial in look.trials.items():
        costs = (words.metric_text(metric, trial.costs.get(metric)) for metric in _COSTS)
        made.add_row("" if cell == before else str(cell), Text(label), Text(_budgets(trial)), *costs)
        before = cell
    return made


def _budgets(trial: TrialPlan) -> str:
    binding = [budget for budget in trial.budgets if not budget.loose]
    return "; ".join(f"{budget.kind} {words.limit_text(budget.limit)}" for budget in binding) or words.NOTHING


def _print_failed(console: Console, records: tuple[TrainingRecord, ...]) -> None:
    grouped: dict[str, list[str]] = {}
    for record in records:
        if record.state != "complete":
            name = f"{record.number:04d}-{record.label}-{record.index:02d}"
            grouped.setdefault(record.reason or "no reason was recorded", []).append(name)
    for reason, names in grouped.items():
        console.print(Text(f"failed: {', '.join(names)}: {reason}", style="red"))


def _print_block(console: Console, block: Table) -> None:
    console.print(Padding(block, (1, 0, 0, 0), expand=False))
