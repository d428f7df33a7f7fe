"""How undecided the searches were: the entropy of their preferences, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from precsearch.analysis.bits import entropy_rows
from precsearch.report import words
from precsearch.report.figures import chosen
from precsearch.report.figures.base import Cell, Figure, Table
from precsearch.report.figures.bits import SECTION
from precsearch.report.figures.marks import strands
from precsearch.report.figures.palette import hex_of, run_color
from precsearch.report.figures.sheet import sheet
from precsearch.report.figures.svg import printable

if TYPE_CHECKING:
    from precsearch.report.figures.sheet import Sheet
    from precsearch.report.reading import RunData, Trained

_DASHES: Final = {"best": "solid", "cheapest": (0, (5.0, 2.0)), "most accurate": (0, (1.5, 1.5))}
_MARKERS: Final = {"best": "o", "cheapest": "s", "most accurate": "^"}
_MOST_STRANDS: Final = 200


def entropy(runs: Sequence[RunData]) -> Figure | None:
    """Entropy of each trial's distribution over bit-widths against its epochs."""
    searched = [(run, own) for run in runs if (own := [each for each in run.trials if _points(each)])]
    if not searched:
        return None
    with sheet(250 + 14 * len(searched) * (len(runs) > 1)) as page:
        entries = []
        for index, (run, trials) in enumerate(searched):
            entries += _draw(page, run, trials, run_color(index) if len(runs) > 1 else None)
        axes = page.panels[0]
        axes.set_title("entropy, nats a choice")
        axes.set_xlabel("epoch")
        axes.set_ylim(bottom=0)
        axes.locator_params(axis="x", integer=True)
        page.legend(entries)
        caption = _caption(searched)
        rows: list[tuple[Cell, ...]] = [
            (run.label, row.number, row.phase, row.step, row.entropy, row.temperature, row.moved)
            for run, trials in searched
            for row in entropy_rows((each.record.number, each.steps) for each in trials)
        ]
        table = Table(("run", "trial", "phase", "epoch", "entropy", "temperature", "moved"), tuple(rows))
        name, title = "entropy", "How the searches settle"
        return Figure(name, SECTION, title, caption, table, page.svg(name, title, caption))


def _points(trained: Trained) -> list[tuple[float, float]]:
    return [(float(row.step), row.entropy) for row in entropy_rows([(trained.record.number, trained.steps)])]


def _draw(page: Sheet, run: RunData, trials: Sequence[Trained], color: str | None) -> list[tuple[object, str]]:
    axes = page.panels[0]
    every = -(-len(trials) // _MOST_STRANDS)
    strands(axes, [_points(each) for each in trials[::every]], color or "muted")
    shown = [(what, each) for what, each in chosen.few(run) if _points(each)]
    entries: list[tuple[object, str]] = []
    for what, each in shown if color is None else shown[:1]:
        (line,) = axes.plot(
            *zip(*_points(each), strict=True),
            color=hex_of(color or "found"),
            linestyle=_DASHES[what],
            marker=_MARKERS[what],
            markersize=4.5,
            markeredgecolor=hex_of("paper"),
            markeredgewidth=0.6,
        )
        page.tip(line, f"{run.label}: {chosen.told(each)}")
        label = f"{what} ({each.record.number})" if color is None else f"{run.label}, {what} ({each.record.number})"
        entries.append((line, printable(label)))
    return entries


def _caption(searched: Sequence[tuple[RunData, Sequence[Trained]]]) -> str:
    total = sum(len(trials) for _, trials in searched)
    drawn = sum(len(trials[:: -(-len(trials) // _MOST_STRANDS)]) for _, trials in searched)
    kept = "" if drawn == total else f" of {total}"
    text = "High while a search is open, zero once every layer has made up its mind; trial numbers in parentheses."
    text += f" Faint: {words.count(drawn, 'trial')}{kept}."
    ends = [points[-1][1] for _, trials in searched for each in trials if (points := _points(each))]
    return text + f" At the end of the search it is {min(ends):.2g} to {max(ends):.2g} nats."
