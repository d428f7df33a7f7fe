"""What a kind of budget counts: one class each. A kind prices one layer in whole numbers, so sums are exact.

The knapsack and the achieved cost both come from that price, so what is promised and what is reported cannot differ.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from precsearch.allocation import FLOAT_BITS, Target
from precsearch.errors import BudgetError
from precsearch.precision.tables import CostTable

SCALE_BYTES = 4
_BITS_A_BYTE = 8
# What is bound on its own: one target, the whole model, or one moment (by number).
Scope = Target | Literal["all"] | int
Bits = int | None  # None: float


@dataclass(frozen=True)
class Footprint:
    """What a layer is to a budget: one member of every price.

    Attributes:
        name: of the layer.
        numel: weight elements.
        rows: weight scales.
        inputs: input elements of one sample.
        macs: multiply-accumulates of one sample.
        outputs: output elements of one sample: those of the gradient.
        tied_to: the layer whose weight this layer uses; the weight is counted there.
        type: class name, for tables of costs.
        shape: of the weight, for tables of costs.
    """

    name: str
    numel: int
    rows: int
    inputs: int
    macs: int
    outputs: int = 0
    tied_to: str | None = None
    type: str = ""
    shape: tuple[int, ...] = ()

    def elements(self, target: str) -> int:
        """Elements of `target`; none for a weight that is counted elsewhere."""
        if target == "weight":
            return 0 if self.tied_to is not None else self.numel
        return self.inputs if target == "activation" else self.outputs


class Priced(NamedTuple):
    """A layer with its bits; None is float."""

    layer: Footprint
    weight: Bits
    activation: Bits
    gradient: Bits = None

    def bits(self, target: str) -> Bits:
        """Bits of `target`."""
        return {"weight": self.weight, "activation": self.activation, "gradient": self.gradient}[target]


@dataclass(frozen=True)
class Moment:
    """What is in memory while one layer runs.

    Attributes:
        layer: that runs.
        live: for each tensor in memory the layer that reads it, whose activation bits it has (None: float32), and
            its elements of one sample.
    """

    layer: str
    live: tuple[tuple[str | None, int], ...]


class BudgetKind(ABC):
    """Prices layers in whole numbers.

    Attributes:
        unit: what the limit counts, for messages.
        takes_table: whether a budget of the kind comes with a table of costs.
        scale: whole number that prices are multiples of one over.
    """

    unit: str
    takes_table = False
    scale = 1

    def __init__(self, table: CostTable | None = None, moments: Sequence[Moment] = ()) -> None:
        self.table, self.moments = table, tuple(moments)

    @abstractmethod
    def scopes(self) -> tuple[Scope, ...]:
        """What is bound on its own: each target, or all together, or each moment."""

    def targets(self, scope: Scope) -> tuple[Target, ...]:
        """The targets whose bits a price may depend on."""
        return ("weight", "activation")

    @abstractmethod
    def price(self, priced: Priced, scope: Scope) -> int:
        """What one layer spends in `scope`, in units of one over `scale`."""

    def fixed(self, float_elements: int, scope: Scope) -> int:
        """What the network spends outside its layers."""
        return 0

    def share(self, priced: Priced, scope: Scope) -> int:
        """What the layer adds to the divisor of the mean, for the kinds that are one; 0 otherwise."""
        return 0

    def check(self, names: Sequence[str]) -> None:
        """Refuse a table's rows of layers that the model does not have."""
        if self.table is not None:
            self.table.check_layers(names)


class _PerTarget(BudgetKind):
    unit = "bits"

    def scopes(self) -> tuple[Scope, ...]:
        return ("weight", "activation", "gradient")

    def targets(self, scope: Scope) -> tuple[Target, ...]:
        return (scope,) if scope in ("weight", "activation", "gradient") else ()

    def price(self, priced: Priced, scope: Scope) -> int:
        bits = priced.bits(str(scope))
        return 0 if bits is None else bits * self.share(priced, scope)


