"""What is printed when a study ends, and what `list` prints of one that ended long ago."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from precsearch.report import disturbed, tables, words
from precsearch.report.confirmed import print_confirmed, read_confirmed

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from precsearch.report.view import RunView
    from precsearch.results import TrialRecord


# Kind of baseline (None: any) -> what its rows mean.
_NOTES = (
    (None, "uniform and random keep the same limit; what they spend of it is in their rows"),
    ("float", "float: nothing is quantized and no budget holds, so it stands beside the best trial alone"),
    (None, "test: each network was measured once, when it was trained; nothing is chosen by it"),
    (None, "every row is one training with one seed: small differences are chance"),
)


def print_summary(console: Console, view: RunView, finished_before: bool = False) -> None:
    """The front beside its baselines, the best allocation, what failed."""
    # a grid may be walked in fewer trials than were asked for: a study that returned is finished
    console.print(_outcome(view, words.count(len(view.trials), "trial")))
    if finished_before:
        console.print(Text("This run was finished already: nothing was trained. This is what it found."))
    _print_reasons(console, view)
    if view.front:
        _print_front(console, view)


def print_list(console: Console, view: RunView) -> None:
    """Every trial, then the front."""
    done, wanted = len(view.trials), words.count(view.experiment.study.n_trials, "trial")
    console.print(_outcome(view, wanted if view.finished else f"{done} of {wanted}"))
    if view.trials:
        _print_block(console, tables.trials_table(view))
        console.print(Text("* on the front", style="dim"))
    _print_reasons(console, view)
    if view.front:
        _print_front(console, view)
    if view.confirmed:
        print_confirmed(console, read_confirmed(view.confirmed, view.experiment.inner.budget.kind))


def _print_front(console: Console, view: RunView) -> None:
    _print_block(console, tables.front_table(view))
    legend = "bits w/a: mean weight bits / mean activation bits"
    if view.best is not None:
        rule = "best: the knee of the front" if len(view.experiment.study.objectives) > 1 else "best"
        legend = f"* {rule}; {legend}"
    console.print(Text(legend, style="dim"))
    notes = [note for kind, note in _NOTES if kind is None or kind in _kinds(view)]
    for note in notes:
        console.print(Text(note, style="dim"))
    _print_block(console, tables.bits_table(tables.member_allocations(view.front)))
    if (measured := disturbed.members_table(view)) is not None:
        _print_block(console, measured)
        console.print(Text("attacked: mean over epsilons, of the attack that leaves the least", style="dim"))
    if view.best is not None and view.best.allocation is not None:
        console.print()
        console.print(Text(f"Best allocation, trial {view.best.record.number}", style="bold"))
        console.print(tables.bars(view.best.allocation, view.experiment.inner.bits))


def _kinds(view: RunView) -> set[str | None]:
    return {beside.record.baseline for member in view.front for beside in member.baselines}


def _print_block(console: Console, block: Table) -> None:
    console.print(Padding(block, (1, 0, 0, 0), expand=False))


def _outcome(view: RunView, trials: str) -> Text:
    counts = view.counts
    parts = [f"{counts['complete']} complete"]
    parts += [f"{counts[state]} {state}" for state in ("pruned", "failed") if counts[state]]
    seconds = sum(record.seconds for record in view.trials + view.baselines)
    return Text(f"{view.experiment.name}: {trials}, {', '.join(parts)}, {words.duration(seconds)} of training")


def _print_reasons(console: Console, view: RunView) -> None:
    for state in ("failed", "pruned"):
        grouped: dict[str, list[str]] = {}
        for record in view.trials + view.baselines:
            if record.state == state:
                grouped.setdefault(record.reason or "no reason was recorded", []).append(_name(record))
        for reason, names in grouped.items():
            text = f"{state}: {', '.join(names)}: {reason}"
            console.print(Text(text, style="red" if state == "failed" else "yellow"))


def _name(record: TrialRecord) -> str:
    return str(record.number) if record.baseline is None else f"{record.baseline} beside {record.number}"


def print_files(console: Console, view: RunView, report: Path | None) -> None:
    """Where everything is, the report by name, and what to type next."""
    path = shlex.quote(str(view.run.path))
    console.print()
    console.print(Text(f"Everything is in {view.run.path}"), soft_wrap=True)
    lines = [(str(report), "the report, for a browser")] if report is not None else []
    lines.append((f"precsearch list {path}", "every trial"))
    if view.front:
        lines.append((f"precsearch export {path} -o best.json", "the best allocation as JSON"))
    for command, what in lines:
        console.print(Text(f"  {command:<48} {what}"), soft_wrap=True)
