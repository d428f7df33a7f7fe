"""What allocations over seeds have in common: bits of each layer, and how far from uniform they lie."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from precsearch.analysis.bits import TARGETS, spread_rows
from precsearch.analysis.intervals import Interval, mean_interval

if TYPE_CHECKING:
    from precsearch.allocation import Allocation, Target
    from precsearch.results import TrainingRecord

Allocated = Iterable[tuple["TrainingRecord", "Allocation | None"]]


@dataclass(frozen=True)
class LayerRow:
    """One target of one layer in one arm and cell, over seeds.

    Attributes:
        cell: its number.
        arm: of the run.
        target: ``weight``, ``activation`` or ``gradient``.
        layer: its name.
        bits: bit-width by seed, in the order of the seeds.
        mean: of them.
        sd: their standard deviation; 0 for one seed.
    """

    cell: int
    arm: str
    target: Target
    layer: str
    bits: tuple[int, ...]
    mean: float
    sd: float


@dataclass(frozen=True)
class UniformityRow:
    """How far from uniform one target of one arm lies in one cell.

    Attributes:
        cell: its number.
        arm: of the run.
        target: likewise.
        distance: bits a layer from the nearest uniform allocation, the mean over seeds.
        bits: over the layers that are quantized, the mean over seeds.
        exact: seeds whose allocation is uniform.
    """

    cell: int
    arm: str
    target: Target
    distance: Interval
    bits: Interval
    exact: int


def layer_rows(found: Allocated) -> list[LayerRow]:
    """One row for each cell, arm, target and layer that any seed quantizes, layers in the order of the network."""
    seeds: dict[tuple[int, str, Target, str], list[int]] = {}
    for record, allocation in found:
        for target in TARGETS:
            for layer in allocation.layers if allocation is not None else ():
                if (bits := layer.bits(target)) is not None:
                    seeds.setdefault((record.number, record.arm, target, layer.name), []).append(bits)
    return [
        LayerRow(*key, tuple(bits), float(np.mean(bits)), float(np.std(bits, ddof=1)) if len(bits) > 1 else 0.0)
        for key, bits in seeds.items()
    ]


def uniformity_rows(found: Allocated) -> Iterator[UniformityRow]:
    """One row for each cell, arm and target of which a layer is quantized."""
    seeds: dict[tuple[int, str, Target], list[tuple[float, float]]] = {}
    for record, allocation in found:
        for row in spread_rows([(record.number, allocation)]):
            seeds.setdefault((record.number, record.arm, row.target), []).append((row.distance, row.mean))
    for key, pairs in seeds.items():
        distances, means = zip(*pairs, strict=True)
        yield UniformityRow(*key, mean_interval(distances), mean_interval(means), sum(each == 0 for each in distances))


def spent_rows(found: Allocated) -> dict[tuple[int, str], float | dict[str, float]]:
    """(cell, arm) -> what its allocations spend of the budget, the mean over seeds; by target where the limit is."""
    spent: dict[tuple[int, str], list[dict[str, float]]] = {}
    for record, allocation in found:
        if allocation is not None and allocation.budget is not None:
            achieved = allocation.budget.achieved
            by_target = {str(target): value for target, value in achieved.items()} if isinstance(achieved, dict) else {}
            spent.setdefault((record.number, record.arm), []).append(by_target or {"": achieved})  # type: ignore[dict-item]
    means = {
        key: {target: float(np.mean([e[target] for e in each])) for target in each[0]} for key, each in spent.items()
    }
    return {key: each.get("", each) for key, each in means.items()}
