"""The gap between training and test accuracy against the negative log-likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from precsearch.analysis.arms import GAP, NLL
from precsearch.report.figures.arms import common
from precsearch.report.figures.arms.metrics import SECTION
from precsearch.report.figures.base import Cell, Figure, Table
from precsearch.report.figures.marks import cloud
from precsearch.report.figures.palette import hex_of
from precsearch.report.figures.sheet import sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from precsearch.analysis.arms import Arm, MeanRow
    from precsearch.report.arms.reading import ArmsData
    from precsearch.report.figures.arms.common import Panel
    from precsearch.report.figures.sheet import Sheet

_PANEL: Final = 210.0


def gap_against_nll(runs: Sequence[ArmsData]) -> Figure | None:
    """The two measures of regularization against each other: towards the lower left an arm generalizes better."""
    found = common.panels(runs, _means)
    if not found:
        return None
    look = common.looks(runs)
    with sheet(_PANEL * len(found) + 50, len(found), share=(True, True)) as page:
        for axes, each in zip(page.panels, found, strict=True):
            axes.set_title(f"{each.title}: test NLL, nats" if each.title else "test NLL, nats")
            _draw(page, axes, each, look)
        page.panels[-1].set_xlabel("train-test gap, points")
        common.legend(page, look, [arm for each in found for arm in _means(each.data, each.cell)], line=False)
        name, title = "gap-nll", "Gap against negative log-likelihood"
        caption = "Faint: each seed. Marks: the mean over seeds, with its 95 % intervals. Lower and left is better."
        return Figure(name, SECTION, title, caption, _table(runs), page.svg(name, title, caption))


def _means(data: ArmsData, cell: int) -> dict[Arm, tuple[MeanRow, MeanRow]]:
    """Arm -> the means of its gap and of its negative log-likelihood."""
    rows = {(row.arm, row.metric): row for row in data.compared.means if row.cell == cell}
    arms = dict.fromkeys(arm for arm, _ in rows)
    return {arm: (rows[arm, GAP], rows[arm, NLL]) for arm in arms if (arm, GAP) in rows and (arm, NLL) in rows}


def _draw(page: Sheet, axes: Axes, each: Panel, look: dict[str, str]) -> None:
    for arm, (gap, nll) in _means(each.data, each.cell).items():
        how = common.style(look, arm)
        color = hex_of(how.color)
        networks = [n for n in each.data.compared.networks if (n.cell, n.arm) == (each.cell, arm)]
        spots = [(100 * n.values[GAP], n.values[NLL]) for n in networks if GAP in n.values and NLL in n.values]
        cloud(axes, spots, how.color, size=3.5, alpha=0.3)
        x, y = 100 * gap.interval.mean, nll.interval.mean
        if gap.interval.low is not None and gap.interval.high is not None:
            axes.plot([100 * gap.interval.low, 100 * gap.interval.high], [y, y], color=color, linewidth=1.4)
        if nll.interval.low is not None and nll.interval.high is not None:
            axes.plot([x, x], [nll.interval.low, nll.interval.high], color=color, linewidth=1.4)
        (mark,) = axes.plot(
            [x], [y], marker=how.marker, markersize=7.5, color=color, markeredgecolor=hex_of("paper"), zorder=4
        )
        page.tip(mark, f"{arm.name}: gap {x:.2f} points, NLL {y:.4f} nats")


def _table(runs: Sequence[ArmsData]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (data.label, each.cell, data.places[each.cell], each.arm.name, each.index, each.values[GAP], each.values[NLL])
        for data in runs
        for each in data.compared.networks
        if GAP in each.values and NLL in each.values
    ]
    return Table(("run", "cell", "at", "arm", "seed", GAP, NLL), tuple(rows))
