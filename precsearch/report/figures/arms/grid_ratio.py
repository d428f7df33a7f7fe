"""The effective compression ratio against size, with bounds as arrows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from precsearch.analysis.compression import ALL_CELLS, ratio_text
from precsearch.analysis.grid import Grid, point_text
from precsearch.report.figures.arms import grid_marks as marks
from precsearch.report.figures.base import Cell, Figure, Table
from precsearch.report.figures.palette import hex_of, run_color
from precsearch.report.figures.sheet import sheet
from precsearch.report.figures.svg import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from precsearch.analysis.compression import CompressionRow
    from precsearch.report.arms.reading import ArmsData
    from precsearch.report.figures.sheet import Sheet

_APART: Final = 0.012
_ARROW: Final = 17.0  # length of a bound's arrow
_ROOM: Final = 1.7  # above and below what is drawn, for the arrows
_DOTS: Final = (0, (1.5, 2.0))
_Panel = tuple["ArmsData", "Grid", str, list["CompressionRow"]]


def ratio_by_size(runs: Sequence[ArmsData]) -> Figure | None:
    """The ratio against the float network's size, by bits, a panel for each arm."""
    panels = _panels(runs)
    if not panels:
        return None
    bits = marks.widths(grid for _, grid, _, _ in panels)
    with sheet(marks.PANEL * len(panels) + 60, len(panels), share=(True, False)) as page:
        sizes = [grid.floats[row.network.cell].size for _, grid, _, rows in panels for row in rows]
        factor = marks.size_axis(page.panels, sizes, "size in float32")
        for axes, (run, grid, arm, rows) in zip(page.panels, panels, strict=True):
            axes.set_title(printable(f"{marks.prefixed_label(runs, run)}{marks.ARMS[arm]}: effective compression"))
            _draw(page, axes, grid, rows, bits, factor)
        entries = [(marks.key(place), marks.bits_text(each)) for place, each in enumerate(bits)]
        page.legend([*entries, (_dotted(), "bytes alone")])
        caption = _caption(runs, panels)
        name, title = "grid-ratio", "Effective compression ratio"
        return Figure(name, marks.SECTION, title, caption, ratio_table(runs), page.svg(name, title, caption))


def ratio_table(runs: Sequence[ArmsData]) -> Table:
    """Every ratio, on every curve: that of each family, and that over all cells."""
    rows: list[tuple[Cell, ...]] = []
    for run in runs:
        for row in run.gridded.ratios:
            each, ratio = row.network, row.ratio
            rows.append(
                (run.label, each.cell, point_text(each.at), each.arm, each.bits, row.curve, each.size, row.error.mean,
                 row.nominal, ratio.value, ratio.bound, ratio.low, ratio.high, ratio.seeds)
            )  # fmt: skip
    names = ("run", "cell", "network", "arm", "bits", "curve", "size", "test_error", "nominal", "ratio", "bound", "low",
             "high", "seeds")  # fmt: skip
    return Table(names, tuple(rows))


def _panels(runs: Sequence[ArmsData]) -> list[_Panel]:
    found = []
    for run, grid in marks.grids(runs, lambda grid: grid.whole):
        rows = [row for row in run.gridded.ratios if row.curve == ALL_CELLS]
        for arm in marks.ARMS:
            own = [row for row in rows if row.network.arm == arm]
            found += [(run, grid, arm, own)] if own else []
    return found


def _draw(
    page: Sheet, axes: Axes, grid: Grid, rows: Sequence[CompressionRow], bits: Sequence[int], factor: float
) -> None:
    ends = [end for row in rows for end in (row.ratio.value, row.ratio.low, row.ratio.high, row.nominal) if end]
    marks.log_ticks(axes, "y", [*ends, 1.0], room=_ROOM)
    axes.axhline(1, color=hex_of("ink"), linewidth=0.9, zorder=1)
    low, high = axes.get_xlim()
    for place, width in enumerate(bits):
        own = [row for row in rows if row.network.bits == width]
        apart = (high / low) ** (_APART * (place - (len(bits) - 1) / 2))
        nominal = sorted((grid.floats[row.network.cell].size / factor, row.nominal) for row in own)
        color = hex_of(run_color(place))
        axes.plot(
            [x for x, _ in nominal], [y for _, y in nominal], color=color, linestyle=_DOTS, linewidth=1, alpha=0.7
        )
        for row in own:
            x = grid.floats[row.network.cell].size / factor * apart
            _range(axes, x, row, color)
            tip = f"{point_text(row.network.at)}: {marks.bits_text(width)}, ratio {row.ratio.text}"
            tip += f" (95 % interval {row.ratio.interval_text})" if row.ratio.interval_text else ""
            hollow = row.ratio.bound != "exact"
            marks.mark(page, axes, (x, row.ratio.value), tip, **marks.look(place, hollow))


def _range(axes: Axes, x: float, row: CompressionRow, color: str) -> None:
    """The interval where the ratio is known; an arrow from a bound to where the ratio lies."""
    ratio = row.ratio
    if ratio.bound != "exact":
        away = _ARROW if ratio.bound == "at least" else -_ARROW
        arrow = {
            "arrowstyle": "<-,head_width=0.18,head_length=0.3",
            "color": color,
            "linewidth": 1.2,
            "shrinkA": 0,
            "shrinkB": 0,
        }
        axes.annotate("", xy=(x, ratio.value), xytext=(0, away), textcoords="offset points", arrowprops=arrow)
        return
    if ratio.seeds < 2:  # noqa: PLR2004 -- one seed has no interval
        return
    bottom, top = axes.get_ylim()
    axes.plot([x, x], [ratio.low or ratio.value, ratio.high or ratio.value], color=color, linewidth=1.4, alpha=0.6)
    for end, open_to in ((ratio.low, bottom), (ratio.high, top)):
        if end is None:
            axes.plot([x, x], [ratio.value, open_to], color=color, linewidth=1.2, linestyle=_DOTS, alpha=0.7)


def _dotted() -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=hex_of("muted"), linestyle=_DOTS, linewidth=1)


def _caption(runs: Sequence[ArmsData], panels: Sequence[_Panel]) -> str:
    text = (
        "How many times larger the float network is that errs as little, read off the least float error at each size"
        " or below; dotted lines: by bytes alone. Bars are 95 % intervals over seeds, dotted where they leave the"
        " curve. Hollow with an arrow: a bound, for the network is worse, or better, than every float network."
    )
    for run, grid, arm, rows in panels:
        known = [row for row in rows if row.ratio.bound == "exact"]
        where = f"{marks.prefixed_label(runs, run)}{marks.ARMS[arm]}"
        text += f" {where[0].upper()}{where[1:]}: "
        if not known:
            text += "bounds only."
            continue
        best = max(known, key=lambda row: row.ratio.value)
        text += f"at most {ratio_text(best.ratio.value)} among the known ones ({marks.named(grid, best.network.cell)},"
        text += f" {marks.bits_text(best.network.bits or 0)}), beside {ratio_text(best.nominal)} by bytes."
    return text
