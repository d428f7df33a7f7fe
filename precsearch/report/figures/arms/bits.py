"""Where the bits of every layer lie over seeds, for arms that learn them, against uniform ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from precsearch.analysis.arms import EQUAL_COST, LEARNED, STOCHASTIC
from precsearch.analysis.bits import TARGETS
from precsearch.report.figures.arms import common
from precsearch.report.figures.base import Cell, Figure, Table
from precsearch.report.figures.bits import NAMES, SECTION
from precsearch.report.figures.marks import name_rows, row_height
from precsearch.report.figures.palette import arm_style, hex_of
from precsearch.report.figures.sheet import sheet
from precsearch.report.figures.svg import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from precsearch.allocation import Target
    from precsearch.analysis.arm_bits import LayerRow
    from precsearch.report.arms.reading import ArmsData
    from precsearch.report.figures.arms.common import Panel
    from precsearch.report.figures.sheet import Sheet

_DRAWN: Final = (LEARNED, STOCHASTIC)
_MOST: Final = 120.0  # area of the dot of a bit-width that every seed has
_ROW: Final = 26.0


def bits_over_seeds(runs: Sequence[ArmsData]) -> Figure | None:
    """A dot for each bit-width of a layer, as large as the share of seeds that have it."""
    found = [
        (each, target)
        for each in common.panels(runs, _learned)
        for target in dict.fromkeys(row.target for row in _learned(each.data, each.cell))
    ]
    if not found:
        return None
    look = common.looks(runs)
    heights = [_height(each, target) + common.AROUND for each, target in found]
    with sheet(sum(heights) + 26, len(found), ratios=heights) as page:
        for axes, (each, target) in zip(page.panels, found, strict=True):
            title = f"{NAMES[target]}, bits"
            axes.set_title(printable(f"{each.title}: {title}" if each.title else title))
            _draw(page, axes, each, target, look)
        arms = {
            row.arm: common.look_of(each.data, look, row.arm)
            for each, _ in found
            for row in _learned(each.data, each.cell)
        }
        keys = [(_dot(style), arm) for arm, style in arms.items()]
        page.legend([*keys, *_uniform_key([each for each, _ in found])])
        name, title = "bits-over-seeds", "Bits of each layer over seeds"
        caption = _caption(found)
        return Figure(name, SECTION, title, caption, _table(runs), page.svg(name, title, caption))


def _learned(data: ArmsData, cell: int) -> list[LayerRow]:
    kinds = data.compared.kinds
    return [row for row in data.compared.bits if row.cell == cell and kinds.get(row.arm) in _DRAWN]


def _of(each: Panel, target: Target) -> list[LayerRow]:
    return [row for row in _learned(each.data, each.cell) if row.target == target]


def _height(each: Panel, target: Target) -> float:
    layers = len({row.layer for row in _of(each, target)})
    return layers * row_height(layers, _ROW)


def _draw(page: Sheet, axes: Axes, each: Panel, target: Target, look: dict[str, str]) -> None:
    rows = _of(each, target)
    layers, arms = list(dict.fromkeys(row.layer for row in rows)), list(dict.fromkeys(row.arm for row in rows))
    room = row_height(len(layers), _ROW) / _ROW
    for row in rows:
        style = arm_style(common.look_of(each.data, look, row.arm))
        place = layers.index(row.layer) + 0.5 * ((arms.index(row.arm) + 0.5) / len(arms) - 0.5)
        for bits, count in Counter(row.bits).items():
            share = count / len(row.bits)
            dot = axes.scatter(
                [bits], [place], s=max(4.0, _MOST * share * room**2), color=hex_of(style.color),
                marker=style.marker, linewidths=0, alpha=0.8,
            )  # fmt: skip
            page.tip(dot, f"{row.arm}, {row.layer}: {bits} bits in {count} of {len(row.bits)}")
    uniform = _uniform(each, target)
    if uniform is not None:
        style = arm_style("uniform")
        axes.axvline(uniform, color=hex_of(style.color), linestyle=style.dashes, linewidth=1.2, zorder=0.8)
    used = [bits for row in rows for bits in row.bits] + ([round(uniform)] if uniform is not None else [])
    axes.set_xlim(min(used) - 0.6, max(used) + 0.6)
    axes.set_xticks(range(min(used), max(used) + 1))
    name_rows(axes, layers, row_height(len(layers), _ROW))
    axes.set_ylim(len(layers) - 0.5, -0.5)
    axes.grid(axis="x", visible=True)
    axes.grid(axis="y", visible=False)


def _uniform(each: Panel, target: Target) -> float | None:
    """Mean bits of the uniform arm there."""
    rows = [row for row in each.data.compared.uniformity if (row.cell, row.target) == (each.cell, target)]
    found = [row.bits.mean for row in rows if each.data.compared.kinds.get(row.arm) == EQUAL_COST[0]]
    return found[0] if found else None


def _dot(style: str) -> object:
    from matplotlib.lines import Line2D

    look = arm_style(style)
    return Line2D([], [], color=hex_of(look.color), marker=look.marker, markersize=7, linestyle="none")


def _uniform_key(found: Sequence[Panel]) -> list[tuple[object, str]]:
    from matplotlib.lines import Line2D

    style = arm_style("uniform")
    drawn = any(_uniform(each, target) is not None for each in found for target in TARGETS)
    look = Line2D([], [], color=hex_of(style.color), linestyle=style.dashes, linewidth=1.2)
    return [(look, "uniform")] if drawn else []


def _caption(found: Sequence[tuple[Panel, Target]]) -> str:
    text = "A mark is as large as the share of seeds that give a layer so many bits."
    for each in dict.fromkeys(each for each, _ in found):
        rows = [row for row in each.data.compared.uniformity if row.cell == each.cell]
        for arm in dict.fromkeys(row.arm for row in _learned(each.data, each.cell)):
            said = [f"{row.distance.mean:.2f} ({NAMES[row.target]})" for row in rows if row.arm == arm]
            where = f"{each.title}: " if each.title else ""
            text += f" {where}{arm} lies {' and '.join(said)} bits a layer from uniform, the mean over seeds."
    return text


def _table(runs: Sequence[ArmsData]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (data.label, row.cell, data.places[row.cell], row.arm, row.target, row.layer, seed, bits)
        for data in runs
        for row in data.compared.bits
        for seed, bits in enumerate(row.bits)
    ]
    return Table(("run", "cell", "at", "arm", "target", "layer", "seed", "bits"), tuple(rows))
