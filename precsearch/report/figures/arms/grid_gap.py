"""The gap against size: how much more quantized networks err than the float network of their cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from precsearch.analysis.complexity import GAP
from precsearch.analysis.grid import point_text
from precsearch.report.figures.arms import grid_marks as marks
from precsearch.report.figures.base import Cell, Figure, Table
from precsearch.report.figures.marks import square
from precsearch.report.figures.palette import hex_of, run_color
from precsearch.report.figures.sheet import sheet
from precsearch.report.figures.svg import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from precsearch.analysis.complexity import GridGap
    from precsearch.analysis.grid import Grid
    from precsearch.report.arms.reading import ArmsData
    from precsearch.report.figures.sheet import Sheet

_APART = 0.012  # of the axis, between markers of one cell
_WIDE = 10.0  # gaps of so many margins would press all others onto the line
_Panel = tuple["ArmsData", "Grid", str, list["GridGap"]]


def gap_by_size(runs: Sequence[ArmsData]) -> Figure | None:
    """Test error less that of the float network against the float network's size, by bits, a panel for each arm."""
    panels = _panels(runs)
    if not panels:
        return None
    bits = marks.widths(grid for _, grid, _, _ in panels)
    with sheet(marks.PANEL * len(panels) + 60, len(panels), share=(True, False)) as page:
        factor = marks.size_axis(page.panels, [row.size for *_, rows in panels for row in rows], "size in float32")
        for axes, (run, grid, arm, rows) in zip(page.panels, panels, strict=True):
            axes.set_title(printable(f"{marks.prefixed_label(runs, run)}{marks.ARMS[arm]} less float: points of error"))
            axes.axhspan(*_none(run), color=hex_of("muted"), alpha=0.16, linewidth=0)
            if _wide(run, rows):
                _logarithmic(axes, run, rows)
            _draw(page, axes, grid, rows, bits, factor)
        entries = [(marks.key(place), marks.bits_text(each)) for place, each in enumerate(bits)]
        page.legend([*entries, (square("muted", 0.16), f"± {_margin(panels)}")])
        caption = _caption(runs, panels)
        name, title = "grid-gap", "Gap to the float network against size"
        return Figure(name, marks.SECTION, title, caption, _table(panels), page.svg(name, title, caption))


def _panels(runs: Sequence[ArmsData]) -> list[_Panel]:
    found = []
    for run, grid in marks.grids(runs, lambda grid: grid.whole):
        rows = run.gridded.gaps
        for arm in marks.ARMS:
            own = [row for row in rows if row.network.arm == arm]
            found += [(run, grid, arm, own)] if own else []
    return found


def _draw(page: Sheet, axes: Axes, grid: Grid, rows: Sequence[GridGap], bits: Sequence[int], factor: float) -> None:
    axes.axhline(0, color=hex_of("ink"), linewidth=0.9, zorder=1)
    low, high = axes.get_xlim()
    for place, width in enumerate(bits):
        own = [row for row in rows if row.network.bits == width]
        apart = (high / low) ** (_APART * (place - (len(bits) - 1) / 2))
        for cells in grid.families().values():
            line = sorted(
                (r.size / factor * apart, r.comparison.difference.mean) for r in own if r.network.cell in cells
            )
            axes.plot(
                [x for x, _ in line], [marks.POINTS * y for _, y in line],
                color=hex_of(run_color(place)), linewidth=1.0, alpha=0.4,
            )  # fmt: skip
        for row in own:
            x, difference = row.size / factor * apart, row.comparison.difference
            marks.whisker(axes, x, difference, run_color(place))
            tip = f"{point_text(row.network.at)}: {marks.bits_text(width)}, {GAP.signed(difference.mean)}"
            tip += "" if difference.low is None or difference.high is None else (
                f" (95 % interval {GAP.text(difference.low)} to {GAP.text(difference.high)})"
            )  # fmt: skip
            hollow = not shown(row)
            marks.mark(page, axes, (x, marks.POINTS * difference.mean), tip, **marks.look(place, hollow))


def _wide(run: ArmsData, rows: Sequence[GridGap]) -> bool:
    """Whether some gaps are so large that others could not be told apart on an even axis."""
    return max(abs(row.comparison.difference.mean) for row in rows) > _WIDE * run.gridded.margin > 0


def _logarithmic(axes: Axes, run: ArmsData, rows: Sequence[GridGap]) -> None:
    """Even within the margin, logarithmic beyond."""
    margin = _none(run)[1]
    axes.set_yscale("symlog", linthresh=margin, linscale=0.5)
    drawn = [end for row in rows for each in [row.comparison.difference] for end in (each.mean, each.low, each.high)]
    low, high = (marks.POINTS * each(end for end in drawn if end is not None) for each in (min, max))
    steps = [step for step in marks.plain_ticks(margin, max(-low, high)) if step > margin]
    ticks = [tick for tick in (*(-step for step in steps), 0, *steps) if low <= tick <= high]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def _none(run: ArmsData) -> tuple[float, float]:
    """Gaps between these, in points, count as none."""
    margin = marks.POINTS * run.gridded.margin
    return -margin, margin


def _margin(panels: Sequence[_Panel]) -> str:
    """The margin in words, where all runs have the same."""
    margins = {run.gridded.margin for run, *_ in panels}
    return GAP.amount(margins.pop()) if len(margins) == 1 else "the margin of each"


def shown(row: GridGap) -> bool:
    """Whether the gap is shown, with Holm's correction over its arm."""
    return row.comparison.p_holm is not None and row.comparison.p_holm < 0.05  # noqa: PLR2004


def _caption(runs: Sequence[ArmsData], panels: Sequence[_Panel]) -> str:
    text = (
        "Mean over pairs of the same seed with its own 95 % interval; filled: shown, with Holm's correction over all"
        f" networks of the panel. Grey: within {_margin(panels)} of none."
    )
    if any(_wide(run, rows) for run, _, _, rows in panels):
        text += " An axis of wide gaps is logarithmic above and below the grey."
    for run, _, arm, _ in panels:
        told = [f"{marks.bits_text(each.bits)} {each.told}" for each in run.gridded.vanishings if each.arm == arm]
        if told:
            text += f" Does it vanish? {marks.prefixed_label(runs, run)}{marks.ARMS[arm]}: {', '.join(told)}."
    return text


def _table(panels: Sequence[_Panel]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for run, _, _, found in panels:
        for row in found:
            each, test = row.network, row.comparison
            equivalent = None if test.equivalent is None else int(test.equivalent)
            rows.append(
                (run.label, each.cell, point_text(each.at), each.arm, each.bits, row.size, test.difference.mean,
                 test.difference.low, test.difference.high, test.difference.n, test.p_holm, equivalent)
            )  # fmt: skip
    names = ("run", "cell", "network", "arm", "bits", "float_size", "gap", "low", "high", "seeds", "p_holm",
             "equivalent")  # fmt: skip
    return Table(names, tuple(rows))
