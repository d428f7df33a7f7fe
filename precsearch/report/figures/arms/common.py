"""What the figures of a comparison share: a panel for each run and cell, how arms look, dots with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from precsearch.report.figures.marks import cloud
from precsearch.report.figures.palette import Style, arm_style, hex_of, spare_style
from precsearch.report.figures.sheet import key, shortened
from precsearch.report.figures.svg import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from precsearch.analysis.arms import Arm
    from precsearch.analysis.intervals import Interval
    from precsearch.report.arms.reading import ArmsData
    from precsearch.report.figures.sheet import Sheet

PITCH: Final = 20.0  # height of a row of dots
TALL: Final = 27.0  # the same with a name in two lines
AROUND: Final = 46.0  # height of a panel's title and axis
MINUS: Final = "−"  # noqa: RUF001 -- the sign of a difference
_JITTER: Final = 0.26
_NAME: Final = 24  # letters of a row's name
_SAME: Final = 1e-6  # values that differ by so little of their size need an axis that is wider


@dataclass(frozen=True)
class Panel:
    """One cell of one run.

    Attributes:
        data: the run.
        cell: number of the cell.
        title: the cell in words, with the run's label where there are several.
    """

    data: ArmsData
    cell: int
    title: str


def panels(runs: Sequence[ArmsData], has: Callable[[ArmsData, int], object]) -> list[Panel]:
    """A panel for each run and cell that `has` is true for."""
    found = []
    for data in runs:
        for cell, place in data.places.items():
            if has(data, cell):
                title = ", ".join(filter(None, (data.label if len(runs) > 1 else "", place)))
                found.append(Panel(data, cell, " ".join(printable(title).split())))
    return found


def looks(runs: Sequence[ArmsData]) -> dict[str, str]:
    """Name of an arm -> the style of its kind, or another where a second arm has the same kind."""
    found: dict[str, str] = {}
    for data in runs:
        for arm in data.compared.arms:
            if arm.name not in found:
                taken = set(found.values())
                spares = (spare_style(index) for index in range(len(found) + 1))
                found[arm.name] = arm.kind if arm.kind not in taken else next(s for s in spares if s not in taken)
    return found


def style(look: Mapping[str, str], arm: Arm) -> Style:
    """How an arm is drawn."""
    return arm_style(look[arm.name])


def legend(
    page: Sheet, look: Mapping[str, str], arms: Sequence[Arm], line: bool = True, more: Sequence[Any] = ()
) -> None:
    """A legend of these arms, each once."""
    names = dict.fromkeys(arm.name for arm in arms)
    page.legend([*((key(look[name], line=line), name) for name in names), *more])


def level(axes: Axes, values: Sequence[float]) -> None:
    """Plain numbers at the axis, and room around values that are all the same."""
    axes.ticklabel_format(axis="x", useOffset=False)
    low, high = min(values), max(values)
    if high - low <= _SAME * max(abs(low), abs(high)):
        room = 0.1 * abs(high) or 0.1
        axes.set_xlim(low - room, high + room)


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Names beside rows, from the top; a name may have two lines."""
    lines = [[printable(shortened(line, _NAME)) for line in name.split("\n")] for name in names]
    axes.set_yticks(range(len(names)), ["\n".join(each) for each in lines])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x", visible=True)
    axes.grid(axis="y", visible=False)


def dots(axes: Axes, place: float, values: Mapping[int, float], color: str, size: float = 4.0) -> None:
    """Every seed as a faint dot; the same seed lies at the same height in every row."""
    spots = [(value, place + _JITTER * ((index % 5) - 2) / 2) for index, value in values.items()]
    cloud(axes, spots, color, size=size, alpha=0.35)


def mean(
    page: Sheet, axes: Axes, place: float, found: Interval, scale: float, look: Style, tip: str, filled: bool = True
) -> None:
    """A mean with its interval."""
    color = hex_of(look.color)
    ends = [scale * end for end in (found.low, found.high) if end is not None]
    axes.plot(ends, [place] * len(ends), color=color, linewidth=2.2, solid_capstyle="round")
    (mark,) = axes.plot(
        [scale * found.mean], [place], marker=look.marker, markersize=7, color=color,
        markerfacecolor=color if filled else hex_of("paper"), markeredgecolor=color if not filled else hex_of("paper"),
    )  # fmt: skip
    page.tip(mark, tip)


def beside(axes: Axes, place: float, text: str, bold: bool = False) -> None:
    """A figure to the right of a row."""
    axes.text(
        1.02, place, text, transform=axes.get_yaxis_transform(), va="center_baseline", color=hex_of("ink"),
        fontweight="bold" if bold else "normal",
    )  # fmt: skip


def interval_text(found: Interval, scale: float, digits: int) -> str:
    """`1.23 (1.10 to 1.36)`."""
    text = f"{scale * found.mean:.{digits}f}"
    if found.low is None or found.high is None:
        return text
    return f"{text} ({scale * found.low:.{digits}f} to {scale * found.high:.{digits}f})"
