"""Budgets: what an allocation may spend, what it does spend, and the knapsack that keeps it.

One class a kind. A kind prices one layer; the problem and the achieved cost both come from that price, so what
is promised and what is reported cannot differ. All prices are whole numbers: sums are exact.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from precsearch.allocation import FLOAT_BITS, BudgetUse, Cost, LayerPrecision, Target
from precsearch.errors import BudgetError

SCALE_BYTES = 4
_BITS_A_BYTE = 8
Limit = float | Mapping[Target, float]
Scope = Literal["weight", "activation", "all"]


@dataclass(frozen=True)
class Budget:
    """What every allocation keeps.

    Attributes:
        kind: ``layer_bits`` (mean bits over layers), ``average_bits`` (mean bits over elements), ``model_size``
            (bytes) or ``bitops`` (MACs x weight bits x activation bits, one sample).
        limit: in the kind's unit; one number, or one for each target.

    Raises:
        BudgetError: when the kind is unknown or a limit is not positive.
    """

    kind: str
    limit: Limit

    def __post_init__(self) -> None:
        if self.kind not in BUDGETS:
            raise BudgetError(f"budget kind must be one of {', '.join(BUDGETS)}, but got {self.kind!r}")
        for value in self.limit.values() if isinstance(self.limit, Mapping) else [self.limit]:
            if not value > 0 or math.isinf(value):
                raise BudgetError(f"a positive, finite limit must hold, but got {value} for {self.kind}")


@dataclass(frozen=True)
class Footprint:
    """What a layer is to a budget: one member of every price.

    Attributes:
        name: of the layer.
        numel: weight elements.
        rows: weight scales.
        inputs: input elements of one sample.
        macs: multiply-accumulates of one sample.
    """

    name: str
    numel: int
    rows: int
    inputs: int
    macs: int

    def elements(self, target: str) -> int:
        """Elements of `target`."""
        return self.numel if target == "weight" else self.inputs


Bits = int | None  # None: float


class BudgetKind(ABC):
    """Prices layers in whole numbers.

    Attributes:
        unit: what the limit counts, for messages.
    """

    unit: str

    @abstractmethod
    def scopes(self) -> tuple[Scope, ...]:
        """Which targets are bound together: each on its own, or all."""

    @abstractmethod
    def price(self, layer: Footprint, scope: Scope, weight: Bits, activation: Bits) -> int:
        """What one layer spends in `scope` with these bits."""

    def fixed(self, float_elements: int) -> int:
        """What the network spends outside its layers."""
        return 0

    def share(self, layer: Footprint, scope: Scope, weight: Bits, activation: Bits) -> int:
        """What the layer adds to the divisor of the mean, for the kinds that are one; 0 otherwise."""
        return 0


class _PerTarget(BudgetKind):
    unit = "bits"

    def scopes(self) -> tuple[Scope, ...]:
        return ("weight", "activation")

    def price(self, layer: Footprint, scope: Scope, weight: Bits, activation: Bits) -> int:
        bits = weight if scope == "weight" else activation
        return 0 if bits is None else bits * self.share(layer, scope, weight, activation)


class LayerBits(_PerTarget):
    """Mean bits over the quantized layers, after Lacey et al. 2018; layers left float do not count."""

    def share(self, layer: Footprint, scope: Scope, weight: Bits, activation: Bits) -> int:
        """One a quantized layer."""
        return int((weight if scope == "weight" else activation) is not None)


class AverageBits(_PerTarget):
    """Mean bits over the quantized elements; layers left float do not count."""

    def share(self, layer: Footprint, scope: Scope, weight: Bits, activation: Bits) -> int:
        """The target's elements where it is quantized."""
        quantized = (weight if scope == "weight" else activation) is not None
        return layer.elements(scope) if quantized else 0


class ModelSize(BudgetKind):
    """Bytes of packed weights, their scales, activation scales and everything left float."""

    unit = "bytes"

    def scopes(self) -> tuple[Scope, ...]:
        """The whole model."""
        return ("all",)

    def price(self, layer: Footprint, scope: Scope, weight: Bits, activation: Bits) -> int:
        """Packed weights, rounded up to a byte a layer, and scales."""
        scales = SCALE_BYTES * ((layer.rows if weight is not None else 0) + int(activation is not None))
        return math.ceil(layer.numel * (weight or FLOAT_BITS) / _BITS_A_BYTE) + scales

    def fixed(self, float_elements: int) -> int:
        """Float parameters and buffers."""
        return float_elements * FLOAT_BITS // _BITS_A_BYTE


class BitOps(BudgetKind):
    """MACs x weight bits x activation bits, 32 bits where float; a layer's two targets are chosen as a pair."""

    unit = "BitOPs"

    def scopes(self) -> tuple[Scope, ...]:
        """The whole model."""
        return ("all",)

    def price(self, layer: Footprint, scope: Scope, weight: Bits, activation: Bits) -> int:
        """BitOPs of the layer."""
        return layer.macs * (weight or FLOAT_BITS) * (activation or FLOAT_BITS)


BUDGETS: dict[str, BudgetKind] = {
    "layer_bits": LayerBits(),
    "average_bits": AverageBits(),
    "model_size": ModelSize(),
    "bitops": BitOps(),
}


def footprint(layer: LayerPrecision, channels: int = 1) -> Footprint:
    """What a layer of an allocation is to a budget."""
    weight = layer.targets.get("weight")
    rows = channels if weight is not None and weight.granularity == "channel" else 1
    return Footprint(layer.name, layer.numel, rows, layer.inputs, layer.macs)


def spend(
    kind: BudgetKind, scope: Scope, layers: Sequence[tuple[Footprint, Bits, Bits]], float_elements: int
) -> Fraction:
    """Exactly what layers with (weight bits, activation bits) spend in `scope`, in the kind's unit."""
    total = kind.fixed(float_elements) + sum(kind.price(f, scope, w, a) for f, w, a in layers)
    return Fraction(total, sum(kind.share(f, scope, w, a) for f, w, a in layers) or 1)


def cost_of(layers: Sequence[tuple[Footprint, Bits, Bits]], float_elements: int) -> Cost:
    """What a network costs, in every kind that an allocation reports."""
    average = {
        target: float(spend(BUDGETS["average_bits"], target, layers, float_elements))
        for target in ("weight", "activation")
        if any((w if target == "weight" else a) is not None for _, w, a in layers)
    }
    return Cost.model_validate(
        {
            "average_bits": average,
            "model_size": int(spend(BUDGETS["model_size"], "all", layers, float_elements)),
            "bitops": int(spend(BUDGETS["bitops"], "all", layers, float_elements)),
        }
    )


def use_of(
    budget: Budget,
    layers: Sequence[tuple[Footprint, Bits, Bits]],
    float_elements: int,
    bound: Sequence[Scope],
) -> BudgetUse:
    """What an allocation spends of `budget` in the scopes that it binds."""
    kind = BUDGETS[budget.kind]
    achieved = {scope: float(spend(kind, scope, layers, float_elements)) for scope in bound}
    by_target = {scope: value for scope, value in achieved.items() if scope != "all"}
    if isinstance(budget.limit, Mapping):
        return BudgetUse(
            kind=budget.kind,
            limit=dict(budget.limit),
            achieved={target: by_target[target] for target in budget.limit if target in by_target},
            by_target=by_target,
        )
    return BudgetUse(kind=budget.kind, limit=budget.limit, achieved=max(achieved.values()), by_target=by_target)
