"""The cells of a `compare` or a `grid`, and the arms in each: what one training sets, as dotted paths.

Nothing is built here: which layers a network has is told from outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final
from urllib.parse import quote

from precsearch.experiment.compare import ARM_KINDS, CompareSettings
from precsearch.experiment.document import Experiment
from precsearch.experiment.grid import GridSettings
from precsearch.experiment.outer import UNQUANTIZED

CONTINUED: Final = "continued"
DIRECT: Final = "direct"
RETRAINED: Final = "retrained"
_NO_EPOCHS: Final = {"warmup": 0, "search": 0, "finetune": 0}
_MOST_BITS: Final = 16.0  # a limit that nothing exceeds: one bit-width is all there is to choose from
Point = dict[str, Any]  # dotted path -> value
Layers = Mapping[str, Sequence[str]]  # a layer that can be quantized -> all others, which are then in float


@dataclass(frozen=True)
class Arm:
    """What is trained with every seed of a cell.

    Attributes:
        label: names it in its cell, and folders: ``uniform``, ``direct-2``, ``retrained-3-fc1``.
        arm: its name in `compare.arms`, or in `grid.arms`.
        point: what it sets on top of the cell.
        bits: of all layers, or of the one; in a grid, but for its float networks.
        layer: that alone is quantized; None where all are.
        start: label of the arm whose trained weights it starts from; None where it starts as the experiment says.
    """

    label: str
    arm: str
    point: Point = field(default_factory=dict)
    bits: int | None = None
    layer: str | None = None
    start: str | None = None


def seeds_of(experiment: Experiment) -> int:
    """How many seeds every arm has; 0 for a search."""
    block = experiment.compare or experiment.grid
    return block.seeds if block is not None else 0


def cells_of(experiment: Experiment) -> list[Point]:
    """The point of every cell, in the order of their numbers: the last path varies fastest."""
    return combinations(axes_of(experiment))


def axes_of(experiment: Experiment) -> Mapping[str, Sequence[Any]]:
    """What cells differ in: dotted path -> values."""
    if experiment.compare is not None:
        return experiment.compare.at
    return experiment.grid.axes if experiment.grid is not None else {}


def combinations(axes: Mapping[str, Sequence[Any]]) -> list[Point]:
    """Every combination of values; one, which is empty, where there are no axes."""
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def arms_of(experiment: Experiment, layers: Layers | None = None) -> list[Arm]:
    """The arms of a cell, in order; those that start from another come after it.

    Args:
        experiment: of kind compare or grid.
        layers: of the cell's network that are quantized alone, in a grid; none where None.
    """
    if experiment.compare is not None:
        return list(_compared(experiment.compare))
    if experiment.grid is not None:
        return list(_grown(experiment, experiment.grid, layers or {}))
    return []


def has_layers(experiment: Experiment, cell: Point) -> bool:
    """Whether each layer is also quantized alone in this cell."""
    grid = experiment.grid
    return grid is not None and grid.layers and all(cell[p] == value for p, value in (grid.layers_at or {}).items())


def joined(*points: Mapping[str, Any]) -> Point:
    """Points applied one after another; the later wins, and is applied later where a path is part of another."""
    whole: Point = {}
    for point in points:
        for path, value in point.items():
            whole.pop(path, None)
            whole[path] = value
    return whole


def _compared(compare: CompareSettings) -> Iterator[Arm]:
    for name, arm in compare.arms.items():
        yield Arm(name, name, joined(ARM_KINDS[arm.kind], arm.set))


def _grown(experiment: Experiment, grid: GridSettings, layers: Layers) -> Iterator[Arm]:
    yield Arm(UNQUANTIZED, UNQUANTIZED, ARM_KINDS["float"])
    if CONTINUED in grid.arms:
        yield Arm(CONTINUED, CONTINUED, joined(ARM_KINDS["float"], grid.retrain), start=UNQUANTIZED)
    own = {DIRECT: {"inner.epochs": _NO_EPOCHS}, RETRAINED: grid.retrain}
    alone = [(None, {}), *((layer, _alone(experiment, others)) for layer, others in layers.items())]
    for layer, pinned in alone:
        for arm in (each for each in grid.arms if each in own):
            for bits in grid.bits:
                label = f"{arm}-{bits}" if layer is None else f"{arm}-{bits}-{quote(layer, safe='')}"
                yield Arm(label, arm, joined(_uniform(bits), pinned, own[arm]), bits, layer, UNQUANTIZED)


def _uniform(bits: int) -> Point:
    """What makes every layer that is searched have so many bits."""
    return {
        **ARM_KINDS["uniform"],
        "inner.bits": [bits],
        "inner.candidates": {},
        "inner.budget": {"kind": "average_bits", "limit": _MOST_BITS},
        "inner.budgets": {},
    }


def _alone(experiment: Experiment, others: Sequence[str]) -> Point:
    """What leaves these layers in float; the experiment's own pins hold for the one that is left."""
    pins = {**experiment.inner.model_dump()["pin"], **dict.fromkeys(others, "float")}
    return {"inner.pin": pins, "inner.groups": {}, "inner.share": []}
