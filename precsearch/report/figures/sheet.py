"""A sheet to draw one figure on: the same size, type and axes for all, and the way from there to SVG."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Final

from precsearch.report.figures.palette import arm_style, hex_of
from precsearch.report.figures.svg import printable, themed

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

WIDTH: Final = 380.0  # units of the drawing; on a phone about one pixel each
SMALL: Final = 10.0
_POINTS: Final = 72.0  # an inch: a unit of the drawing is a point
_LEGEND_ROOM: Final = 348.0
_GLYPH: Final = 6.1  # mean width of a character of `SMALL` type, generous
_KEY: Final = 34.0  # width of a legend's key and the gaps beside it

_SETTINGS: Final[dict[str, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "precsearch",
    "text.parse_math": False,
    "font.size": SMALL,
    "axes.titlesize": SMALL,
    "axes.titlelocation": "left",
    "axes.titlepad": 7.0,
    "axes.labelsize": SMALL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "text.color": hex_of("ink"),
    "axes.titlecolor": hex_of("muted"),
    "axes.labelcolor": hex_of("muted"),
    "xtick.color": hex_of("axis"),
    "ytick.color": hex_of("axis"),
    "xtick.labelcolor": hex_of("muted"),
    "ytick.labelcolor": hex_of("muted"),
    "axes.edgecolor": hex_of("axis"),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": hex_of("grid"),
    "grid.linewidth": 0.8,
    "xtick.major.size": 3.0,
    "ytick.major.size": 0.0,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.0,
    "path.simplify": False,  # it would drop the dots of a cloud
    "legend.frameon": False,
}


class Sheet:
    """A drawing of one figure.

    Attributes:
        drawing: matplotlib's figure.
        panels: its axes, row by row.
    """

    def __init__(self, drawing: Drawing, panels: list[Axes]) -> None:
        self.drawing = drawing
        self.panels = panels
        self._tips: dict[str, str] = {}

    def tip(self, artist: Artist, text: str) -> None:
        """Show `text` where a pointer rests on `artist`."""
        name = f"tip-{len(self._tips)}"
        artist.set_gid(name)
        self._tips[name] = text

    def legend(self, entries: Sequence[tuple[Any, str]]) -> None:
        """A legend above the panels, in as many columns as fit.

        Args:
            entries: (artist to show, text) each.
        """
        if not entries:
            return
        # an underscore first would hide an entry
        texts = [f"\N{ZERO WIDTH NON-JOINER}{text}" if text.startswith("_") else text for _, text in entries]
        texts = [printable(text) for text in texts]
        self.drawing.legend(
            [artist for artist, _ in entries],
            texts,
            loc="outside upper left",
            ncols=_columns(texts),
            handlelength=1.9,
            columnspacing=1.2,
            borderpad=0.1,
            borderaxespad=0.2,
            handletextpad=0.5,
        )

    def svg(self, name: str, title: str, description: str) -> str:
        """The finished drawing."""
        text = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        self.drawing.savefig(text, format="svg", metadata=nothing)
        return themed(text.getvalue(), name, title, description, self._tips)


@contextmanager
def sheet(
    height: float,
    rows: int = 1,
    columns: int = 1,
    ratios: Sequence[float] | None = None,
    share: tuple[bool, bool] = (False, False),
) -> Iterator[Sheet]:
    """A sheet `WIDTH` wide, with rows x columns panels; drawing on it and `Sheet.svg` belong inside the ``with``.

    Args:
        height: in units of the drawing.
        rows: of panels.
        columns: of panels.
        ratios: heights of the rows to each other.
        share: which panels have x and y in common, as matplotlib's `subplots` takes them.
    """
    import matplotlib.style
    from matplotlib.figure import Figure

    with matplotlib.style.context(["default", _SETTINGS]), warnings.catch_warnings():
        # the reader's fonts draw the text, not the ones that it is measured with
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        drawing = Figure(figsize=(WIDTH / _POINTS, height / _POINTS), layout="constrained", dpi=_POINTS)
        made = drawing.subplots(rows, columns, squeeze=False, height_ratios=ratios, sharex=share[0], sharey=share[1])
        for panel in made.flat:
            panel.grid(axis="x", visible=False)
        yield Sheet(drawing, list(made.flat))


def key(arm: str, color: str | None = None, line: bool = True) -> Any:
    """What a legend shows for an arm.

    Args:
        arm: ``found``, ``uniform`` and so on.
        color: name of another colour than the arm's.
        line: whether the arm is drawn as a line; with a marker in any case.
    """
    from matplotlib.lines import Line2D

    style = arm_style(arm)
    shown = hex_of(color or style.color)
    return Line2D([], [], color=shown, marker=style.marker, linestyle=style.dashes if line else "none")


def shortened(text: str, most: int = 18) -> str:
    """The end of a name longer than `most` characters: it is what tells layers and parameters apart."""
    return text if len(text) <= most else "…" + text[-most + 1 :]


def _columns(texts: Sequence[str]) -> int:
    """The most columns whose widest entries fit beside each other; matplotlib fills a legend column by column."""
    for columns in range(len(texts), 1, -1):
        rows, longer = divmod(len(texts), columns)
        ends = accumulate(rows + (column < longer) for column in range(columns))
        widest = [max(map(len, texts[start:end])) for start, end in pairwise([0, *ends])]
        if sum(_KEY + _GLYPH * length for length in widest) <= _LEGEND_ROOM:
            return columns
    return 1
