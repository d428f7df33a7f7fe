"""Error against size: the float networks, and what quantizing makes of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from precsearch.analysis.compression import fitted
from precsearch.analysis.grid import FLOAT, Grid, point_text
from precsearch.analysis.intervals import mean_interval
from precsearch.report.figures.arms import grid_marks as marks
from precsearch.report.figures.base import Cell, Figure, Table
from precsearch.report.figures.palette import arm_style, hex_of, run_color
from precsearch.report.figures.sheet import key, sheet
from precsearch.report.figures.svg import printable
from precsearch.report.words import metric_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from precsearch.analysis.grid import GridNetwork
    from precsearch.report.arms.reading import ArmsData
    from precsearch.report.figures.sheet import Sheet


def error_by_size(runs: Sequence[ArmsData]) -> Figure | None:
    """Test error against size, a panel for each arm: the float curve, and the quantized networks by bits."""
    found = marks.grids(runs, lambda grid: grid.whole)
    if not found:
        return None
    panels = [(run, grid, arm) for run, grid in found for arm in marks.ARMS if _of(grid, arm)]
    bits = marks.widths(grid for _, grid in found)
    with sheet(marks.PANEL * len(panels) + 60, len(panels), share=(True, False)) as page:
        every = [each.size for _, grid in found for each in (*grid.floats.values(), *grid.whole)]
        factor = marks.size_axis(page.panels, every, "size")
        for axes, (run, grid, arm) in zip(page.panels, panels, strict=True):
            axes.set_title(printable(f"{marks.prefixed_label(runs, run)}{marks.ARMS[arm]}: test error, %"))
            _draw(page, axes, grid, arm, bits, factor)
        entries = [(marks.key(place), marks.bits_text(each)) for place, each in enumerate(bits)]
        page.legend([(key(FLOAT), "float"), *entries])
        caption = _caption(found)
        name, title = "grid-error", "Error against size"
        return Figure(name, marks.SECTION, title, caption, _table(found), page.svg(name, title, caption))


def _of(grid: Grid, arm: str) -> list[GridNetwork]:
    return [each for each in grid.whole if each.arm == arm]


def _draw(page: Sheet, axes: Axes, grid: Grid, arm: str, bits: Sequence[int], factor: float) -> None:
    floats, own = list(grid.floats.values()), _of(grid, arm)
    sizes, curve = fitted(grid, tuple(grid.floats), "running-minimum")
    style = arm_style(FLOAT)
    axes.plot(
        [size / factor for size in sizes], marks.POINTS * curve, color=hex_of(style.color), linestyle=style.dashes
    )
    for each in floats:
        _point(page, axes, each, factor, style.color, color=hex_of(style.color), marker=style.marker)
    for place, width in enumerate(bits):
        for cells in grid.families().values():
            line = sorted((each.size, each.error) for each in own if each.bits == width and each.cell in cells)
            axes.plot(
                [size / factor for size, _ in line],
                [marks.POINTS * error for _, error in line],
                color=hex_of(run_color(place)),
                linewidth=1.0,
                alpha=0.4,
            )
        for each in own:
            if each.bits == width:
                _point(page, axes, each, factor, run_color(place), **marks.look(place))
    errors = [max(marks.POINTS * each.error, 1e-3) for each in (*floats, *own)]
    marks.log_ticks(axes, "y", errors)


def _point(page: Sheet, axes: Axes, each: GridNetwork, factor: float, shade: str, **style: Any) -> None:
    interval = mean_interval(list(each.errors.values()))
    marks.whisker(axes, each.size / factor, interval, shade)
    what = "float" if each.bits is None else f"{marks.bits_text(each.bits)}, {each.arm}"
    tip = (
        f"{point_text(each.at)}: {what}, {marks.POINTS * each.error:.2f} % of"
        f" {metric_text('model_size', each.size)} wrong"
    )
    marks.mark(page, axes, (each.size / factor, marks.POINTS * each.error), tip, **style)


def _caption(found: marks.Grids) -> str:
    text = (
        "Mean test error over the seeds with its 95 % interval, against the bytes of weights, scales and float"
        " parameters; both axes are logarithmic. The line is the float curve: the least error at each size or below."
    )
    for run, grid in found:
        best = min(grid.floats.values(), key=lambda each: each.error)
        where = f" of {run.label}" if len(found) > 1 else ""
        text += f" The best float network{where} ({marks.named(grid, best.cell)}) errs on"
        text += f" {marks.POINTS * best.error:.2f} % at {metric_text('model_size', best.size)}."
        for arm in marks.ARMS:
            own = _of(grid, arm)
            if own:
                least = min(own, key=lambda each: each.error)
                text += f" {marks.ARMS[arm].capitalize()}, the best has {marks.POINTS * least.error:.2f} % at"
                text += f" {metric_text('model_size', least.size)} ({marks.named(grid, least.cell)},"
                text += f" {marks.bits_text(least.bits or 0)})."
    return text


def _table(found: marks.Grids) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for run, grid in found:
        for each in (*grid.floats.values(), *grid.whole):
            interval = mean_interval(list(each.errors.values()))
            rows.append(
                (run.label, each.cell, point_text(each.at), each.arm, each.bits, each.size, interval.mean,
                 interval.low, interval.high, interval.n)
            )  # fmt: skip
    names = ("run", "cell", "network", "arm", "bits", "size", "test_error", "low", "high", "seeds")
    return Table(names, tuple(rows))
