"""Who gets the bits: layer by layer at the best trial, and over the front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from precsearch.analysis.bits import spread_rows
from precsearch.report import words
from precsearch.report.figures import chosen
from precsearch.report.figures.base import Figure, Table
from precsearch.report.figures.marks import READABLE, name_rows, row_height, square
from precsearch.report.figures.palette import hex_of
from precsearch.report.figures.sheet import sheet
from precsearch.report.figures.svg import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from precsearch.allocation import Allocation, LayerPrecision, Target
    from precsearch.report.reading import RunData, Trained

SECTION: Final = "Bits"
# target -> colour and marker; weights are bars
_LOOKS: Final[dict[Target, tuple[str, str]]] = {
    "weight": ("found", "s"), "activation": ("uniform", "D"), "gradient": ("random", "^"),
}  # fmt: skip
NAMES: Final[dict[Target, str]] = {"weight": "weights", "activation": "activations", "gradient": "gradients"}
_AROUND: Final = 62.0  # height of an axis' labels and title


def bits_per_layer(runs: Sequence[RunData]) -> Figure | None:
    """Weight, activation and gradient bits of each layer of the best allocation, and its share of the parameters."""
    picked = [(run, found, found.allocation) for run in runs if (found := _best(run)) is not None and found.allocation]
    if not picked:
        return None
    heights = [row_height(len(allocation.layers), 24.0) * len(allocation.layers) for *_, allocation in picked]
    with sheet(sum(heights) + _AROUND * len(picked) + 24, len(picked), 2, ratios=heights) as page:
        page.drawing.get_layout_engine().set(wspace=0.04)  # type: ignore[union-attr, call-arg]
        for index, (run, trained, allocation) in enumerate(picked):
            left, right = page.panels[2 * index : 2 * index + 2]
            where = f"{run.label}: " if len(runs) > 1 else ""
            left.set_title(printable(f"{where}bits, {chosen.name_of(trained)}"))
            _bars(left, allocation)
            _shares(right, allocation)
        page.drawing.axes[0].get_gridspec().set_width_ratios([2.6, 1])  # type: ignore[union-attr]
        targets = quantized([allocation for *_, allocation in picked])
        page.legend([(_key(target), NAMES[target]) for target in targets])
        caption = " ".join(_told_bits(run, trained, allocation, len(runs) > 1) for run, trained, allocation in picked)
        rows = tuple(
            (run.label, trained.record.number, layer.name, *(layer.bits(t) for t in _LOOKS), layer.numel, layer.macs)
            for run, trained, allocation in picked
            for layer in allocation.layers
        )
        columns = ("run", "trial", "layer", *(f"{target}_bits" for target in _LOOKS), "weights", "macs")
        name, title = "bits-per-layer", "Bits of each layer"
        return Figure(name, SECTION, title, caption, Table(columns, rows), page.svg(name, title, caption))


def _best(run: RunData) -> Trained | None:
    return chosen.shown(run, lambda trained: trained.allocation is not None)


def quantized(allocations: Sequence[Allocation]) -> list[Target]:
    """Those that any layer quantizes."""
    return [
        target
        for target in _LOOKS
        if any(layer.bits(target) is not None for each in allocations for layer in each.layers)
    ]


def _bars(axes: Axes, allocation: Allocation) -> None:
    """One row a layer: a bar for its weights, a marker for every other target."""
    layers = allocation.layers
    for row, layer in enumerate(layers):
        bits = layer.bits("weight")
        if bits is None:
            axes.text(0.1, row, "float", va="center", color=hex_of("muted"))
        else:
            axes.barh(row, bits, height=0.62, color=hex_of("found"), linewidth=0)
    for target in ("activation", "gradient"):
        color, marker = _LOOKS[target]
        placed = [(found, row) for row, layer in enumerate(layers) if (found := layer.bits(target)) is not None]
        if placed:
            axes.plot(
                *zip(*placed, strict=True), linestyle="none", marker=marker, color=hex_of(color), markersize=6.5,
                markeredgecolor=hex_of("paper"), clip_on=False,
            )  # fmt: skip
    most = max((bits for layer in layers for t in _LOOKS if (bits := layer.bits(t)) is not None), default=1)
    axes.set_xlim(0, most + 0.4)
    axes.set_xticks(range(0, most + 1, 1 if most <= 8 else 2))  # noqa: PLR2004
    _rows(axes, layers)


def _shares(axes: Axes, allocation: Allocation) -> None:
    shares = [100 * layer.numel / _own(allocation) for layer in allocation.layers]
    room = row_height(len(shares), 24.0)
    axes.barh(range(len(shares)), shares, height=0.62, color=hex_of("muted"), alpha=0.45, linewidth=0)
    for row, share in enumerate(shares):
        if room >= READABLE:
            text = _percent(allocation.layers[row].numel, allocation)
            axes.text(share + 2, row, text, va="center_baseline", color=hex_of("muted"))
    axes.set_xlim(0, 150 if room >= READABLE else 100)
    axes.set_xticks([])
    axes.set_title("of the weights")
    _rows(axes, allocation.layers)
    axes.set_yticks([])


def _percent(numel: int, allocation: Allocation) -> str:
    share = 100 * numel / _own(allocation)
    return f"{share:.0f} %" if share >= 1 else "< 1 %"


def _own(allocation: Allocation) -> int:
    return sum(layer.numel for layer in allocation.layers if layer.tied_to is None)


def _rows(axes: Axes, layers: Sequence[LayerPrecision]) -> None:
    name_rows(axes, [layer.name for layer in layers], row_height(len(layers), 24.0))
    axes.set_ylim(len(layers) - 0.5, -0.5)
    axes.grid(axis="x", visible=True)
    axes.grid(axis="y", visible=False)
    axes.spines["bottom"].set_visible(False)
    axes.spines["left"].set_visible(True)
    axes.tick_params(axis="x", length=0)


def _key(target: Target) -> object:
    from matplotlib.lines import Line2D

    color, marker = _LOOKS[target]
    if target == "weight":
        return square(color)
    return Line2D([], [], color=hex_of(color), marker=marker, markersize=6.5, linestyle="none")


def _told_bits(run: RunData, trained: Trained, allocation: Allocation, several: bool) -> str:
    bits = [(layer, found) for layer in allocation.layers if (found := layer.bits("weight")) is not None]
    means = words.allocation_average_bits(allocation, trained.record.metrics)
    text = f"{f'{run.label}, ' if several else ''}{chosen.name_of(trained)}: {means} bits on average."
    if len({found for _, found in bits}) > 1:
        most, least = max(bits, key=lambda pair: pair[1]), min(bits, key=lambda pair: pair[1])
        text += (
            f" {most[0].name} has the most weight bits ({most[1]}), {least[0].name} the fewest ({least[1]},"
            f" {_percent(least[0].numel, allocation)} of the weights)."
        )
        spreads = spread_rows([(trained.record.number, allocation)])
        away = next(row.distance for row in spreads if row.target == "weight")
        text += f" On average a layer's weights are {away:.1f} bits from a uniform allocation."
    elif bits:
        text += f" Every quantized layer has {bits[0][1]} weight bits."
    return text[0].upper() + text[1:] if not several else text
