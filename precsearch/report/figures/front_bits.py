"""Who gets the bits as the budget grows: each layer's, over the members of the front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from precsearch.analysis.bits import bits_rows
from precsearch.report.figures import chosen
from precsearch.report.figures.base import Cell, Figure, Table
from precsearch.report.figures.bits import NAMES, SECTION, quantized
from precsearch.report.figures.marks import READABLE, cells, name_rows, opacity, row_height, square
from precsearch.report.figures.sheet import sheet
from precsearch.report.figures.svg import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from precsearch.allocation import Target
    from precsearch.report.reading import RunData, Trained

_MOST_TEXTS: Final = 12  # columns of a heat map that numbers fit into


def bits_over_front(runs: Sequence[RunData]) -> Figure | None:
    """Bits of each layer, for every member of the front from the fewest bits on average to the most."""
    maps = [
        (run, target, members)
        for run in runs
        if (members := _ordered(run))
        for target in quantized([each.allocation for each in members if each.allocation])
    ]
    if not maps:
        return None
    rows = [len(_layers(members)) for _, _, members in maps]
    heights = [row_height(count) * count for count in rows]
    every = sorted({b for _, t, ms in maps for each in ms for _, b in _bits(each, t) if b is not None})
    with sheet(sum(heights) + 46.0 * len(maps) + 24, len(maps), ratios=heights) as page:
        for axes, (run, target, members), height in zip(page.panels, maps, heights, strict=True):
            where = f"{run.label}: " if len(runs) > 1 else ""
            axes.set_title(printable(f"{where}{NAMES[target]}"))
            _heat(axes, target, members, every, height)
        page.panels[-1].set_xlabel("average bits of the front's members")
        page.legend([(square("found", _alpha(bits, every)), f"{bits}") for bits in every])
        caption = _front_caption(runs, maps)
        name, title = "bits-over-front", "Bits of each layer over the front"
        return Figure(name, SECTION, title, caption, _front_table(maps), page.svg(name, title, caption))


def _ordered(run: RunData) -> list[Trained]:
    """Members of the front that have an allocation, by average bits."""
    members = [each for each in run.front if each.allocation is not None]
    return sorted(members, key=lambda each: (chosen.average_bits(each) or 0.0, each.record.number))


def _layers(members: Sequence[Trained]) -> list[str]:
    """Layers of all members; they may be different networks where the outer search chose their depth."""
    return list(dict.fromkeys(layer.name for each in members if each.allocation for layer in each.allocation.layers))


def _bits(trained: Trained, target: Target) -> list[tuple[str, int | None]]:
    rows = bits_rows([(trained.record.number, trained.allocation)])
    return [(row.layer, row.bits) for row in rows if row.target == target]


def _alpha(bits: int, every: Sequence[int]) -> float:
    return opacity(_strength(bits, every))


def _strength(bits: int, every: Sequence[int]) -> float:
    return every.index(bits) / max(1, len(every) - 1)


def _heat(axes: Axes, target: Target, members: Sequence[Trained], every: Sequence[int], height: float) -> None:
    layers = _layers(members)
    found = {
        (layers.index(layer), column): bits
        for column, each in enumerate(members)
        for layer, bits in _bits(each, target)
        if bits is not None
    }
    readable = len(members) <= _MOST_TEXTS and height / len(layers) >= READABLE
    cells(
        axes,
        {place: _strength(bits, every) for place, bits in found.items()},
        "found",
        {place: str(bits) for place, bits in found.items()} if readable else {},
    )
    axes.set_xlim(-0.5, len(members) - 0.5)
    axes.set_ylim(len(layers) - 0.5, -0.5)
    name_rows(axes, layers, height / len(layers))
    step = -(-len(members) // _MOST_TEXTS)
    shown = range(0, len(members), step)
    axes.set_xticks(list(shown), [f"{chosen.average_bits(members[at]) or 0:.1f}" for at in shown])


def _front_caption(runs: Sequence[RunData], maps: Sequence[tuple[RunData, Target, list[Trained]]]) -> str:
    text = "Each column is a member of the front, fewest bits on average first; strong colours are more bits."
    for run, target, members in maps:
        means: dict[str, list[int]] = {}
        for each in members:
            for layer, bits in _bits(each, target):
                if bits is not None:
                    means.setdefault(layer, []).append(bits)
        averages = {layer: sum(found) / len(found) for layer, found in means.items()}
        if len(members) > 1 and len(set(averages.values())) > 1:
            most, least = max(averages, key=averages.__getitem__), min(averages, key=averages.__getitem__)
            text += (
                f" {NAMES[target].capitalize()}{f' of {run.label}' if len(runs) > 1 else ''}: {most} has the most over"
                f" the front ({averages[most]:.1f} on average), {least} the fewest ({averages[least]:.1f})."
            )
    return text


def _front_table(maps: Sequence[tuple[RunData, Target, list[Trained]]]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (run.label, each.record.number, chosen.average_bits(each), target, layer, bits)
        for run, target, members in maps
        for each in members
        for layer, bits in _bits(each, target)
    ]
    return Table(("run", "trial", "average_bits", "target", "layer", "bits"), tuple(rows))
