"""Width or depth: what shape does to float and to retrained networks of the same size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from precsearch.analysis.complexity import GAP
from precsearch.analysis.grid import Grid, axis_text, point_text
from precsearch.analysis.intervals import mean_interval
from precsearch.report.figures.arms import grid_marks as marks
from precsearch.report.figures.base import Cell, Figure, Table
from precsearch.report.figures.palette import hex_of, run_color
from precsearch.report.figures.sheet import sheet
from precsearch.report.figures.svg import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from precsearch.analysis.complexity import AxisEffect, GridGap
    from precsearch.report.arms.reading import ArmsData
    from precsearch.report.figures.sheet import Sheet

_Shaped = tuple["ArmsData", "Grid", list["GridGap"]]


def shape(runs: Sequence[ArmsData]) -> Figure | None:
    """Float error and the gap at the fewest bits against size, a line for each family of cells."""
    found = [(run, grid, own) for run, grid in marks.grids(runs, _shaped) if (own := _fewest(run))]
    if not found:
        return None
    with sheet(2 * marks.PANEL * len(found) + 60, 2 * len(found), share=(True, False)) as page:
        sizes = [each.size for _, grid, _ in found for each in grid.floats.values()]
        factor = marks.size_axis(page.panels, sizes, "size in float32")
        names = list(dict.fromkeys(name for _, grid, _ in found for name in grid.families()))
        for index, (run, grid, rows) in enumerate(found):
            above, below = page.panels[2 * index : 2 * index + 2]
            label, each = marks.prefixed_label(runs, run), rows[0].network
            above.set_title(printable(f"{label}float: test error, %"))
            what = f"{each.arm}, {marks.bits_text(each.bits or 0)}, less float"
            below.set_title(printable(f"{label}{what}: points of error"))
            _float(page, above, grid, names, factor)
            _gap(page, below, grid, rows, names, factor)
        page.legend([(marks.key(place, "solid"), name) for place, name in enumerate(names)])
        caption = _caption(runs, found)
        name, title = "grid-shape", "Shapes of the same size"
        return Figure(name, marks.SECTION, title, caption, _table(found), page.svg(name, title, caption))


def _shaped(grid: Grid) -> bool:
    """Whether it has several families to hold against each other."""
    return len(grid.families()) > 1


def _fewest(run: ArmsData) -> list[GridGap]:
    """The gaps at the fewest bits, of retrained networks where there are any."""
    cells = {cell for own in run.gridded.grid.families().values() for cell in own}
    rows = [row for row in run.gridded.gaps if row.network.cell in cells]
    arm = max((row.network.arm for row in rows), key=list(marks.ARMS).index, default=None)
    bits = min((row.network.bits or 0 for row in rows if row.network.arm == arm), default=None)
    return [row for row in rows if row.network.arm == arm and row.network.bits == bits]


def _effects(run: ArmsData, rows: Sequence[GridGap]) -> list[AxisEffect]:
    drawn = rows[0].network
    return [each for each in run.gridded.effects if (each.arm, each.bits) == (drawn.arm, drawn.bits)]


def _float(page: Sheet, axes: Axes, grid: Grid, names: Sequence[str], factor: float) -> None:
    for name, cells in grid.families().items():
        place = names.index(name)
        own = [each for cell, each in grid.floats.items() if cell in cells]
        xs = [each.size / factor for each in own]
        axes.plot(xs, [marks.POINTS * each.error for each in own], color=hex_of(run_color(place)), linewidth=1.3)
        for x, each in zip(xs, own, strict=True):
            marks.whisker(axes, x, mean_interval(list(each.errors.values())), run_color(place))
            tip = f"{point_text(each.at)}: {marks.POINTS * each.error:.2f} % wrong"
            marks.mark(page, axes, (x, marks.POINTS * each.error), tip, **marks.look(place))


def _gap(page: Sheet, axes: Axes, grid: Grid, rows: Sequence[GridGap], names: Sequence[str], factor: float) -> None:
    axes.axhline(0, color=hex_of("ink"), linewidth=0.9, zorder=1)
    for name, cells in grid.families().items():
        place = names.index(name)
        own = sorted((row for row in rows if row.network.cell in cells), key=lambda row: row.size)
        xs = [row.size / factor for row in own]
        means = [marks.POINTS * row.comparison.difference.mean for row in own]
        axes.plot(xs, means, color=hex_of(run_color(place)), linewidth=1.3)
        for x, mean, row in zip(xs, means, own, strict=True):
            marks.whisker(axes, x, row.comparison.difference, run_color(place))
            tip = f"{point_text(row.network.at)}: {GAP.signed(row.comparison.difference.mean)}"
            marks.mark(page, axes, (x, mean), tip, **marks.look(place))


def _caption(runs: Sequence[ArmsData], found: Sequence[_Shaped]) -> str:
    text = "Above the float networks, below what quantizing adds at the fewest bits; means with 95 % intervals."
    for run, _, rows in found:
        label = marks.prefixed_label(runs, run)
        for each in _effects(run, rows):
            effect = each.effect
            shown = effect.p_holm is not None and effect.p_holm < 0.05  # noqa: PLR2004
            text += f" {label}Among networks of equal size each 1 more of {axis_text(each.axis)} goes with"
            text += f" {GAP.signed(effect.difference.mean)} of gap ({'shown' if shown else 'not shown'})."
    return text


def _table(found: Sequence[_Shaped]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for run, grid, own in found:
        gap = {row.network.cell: row for row in own}
        for name, cells in grid.families().items():
            for each in (network for cell, network in grid.floats.items() if cell in cells):
                row = gap.get(each.cell)
                told: tuple[Cell, ...] = (None,) * 5
                if row is not None:
                    found_gap = row.comparison.difference
                    told = (row.network.arm, row.network.bits, found_gap.mean, found_gap.low, found_gap.high)
                rows.append((run.label, each.cell, name, point_text(each.at), each.size, each.error, *told))
    names = ("run", "cell", "family", "network", "float_size", "float_error", "arm", "bits", "gap", "low", "high")
    return Table(names, tuple(rows))
