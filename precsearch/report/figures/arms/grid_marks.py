"""What the figures of a grid have in common: its bits in colours, sizes on a logarithmic axis, panels by arm."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from precsearch.analysis.grid import Grid, point_text
from precsearch.report.figures.marks import unit
from precsearch.report.figures.palette import hex_of, run_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from precsearch.analysis.intervals import Interval
    from precsearch.report.arms.reading import ArmsData
    from precsearch.report.figures.sheet import Sheet

SECTION: Final = "Complexity and bits"
POINTS: Final = 100.0  # in a share of 1
PANEL: Final = 190.0
ARMS: Final = {"direct": "quantized directly", "retrained": "retrained"}
_MARKERS: Final = ("o", "s", "^", "v", "P", "X")
_MOST_TICKS: Final = 6
_NARROW: Final = 3.0  # from one end of an axis to the other: so near that a linear axis' numbers serve
Grids = Sequence[tuple["ArmsData", Grid]]


def grids(runs: Sequence[ArmsData], has: Callable[[Grid], object]) -> list[tuple[ArmsData, Grid]]:
    """The runs and their grids, those that `has` is true for."""
    return [(run, run.gridded.grid) for run in runs if has(run.gridded.grid)]


def widths(found: Iterable[Grid]) -> list[int]:
    """Every bit-width of some grids, ascending; its place is its colour and marker."""
    return sorted({each.bits for grid in found for each in grid.networks if each.bits is not None})


def look(place: int, hollow: bool = False, line: str = "none") -> dict[str, Any]:
    """Colour, marker and line of the bits or family at `place`; hollow for what is to be doubted."""
    color = hex_of(run_color(place))
    return {
        "color": color,
        "marker": _MARKERS[place % len(_MARKERS)],
        "markersize": 5.5,
        "markerfacecolor": hex_of("paper") if hollow else color,
        "markeredgecolor": color if hollow else hex_of("paper"),
        "markeredgewidth": 1.3 if hollow else 0.6,
        "linestyle": line,
    }


def key(place: int, line: str = "none") -> Any:
    """What a legend shows for the bits or family at `place`."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **look(place, line=line))


def bits_text(bits: int) -> str:
    """`1 bit`, `3 bits`."""
    return f"{bits} bit{'s' if bits > 1 else ''}"


def whisker(axes: Axes, x: float, interval: Interval, color: str) -> None:
    """An interval in points, upright; nothing where it has no ends."""
    if interval.low is not None and interval.high is not None:
        axes.plot(
            [x, x], [POINTS * interval.low, POINTS * interval.high], color=hex_of(color), linewidth=1.4, alpha=0.6
        )


def mark(page: Sheet, axes: Axes, at: tuple[float, float], tip: str, **style: Any) -> None:
    """One marker that says what it is where a pointer rests on it."""
    (drawn,) = axes.plot([at[0]], [at[1]], zorder=3, **style)
    page.tip(drawn, tip)


def size_axis(panels: Sequence[Axes], sizes: Sequence[float], what: str) -> float:
    """Make x of panels that share it a logarithmic axis of sizes; returns what to divide bytes by."""
    factor, prefix = unit(math.sqrt(min(sizes) * max(sizes)))
    for axes in panels:
        log_ticks(axes, "x", [size / factor for size in sizes])
    panels[-1].set_xlabel(f"{what}, {prefix}B")
    return factor


def log_ticks(axes: Axes, which: Literal["x", "y"], values: Sequence[float], room: float = 1.2) -> None:
    """A logarithmic axis around positive values, with few and plain numbers at its ticks."""
    low, high = min(values) / room, max(values) * room
    ticks = plain_ticks(low, high)
    getattr(axes, f"set_{which}scale")("log")
    getattr(axes, f"set_{which}lim")(low, high)
    getattr(axes, f"set_{which}ticks")(ticks, [f"{tick:,g}" for tick in ticks])
    getattr(axes, f"set_{which}ticks")([], minor=True)


def plain_ticks(low: float, high: float) -> list[float]:
    """Two to six numbers for a logarithmic axis, as plain as they can be."""
    from matplotlib.ticker import MaxNLocator

    if high < _NARROW * low:
        found = [float(tick) for tick in MaxNLocator(_MOST_TICKS - 1).tick_values(low, high)]
        return [tick for tick in found if low <= tick <= high]
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1.0, 1.5, 2.0, 3.0, 5.0, 7.0), (1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
        ticks = [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]
        if len(ticks) <= _MOST_TICKS:
            return ticks
    return ticks[:: -(-len(ticks) // _MOST_TICKS)]


def named(grid: Grid, cell: int) -> str:
    """A cell in words; ``the network`` where there is one."""
    return point_text(grid.points[cell]) or "the network"


def prefixed_label(runs: Sequence[ArmsData], run: ArmsData) -> str:
    """`label: ` where there are several runs."""
    return f"{run.label}: " if len(runs) > 1 else ""
