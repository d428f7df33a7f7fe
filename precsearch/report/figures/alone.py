"""Which layers rounding hurts: the loss with one layer quantized alone, by bit-width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from precsearch.analysis.sensitivity import SensitivityRow, sensitivity_rows
from precsearch.report.figures import chosen
from precsearch.report.figures.base import Cell, Figure, Table
from precsearch.report.figures.bits import SECTION
from precsearch.report.figures.marks import READABLE, cells, name_rows, row_height
from precsearch.report.figures.sheet import sheet
from precsearch.report.figures.svg import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from precsearch.measured import Evaluation
    from precsearch.report.reading import RunData, Trained

_AROUND: Final = 46.0
_MOST_TEXTS: Final = 8
_DECADES: Final = 3.0  # losses a thousandth of the largest are as faint as can be
_has = chosen.evaluated(lambda evaluation: evaluation.alone and evaluation.float_loss is not None)


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
        largest = max(row.loss.mean for _, _, evaluation, _ in maps for row in sensitivity_rows([evaluation]))
        for axes, (run, _, evaluation, target), height in zip(page.panels, maps, heights, strict=True):
            where = f"{run.label}: " if len(runs) > 1 else ""
            axes.set_title(printable(f"{where}{target}s"))
            _heat(axes, evaluation, target, largest, height)
        page.panels[-1].set_xlabel("bits of that layer alone")
        caption = _caption(runs, maps)
        name, title = "sensitivity", "What rounding one layer alone costs"
        return Figure(name, SECTION, title, caption, _table(maps), page.svg(name, title, caption))


def _of(evaluation: Evaluation, target: str) -> list[SensitivityRow]:
    return [row for row in sensitivity_rows([evaluation]) if row.target == target]


def _heat(axes: Axes, evaluation: Evaluation, target: str, largest: float, height: float) -> None:
    own = _of(evaluation, target)
    layers = list(dict.fromkeys(each.layer for each in own))
    widths = sorted({each.bits for each in own})
    values = {(layers.index(row.layer), widths.index(row.bits)): row.loss.mean for row in own}
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
    text = "Added to the float network's loss (nats) when one layer alone has so many bits and nothing is trained for"
    text += " it; strong colours are worse."
    for run, trained, evaluation, target in maps:
        own = _of(evaluation, target)
        least = min(row.bits for row in own)
        worst = max((row for row in own if row.bits == least), key=lambda row: row.loss.mean)
        where = f"{run.label}, {chosen.name_of(trained)}" if len(runs) > 1 else chosen.name_of(trained)
        text += f" {target.capitalize()}s of {where}: at {least} bits {worst.layer} costs most"
        text += f" ({_short(worst.loss.mean)})."
    return text


def _table(maps: Sequence[tuple[RunData, Trained, Evaluation, str]]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            run.label,
            trained.record.number,
            row.layer,
            target,
            row.bits,
            row.loss.mean,
            row.accuracy.mean,
        )
        for run, trained, evaluation, target in maps
        for row in _of(evaluation, target)
    ]
    return Table(("run", "trial", "layer", "target", "bits", "added_loss", "accuracy"), tuple(rows))
