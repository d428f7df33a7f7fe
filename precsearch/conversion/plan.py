"""What is to be quantized in a model, and how: names checked, pins resolved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import cast

import numpy as np

from precsearch.allocation import Allocation, LayerPrecision, Target
from precsearch.errors import AllocationError, ConfigurationError
from precsearch.layers import Inventory, Layer
from precsearch.precision.budgets import Bits, Footprint, Priced, footprint
from precsearch.precision.planning import SEARCHED, Choice, LayerChoices
from precsearch.precision.problem import Ints, Problem
from precsearch.quantization.scales import SCALE_RULES

TARGETS: tuple[Target, ...] = ("weight", "activation")
QUANTIZERS = ("dorefa", "symmetric")
GRANULARITIES = ("tensor", "channel")
_MOST_BITS = 16


@dataclass(frozen=True)
class Conversion:
    """What is to be quantized in a model, and how.

    Attributes:
        inventory: the model's layers.
        bits: candidate bit-widths.
        targets: what is quantized.
        quantizer: grid of the weights.
        scale: scale rule.
        granularity: of the weight scales.
        pins: layer name -> bits, or None for float.
    """

    inventory: Inventory
    bits: tuple[int, ...]
    targets: tuple[Target, ...]
    quantizer: str
    scale: str
    granularity: str
    pins: Mapping[str, Bits]

    @classmethod
    def make(
        cls,
        inventory: Inventory,
        bits: Sequence[int],
        targets: Sequence[str],
        quantizer: str,
        scale: str,
        granularity: str,
        pin: Mapping[str, int | str],
        allocation: Allocation | Sequence[int] | None,
    ) -> Conversion:
        """Check the names and resolve the pins.

        Raises:
            ConfigurationError: when a name is unknown or a bit-width out of range.
        """
        _one_of("quantizer", quantizer, QUANTIZERS)
        _one_of("scale", scale, tuple(SCALE_RULES))
        _one_of("granularity", granularity, GRANULARITIES)
        if not targets:
            raise ConfigurationError("at least one target must be given: weight, activation")
        for target in targets:
            _one_of("target", target, TARGETS)
        if allocation is not None:
            bits = _bits_in(allocation, targets, inventory)
        return cls(
            inventory,
            _checked_bits(bits),
            cast(tuple[Target, ...], tuple(targets)),
            quantizer,
            scale,
            granularity,
            _resolve_pins(pin, [layer.name for layer in inventory.layers]),
        )

    def choices(self) -> list[LayerChoices]:
        """What is to be decided about every layer."""
        return [
            LayerChoices(self._footprint(layer), self._choice(layer, "weight"), self._choice(layer, "activation"))
            for layer in self.inventory.layers
        ]

    def _choice(self, layer: Layer, target: Target) -> Choice:
        if target not in self.targets:
            return None
        return self.pins.get(layer.name, SEARCHED)

    def _footprint(self, layer: Layer) -> Footprint:
        rows = layer.shape[0] if self.granularity == "channel" else 1
        return Footprint(layer.name, layer.numel, rows, layer.inputs, layer.macs, type=layer.type, shape=layer.shape)

    def priced(self, layers: Sequence[LayerPrecision]) -> list[Priced]:
        """Layers with their bits, as budgets price them."""
        shapes = {layer.name: layer.shape for layer in self.inventory.layers}
        return [
            Priced(footprint(layer, shapes[layer.name]), layer.bits("weight"), layer.bits("activation"))
            for layer in layers
        ]

    def quantizer_bits(self, layer: Layer, target: Target) -> tuple[int, ...] | None:
        """Candidates of one quantizer; None where the target stays in float32."""
        choice = self._choice(layer, target)
        if choice == SEARCHED:
            return self.bits
        return None if choice is None else (cast(int, choice),)

    def candidates_of(self, allocation: Allocation | Sequence[int], problem: Problem) -> Ints:
        """[S] the candidates that an allocation, or bits one a layer, stand for.

        Raises:
            AllocationError: when it is for another model or leaves a searched layer without bits.
        """
        if isinstance(allocation, Allocation):
            check_identity(allocation, self.inventory.fingerprint)
            bits = {(layer.name, t): layer.bits(t) for layer in allocation.layers for t in self.targets}
        else:
            names = [layer.name for layer in self.inventory.layers]
            bits = {(name, t): given for name, given in zip(names, allocation, strict=True) for t in self.targets}
        chosen = []
        for slot in problem.slots:
            given = bits.get(slot.members[0])
            if given is None:
                raise AllocationError(f"the allocation must give bits for {slot.name}, but it has none; pin it")
            chosen.append(self.bits.index(given))
        return np.array(chosen, dtype=np.int64)


def check_identity(allocation: Allocation, found: str) -> None:
    """Refuse an allocation made for other layers than those with fingerprint `found`.

    Raises:
        AllocationError: when the fingerprints differ.
    """
    if allocation.model.fingerprint != found:
        raise AllocationError(
            f"the allocation is for another model: it was made for {allocation.model.name} "
            f"(fingerprint {allocation.model.fingerprint}), and this model's layers have fingerprint {found}; "
            "layer names, types and weight shapes must be the same"
        )


def _resolve_pins(pin: Mapping[str, int | str], names: Sequence[str]) -> dict[str, Bits]:
    resolved: dict[str, Bits] = {}
    for pattern, bits in pin.items():
        matched = [name for name in names if fnmatchcase(name, pattern)]
        if not matched:
            near = get_close_matches(pattern, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise ConfigurationError(
                f"`pin` must name a layer, but the model has no layer {pattern!r}{hint} Its layers: {', '.join(names)}"
            )
        if bits != "float" and not (isinstance(bits, int) and not isinstance(bits, bool) and 1 <= bits <= _MOST_BITS):
            raise ConfigurationError(f"`pin` takes 1 to {_MOST_BITS} bits or 'float', but got {bits!r} for {pattern!r}")
        resolved.update(dict.fromkeys(matched, None if bits == "float" else cast(int, bits)))
    return resolved


def _bits_in(allocation: Allocation | Sequence[int], targets: Sequence[str], inventory: Inventory) -> list[int]:
    if not isinstance(allocation, Allocation):
        names = [layer.name for layer in inventory.layers]
        if len(allocation) != len(names):
            raise AllocationError(
                f"one bit-width for each of the {len(names)} layers must be given ({', '.join(names)}), "
                f"but got {len(allocation)}"
            )
        return sorted(set(allocation))
    given = {layer.bits(cast(Target, target)) for layer in allocation.layers for target in targets}
    return sorted(bits for bits in given if bits is not None)


def _checked_bits(bits: Sequence[int]) -> tuple[int, ...]:
    given = list(bits)
    if not given or given != sorted(set(given)) or not all(int(b) == b and 1 <= b <= _MOST_BITS for b in given):
        raise ConfigurationError(
            f"candidate bit-widths must be whole, from 1 to {_MOST_BITS}, ascending without doubles, but got {given}"
        )
    return tuple(int(b) for b in given)


def _one_of(what: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigurationError(f"{what} must be one of {', '.join(allowed)}, but got {value!r}")