class LayerBits(_PerTarget):
    """Mean bits over the quantized layers, after Lacey et al. 2018; layers left float do not count."""

    def share(self, priced: Priced, scope: Scope) -> int:
        """One a quantized layer; a tied weight counts once."""
        tied = scope == "weight" and priced.layer.tied_to is not None
        return int(priced.bits(str(scope)) is not None and not tied)


class AverageBits(_PerTarget):
    """Mean bits over the quantized elements; layers left float do not count."""

    def share(self, priced: Priced, scope: Scope) -> int:
        """The target's elements where it is quantized."""
        return priced.layer.elements(str(scope)) if priced.bits(str(scope)) is not None else 0


class _WholeModel(BudgetKind):
    def scopes(self) -> tuple[Scope, ...]:
        return ("all",)


class ModelSize(_WholeModel):
    """Bytes of packed weights, their scales, activation scales and everything left float."""

    unit = "bytes"

    def price(self, priced: Priced, scope: Scope) -> int:
        """Packed weights, rounded up to a byte a layer, and scales."""
        layer, weight, activation, _ = priced
        scales = SCALE_BYTES * int(activation is not None)
        if layer.tied_to is not None:
            return scales
        scales += SCALE_BYTES * (layer.rows if weight is not None else 0)
        return math.ceil(layer.numel * (weight or FLOAT_BITS) / _BITS_A_BYTE) + scales

    def fixed(self, float_elements: int, scope: Scope) -> int:
        """Float parameters and buffers."""
        return float_elements * FLOAT_BITS // _BITS_A_BYTE


class BitOps(_WholeModel):
    """MACs x weight bits x activation bits, 32 bits where float; a layer's two targets are chosen as a pair."""

    unit = "BitOPs"

    def price(self, priced: Priced, scope: Scope) -> int:
        """BitOPs of the layer."""
        return priced.layer.macs * (priced.weight or FLOAT_BITS) * (priced.activation or FLOAT_BITS)


class ActivationMemory(BudgetKind):
    """Bytes of the activations in memory at once, one sample, at the moment when they are most."""

    unit = "bytes"

    def __init__(self, table: CostTable | None = None, moments: Sequence[Moment] = ()) -> None:
        super().__init__(table, moments)
        self._read: list[dict[str, list[int]]] = []
        for moment in self.moments:
            read: dict[str, list[int]] = defaultdict(list)
            for reader, elements in moment.live:
                if reader is not None:
                    read[reader].append(elements)
            self._read.append(dict(read))

    def scopes(self) -> tuple[Scope, ...]:
        """Every moment."""
        return tuple(range(len(self.moments)))

    def targets(self, scope: Scope) -> tuple[Target, ...]:
        """Activations."""
        return ("activation",)

    def price(self, priced: Priced, scope: Scope) -> int:
        """Bytes of what the layer reads, rounded up a tensor."""
        bits = priced.activation or FLOAT_BITS
        read = self._read[int(scope)].get(priced.layer.name, ())
        return sum(-(-elements * bits // _BITS_A_BYTE) for elements in read)

    def fixed(self, float_elements: int, scope: Scope) -> int:
        """Bytes of what stays float32."""
        live = self.moments[int(scope)].live
        return sum(elements * FLOAT_BITS // _BITS_A_BYTE for reader, elements in live if reader is None)


class _Tabled(_WholeModel):
    takes_table = True
    unit = "of the table's unit"

    def __init__(self, table: CostTable | None = None, moments: Sequence[Moment] = ()) -> None:
        if table is None:
            raise BudgetError("a table of costs must be given; name its file in `table`")
        super().__init__(table, moments)
        self.costs, self.scale = table, table.scale

    def price(self, priced: Priced, scope: Scope) -> int:
        """What the table says."""
        layer = priced.layer
        return self.costs.cost(layer.name, layer.type, layer.shape, priced.weight, priced.activation)


class Latency(_Tabled):
    """Sum over the layers of what a table of measured latencies gives for their bits."""


class Energy(_Tabled):
    """Sum over the layers of what a table of measured energies gives for their bits."""
