"""Where the bits of allocations lie, how far from uniform, and how a search settled on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from precsearch.allocation import Allocation, LayerPrecision, Target
from precsearch.results import Progress

TARGETS: Final[tuple[Target, ...]] = ("weight", "activation", "gradient")


@dataclass(frozen=True)
class BitsRow:
    """One target of one layer in one allocation.

    Attributes:
        number: of the trial.
        layer: its name.
        target: ``weight``, ``activation`` or ``gradient``.
        bits: its bit-width; None where it stays in float32.
        share: of what that target counts in all layers, 0 to 1: weight elements (a tied layer has none), input elements
            for activations, MACs for gradients.
    """

    number: int
    layer: str
    target: Target
    bits: int | None
    share: float


@dataclass(frozen=True)
class SpreadRow:
    """How far from uniform one target of one allocation is.

    Attributes:
        number: of the trial.
        target: likewise.
        mean: bits over the layers that are quantized.
        distance: mean absolute difference, in bits a layer, from the nearest uniform allocation; 0 for a uniform one.
        lowest: fewest bits of a layer.
        highest: most.
    """

    number: int
    target: Target
    mean: float
    distance: float
    lowest: int
    highest: int


@dataclass(frozen=True)
class EntropyRow:
    """How undecided a search was after one epoch.

    Attributes:
        number: of the trial.
        step: epochs done.
        phase: ``warmup`` or ``search``.
        entropy: of the preferences for bit-widths, nats a choice.
        temperature: of the draws then; None where it was not told.
        moved: layers and targets whose most likely bits differ from the epoch before; 0 at the first.
    """

    number: int
    step: int
    phase: str
    entropy: float
    temperature: float | None
    moved: int


def bits_rows(allocations: Iterable[tuple[int, Allocation | None]]) -> list[BitsRow]:
    """One row for each trial, target and layer in which the target was searched or pinned, in the order of the layers.

    Args:
        allocations: trial number and its allocation, such as of the members of a front.
    """
    rows = []
    for number, allocation in allocations:
        for target, layers in _by_target(allocation):
            whole = sum(_size(layer, target) for layer in layers) or 1
            rows += [
                BitsRow(number, layer.name, target, layer.bits(target), _size(layer, target) / whole)
                for layer in layers
            ]
    return rows


def spread_rows(allocations: Iterable[tuple[int, Allocation | None]]) -> list[SpreadRow]:
    """One row for each trial and target of which at least one layer is quantized."""
    rows = []
    for number, allocation in allocations:
        for target, layers in _by_target(allocation):
            bits = [found for layer in layers if (found := layer.bits(target)) is not None]
            if bits:
                away = distance_from_uniform(bits)
                rows.append(SpreadRow(number, target, float(np.mean(bits)), away, min(bits), max(bits)))
    return rows


def distance_from_uniform(bits: Sequence[int]) -> float:
    """The mean absolute difference from the median: the fewest bits a layer that turn `bits` into a uniform list."""
    return float(np.abs(np.array(bits) - np.median(bits)).mean())


def entropy_rows(steps: Iterable[tuple[int, Sequence[Progress]]]) -> list[EntropyRow]:
    """One row for each trial and epoch until its allocation was settled."""
    rows = []
    for number, progress in steps:
        before: dict[str, dict[str, int]] = {}
        for each in progress:
            if "entropy" in each.metrics:
                moved = sum(
                    before.get(layer, {}).get(target, bits) != bits
                    for layer, own in each.bits.items()
                    for target, bits in own.items()
                )
                entropy, temperature = each.metrics["entropy"], each.metrics.get("temperature")
                rows.append(EntropyRow(number, each.step, each.phase, entropy, temperature, moved))
            before = each.bits
    return rows


def _by_target(allocation: Allocation | None) -> list[tuple[Target, list[LayerPrecision]]]:
    layers = () if allocation is None else allocation.layers
    found = [(target, [layer for layer in layers if target in layer.targets]) for target in TARGETS]
    return [(target, own) for target, own in found if own]


def _size(layer: LayerPrecision, target: Target) -> int:
    sizes = {"weight": 0 if layer.tied_to else layer.numel, "activation": layer.inputs, "gradient": layer.macs}
    return sizes[target]
