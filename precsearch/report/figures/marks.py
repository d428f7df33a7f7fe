"""What several figures draw: clouds of faint dots, heat maps in few paths, axes in units that people read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from precsearch.report.figures.palette import arm_style, hex_of
from precsearch.report.figures.sheet import SMALL, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

READABLE: Final = 13.0  # height of a row that a number fits into
Point = tuple[float, float]
_TIGHT: Final = 2.0  # a range so many times that of what matters is cut down to it
_DARK: Final = 0.6  # opacity from which text in a cell is in the paper's colour
_SI: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def cloud(axes: Axes, points: Sequence[Point], color: str, size: float = 4.0, alpha: float = 0.35) -> None:
    """Faint round dots in one path, so that a thousand of them stay small."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    if not points:
        return
    corners = [point for point in points for _ in range(2)]
    codes = [Path.MOVETO, Path.LINETO] * len(points)
    axes.add_patch(
        PathPatch(
            Path(corners, codes), fill=False, edgecolor=hex_of(color), linewidth=size, capstyle="round", alpha=alpha
        )
    )


def strands(axes: Axes, lines: Sequence[Sequence[Point]], color: str, width: float = 0.8, alpha: float = 0.3) -> None:
    """Faint lines in one path."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    corners = [point for line in lines for point in line]
    codes = [code for line in lines for code in [Path.MOVETO, *[Path.LINETO] * (len(line) - 1)] if line]
    if corners:
        axes.add_patch(
            PathPatch(Path(corners, codes), fill=False, edgecolor=hex_of(color), linewidth=width, alpha=alpha)
        )


def cells(
    axes: Axes, values: Mapping[tuple[int, int], float], color: str, texts: Mapping[tuple[int, int], str]
) -> None:
    """A heat map: one path for each strength, rows from the top.

    Args:
        axes: to draw on; its limits are set to the cells.
        values: (row, column) -> strength, 0 to 1; a cell that is absent stays empty.
        color: of full strength.
        texts: (row, column) -> what stands in the cell.
    """
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    steps: dict[float, list[tuple[int, int]]] = {}
    for place, value in sorted(values.items()):
        steps.setdefault(round(opacity(value), 2), []).append(place)
    for alpha, places in sorted(steps.items()):
        corners = [
            (column + x, row + y)
            for row, column in places
            for x, y in ((-0.47, -0.46), (0.47, -0.46), (0.47, 0.46), (-0.47, 0.46), (-0.47, -0.46))
        ]
        codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * len(places)
        axes.add_patch(PathPatch(Path(corners, codes), facecolor=hex_of(color), edgecolor="none", alpha=alpha))
    for (row, column), text in texts.items():
        strong = opacity(values.get((row, column), 0.0)) > _DARK
        shown = axes.text(
            column, row, text, ha="center", va="center_baseline", color=hex_of("paper" if strong else "ink")
        )
        shown.set_in_layout(False)  # it lies inside, and measuring hundreds takes long
    axes.set_xlim(-0.5, max(column for _, column in values) + 0.5)
    axes.set_ylim(max(row for row, _ in values) + 0.5, -0.5)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def opacity(strength: float) -> float:
    """Of a cell, so that the faintest can still be told from none."""
    return 0.1 + 0.86 * strength


def name_rows(axes: Axes, names: Sequence[str], room: float) -> None:
    """Names beside the rows of a heat map or of bars, every so many where they would touch.

    Args:
        axes: rows are at 0, 1, ....
        names: from the top.
        room: height of a row.
    """
    every = max(1, -(-int(SMALL + 2) // max(1, int(room))))
    rows = range(0, len(names), every)
    axes.set_yticks(list(rows), [shortened(names[row]) for row in rows])


def row_height(rows: int, widest: float = 18.0, total: float = 700.0) -> float:
    """Height of a row, so that many stay on one screen or so."""
    return max(3.0, min(widest, total / max(1, rows)))


def unit(largest: float) -> tuple[float, str]:
    """What to divide by, and the prefix that says so: 1,234,567 is in units of (1e6, ``M``)."""
    return next(((factor, prefix) for factor, prefix in _SI if largest >= factor), (1.0, ""))


def limits(matters: Sequence[float], all_of_it: Sequence[float]) -> tuple[float, float]:
    """Ends of an axis: of everything, or where outliers would flatten it of what matters and of four in five."""
    ordered = sorted(all_of_it)
    low, high, tenth = ordered[0], ordered[-1], len(ordered) // 10
    kept = [*matters, ordered[tenth], ordered[-1 - tenth]]
    span = max(kept) - min(kept)
    if high - low > _TIGHT * span > 0:
        low, high = max(low, min(kept) - 0.5 * span), min(high, max(kept) + 0.5 * span)
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


def curve(axes: Axes, xs: Sequence[float], ys: Sequence[float], arm: str, hollow: bool = False, **look: Any) -> None:
    """A line with markers in the style of an arm; hollow markers for what is to be doubted."""
    style = arm_style(arm)
    color = hex_of(style.color)
    axes.plot(
        xs,
        ys,
        **{
            "color": color,
            "marker": style.marker,
            "linestyle": style.dashes,
            "markeredgecolor": color if hollow else hex_of("paper"),
            "markerfacecolor": hex_of("paper") if hollow else color,
            "markeredgewidth": 1.2 if hollow else 0.6,
            **look,
        },
    )


def square(color: str, alpha: float = 1.0) -> Any:
    """A legend's key for an area."""
    from matplotlib.patches import Patch

    return Patch(facecolor=hex_of(color), edgecolor="none", alpha=alpha)
