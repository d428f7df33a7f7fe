"""Which layers rounding hurts: the loss with one layer quantized alone, by bit-width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from precsearch.report.figures import chosen
from precsearch.report.figures.base import Cell, Figure, Table
from precsearch.report.figures.bits import SECTION
from precsearch.report.figures.marks import READABLE, cells, name_rows, row_height
from precsearch.report.figures.sheet import sheet
from precsearch.report.figures.svg import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from precsearch.measured import Alone, Evaluation
    from precsearch.report.reading import RunData, Trained

_AROUND: Final = 46.0
_MOST_TEXTS: Final = 8
_DECADES: Final = 3.0  # losses a thousandth of the largest are as faint as can be
_has = chosen.evaluated(lambda evaluation: evaluation.alone)


def sensitivity(runs: Sequence[RunData]) -> Figure | None:
    """A heat map, layers by bit-widths, for each target: what quantizing that layer alone adds to the loss."""
    maps = [
        (run, best, best.evaluation, target)
        for run in runs
        if (best := chosen.shown(run, _has)) is not None and best.evaluation is not None
        for target in dict.fromkeys(each.target for each in best.evaluation.alone)
    ]
    if not maps:
        return None
    rows = [
        len({each.layer for each in evaluation.alone if each.target == target}) for _, _, evaluation, target in maps
    ]
    heights = [row_height(count) * count for count in rows]
    with sheet(sum(heights) + _AROUND * len(maps) + 16, len(maps), ratios=heights) as page:
        largest = max(_added(each, evaluation) for _, _, evaluation, _ in maps for each in evaluation.alone)
        for axes, (run, _, evaluation, target), height in zip(page.panels, maps, heights, strict=True):
            where = f"{run.label}: " if len(runs) > 1 else ""
            axes.set_title(printable(f"{where}{target}s"))
            _heat(axes, evaluation, target, largest, height)
        page.panels[-1].set_xlabel("bits of that layer alone")
        caption = _caption(runs, maps)
        name, title = "sensitivity", "What rounding one layer alone costs"
        return Figure(name, SECTION, title, caption, _table(maps), page.svg(name, title, caption))


def _added(alone: Alone, evaluation: Evaluation) -> float:
    """What the loss grows by; the loss itself where the float loss is not known."""
    return alone.loss - (evaluation.float_loss or 0.0)


def _heat(axes: Axes, evaluation: Evaluation, target: str, largest: float, height: float) -> None:
    own = [each for each in evaluation.alone if each.target == target]
    layers = list(dict.fromkeys(each.layer for each in own))
    widths = sorted({each.bits for each in own})
    values = {(layers.index(each.layer), widths.index(each.bits)): _added(each, evaluation) for each in own}
    readable = height / len(layers) >= READABLE and len(widths) <= _MOST_TEXTS
    texts = {place: _short(value) for place, value in values.items()} if readable else {}
    cells(axes, {place: _strength(value, largest) for place, value in values.items()}, "uniform", texts)
    name_rows(axes, layers, height / len(layers))
    axes.set_xticks(range(len(widths)), [str(width) for width in widths])


def _strength(value: float, largest: float) -> float:
    """0 to 1 by the logarithm."""
    if value <= 0 or largest <= 0:
        return 0.0
    return max(0.0, 1 + math.log10(value / largest) / _DECADES)


def _short(value: float) -> str:
    """Two figures that fit into a cell: `0.012`, `1.3`, `< 0.001`."""
    if abs(value) < 0.0005:  # noqa: PLR2004
        return "0"
    return f"{value:.2g}" if abs(value) >= 0.01 else f"{value:.3f}"  # noqa: PLR2004


def _caption(runs: Sequence[RunData], maps: Sequence[tuple[RunData, Trained, Evaluation, str]]) -> str:
    known = all(evaluation.float_loss is not None for _, _, evaluation, _ in maps)
    text = "Added to the float network's loss" if known else "Loss"
    text += " (nats) when one layer alone has so many bits and nothing is trained for it; strong colours are worse."
    for run, trained, evaluation, target in maps:
        own = [each for each in evaluation.alone if each.target == target]
        least = min(each.bits for each in own)
        worst = max((each for each in own if each.bits == least), key=lambda each: each.loss)
        where = f"{run.label}, {chosen.name_of(trained)}" if len(runs) > 1 else chosen.name_of(trained)
        text += f" {target.capitalize()}s of {where}: at {least} bits {worst.layer} costs most"
        text += f" ({_short(_added(worst, evaluation))})."
    return text


def _table(maps: Sequence[tuple[RunData, Trained, Evaluation, str]]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            run.label,
            trained.record.number,
            each.layer,
            target,
            each.bits,
            each.loss,
            evaluation.float_loss,
            each.accuracy,
        )
        for run, trained, evaluation, target in maps
        for each in evaluation.alone
        if each.target == target
    ]
    return Table(("run", "trial", "layer", "target", "bits", "loss", "float_loss", "accuracy"), tuple(rows))
