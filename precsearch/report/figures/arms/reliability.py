"""Whether the probabilities of arms mean what they say: reliability over all seeds together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from precsearch.analysis.arms import DRAWN
from precsearch.report.figures.arms import common
from precsearch.report.figures.arms.metrics import SECTION
from precsearch.report.figures.base import Cell, Figure, Table
from precsearch.report.figures.palette import hex_of
from precsearch.report.figures.sheet import sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from precsearch.analysis.arms import Arm
    from precsearch.measured import ReliabilityBin
    from precsearch.report.arms.reading import ArmsData
    from precsearch.report.figures.sheet import Sheet

_PANEL: Final = 250.0
_FEWEST: Final = 5  # images a seed, on average, of a bin that is drawn


@dataclass(frozen=True)
class Pooled:
    """One bin over all seeds of an arm.

    Attributes:
        low: its lower edge.
        high: its upper edge.
        count: images of all seeds in it.
        confidence: mean largest probability of these.
        accuracy: fraction of them that is right.
        seeds: that it is of.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float
    seeds: int


def reliability(runs: Sequence[ArmsData]) -> Figure | None:
    """Accuracy against confidence, a line for each arm."""
    found = common.panels(runs, _curves)
    if not found:
        return None
    look = common.looks(runs)
    with sheet(_PANEL * len(found) + 50, len(found)) as page:
        for axes, each in zip(page.panels, found, strict=True):
            axes.set_title(f"{each.title}: right answers, %" if each.title else "right answers, %")
            _draw(page, axes, _curves(each.data, each.cell), look)
        page.panels[-1].set_xlabel("largest probability, %")
        common.legend(page, look, [arm for each in found for arm in _curves(each.data, each.cell)])
        caption = (
            "On the diagonal probabilities are right; below it a network is too sure of itself. The test images of all"
            f" seeds together; bins of fewer than {_FEWEST} images a seed are left out."
        )
        name, title = "arms-reliability", "Reliability of the probabilities"
        return Figure(name, SECTION, title, caption, _table(runs), page.svg(name, title, caption))


def _curves(data: ArmsData, cell: int) -> dict[Arm, list[Pooled]]:
    found = {}
    for arm in data.compared.arms:
        own = [each for each in data.complete if (each.cell, each.arm) == (cell, arm.arm)]
        measured = [each.drawn if arm.kind == DRAWN else each.evaluation for each in own]
        bins = [evaluation.calibration.bins for evaluation in measured if evaluation is not None]
        if bins:
            found[arm] = [_pooled(same) for same in zip(*bins, strict=True)]
    return found


def _pooled(same: Sequence[ReliabilityBin]) -> Pooled:
    count = sum(each.count for each in same)
    confidence = sum(each.count * each.confidence for each in same) / (count or 1)
    accuracy = sum(each.count * each.accuracy for each in same) / (count or 1)
    return Pooled(same[0].low, same[0].high, count, confidence, accuracy, len(same))


def _draw(page: Sheet, axes: Axes, curves: dict[Arm, list[Pooled]], look: dict[str, str]) -> None:
    axes.plot([0, 100], [0, 100], color=hex_of("axis"), linewidth=0.9, zorder=1)
    for arm, bins in reversed(curves.items()):
        kept = [each for each in bins if each.count >= _FEWEST * each.seeds]
        how = common.style(look, arm)
        xs, ys = [100 * each.confidence for each in kept], [100 * each.accuracy for each in kept]
        (line,) = axes.plot(
            xs, ys, color=hex_of(how.color), marker=how.marker, linestyle=how.dashes, linewidth=1.2, markersize=4.5,
            markeredgecolor=hex_of("paper"), markeredgewidth=0.5, clip_on=False, zorder=3,
        )  # fmt: skip
        page.tip(line, arm.name)
    shown = [each for bins in curves.values() for each in bins if each.count >= _FEWEST * each.seeds]
    least = 100 * min((min(each.confidence, each.accuracy) for each in shown), default=0.0)
    axes.set_xlim(max(0.0, least - 5), 100)
    axes.set_ylim(max(0.0, least - 5), 100)


def _table(runs: Sequence[ArmsData]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (data.label, cell, place, arm.name, each.low, each.high, each.count, each.confidence, each.accuracy, each.seeds)
        for data in runs
        for cell, place in data.places.items()
        for arm, bins in _curves(data, cell).items()
        for each in bins
    ]
    names = ("run", "cell", "at", "arm", "low", "high", "count", "confidence", "accuracy", "seeds")
    return Table(names, tuple(rows))
