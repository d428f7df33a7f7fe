"""What is to be quantized in a model, and how: names checked, decisions made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from precsearch.allocation import Allocation, LayerPrecision, Target
from precsearch.conversion.decisions import Decisions, SharedKinds, decide
from precsearch.conversion.patterns import TARGETS, checked_bits
from precsearch.errors import AllocationError, ConfigurationError
from precsearch.layers import INDICES, Inventory, Layer
from precsearch.precision.budgets import Footprint, Priced
from precsearch.precision.planning import Choice as Planned
from precsearch.precision.planning import LayerChoices, Searched
from precsearch.precision.problem import Ints, Problem
from precsearch.quantization.scales import SCALE_RULES

QUANTIZERS = ("dorefa", "symmetric")
GRANULARITIES = ("tensor", "channel")
SHARED = ("residual", "shared_input")


@dataclass(frozen=True)
class Grids:
    """How targets are quantized, whatever their bits.

    Attributes:
        quantizer: grid of the weights.
        scale: scale rule.
        granularity: of the weight scales.
    """

    quantizer: str = "dorefa"
    scale: str = "l2"
    granularity: str = "tensor"

    def __post_init__(self) -> None:
        _one_of("quantizer", self.quantizer, QUANTIZERS)
        _one_of("scale", self.scale, tuple(SCALE_RULES))
        _one_of("granularity", self.granularity, GRANULARITIES)


@dataclass(frozen=True)
class Wishes:
    """What the user asks for, layer by layer; see `precsearch.SearchableModel`.

    Attributes:
        bits: candidate bit-widths.
        targets: what is quantized.
        pin: layers -> bits that are not searched, or ``float``.
        candidates: layers -> candidate bit-widths.
        groups: name -> layers that have one bit-width.
        share: kinds of tensors whose readers have one bit-width.
    """

    bits: Sequence[int]
    targets: Sequence[str]
    pin: Mapping[str, Any] = field(default_factory=dict)
    candidates: Mapping[str, Any] = field(default_factory=dict)
    groups: Mapping[str, Any] = field(default_factory=dict)
    share: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.targets:
            raise ConfigurationError(f"at least one target must be given: {', '.join(TARGETS)}")
        for target in self.targets:
            _one_of("target", target, TARGETS)
        for kind in self.share:
            _one_of("share", kind, SHARED)


@dataclass(frozen=True)
class Conversion:
    """What is to be quantized in a model, and how.

    Attributes:
        inventory: the model's layers.
        targets: what is quantized.
        grids: how.
        decisions: for each target of each layer.
        default: candidates of what has none of its own.
        share: kinds of tensors whose readers have one bit-width.
    """

    inventory: Inventory
    targets: tuple[Target, ...]
    grids: Grids
    decisions: Decisions
    default: tuple[int, ...]
    share: tuple[str, ...] = ()

    @classmethod
    def make(
        cls, inventory: Inventory, wishes: Wishes, grids: Grids, allocation: Allocation | Sequence[int] | None
    ) -> Conversion:
        """Resolve what the user asks for.

        Raises:
            ConfigurationError: when a name is unknown, a bit-width out of range, or a group cannot agree.
            AllocationError: when the allocation is for another model.
        """
        targets = cast(tuple[Target, ...], tuple(wishes.targets))
        bits = checked_bits(wishes.bits) if allocation is None else _bits_in(allocation, targets, inventory)
        decisions = decide(
            inventory,
            bits,
            targets,
            wishes.pin,
            wishes.candidates if allocation is None else {},
            wishes.groups,
            cast(SharedKinds, wishes.share),
        )
        return cls(inventory, targets, grids, decisions, tuple(bits), tuple(wishes.share))

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Of the model."""
        return self.inventory.layers

    @property
    def bits(self) -> tuple[int, ...]:
        """Every bit-width that is a candidate of something searched, ascending."""
        searched = {bits for choice in self.decisions.choices.values() if isinstance(choice, tuple) for bits in choice}
        return tuple(sorted(searched))

    def choices(self) -> list[LayerChoices]:
        """What is to be decided about every layer, as the budget's planning takes it."""
        return [
            LayerChoices(self.footprint(layer), **{target: self._planned(layer.name, target) for target in TARGETS})
            for layer in self.layers
        ]

    def _planned(self, layer: str, target: Target) -> Planned:
        choice, group = self.decisions.choice(layer, target), self.decisions.group(layer, target)
        if not isinstance(choice, tuple):
            return choice
        return Searched(choice, f"{group.name} ({group.parts[0]})" if group is not None else None)

    def footprint(self, layer: Layer) -> Footprint:
        """What a layer is to a budget."""
        rows = layer.channels if self.grids.granularity == "channel" else 1
        return Footprint(
            layer.name,
            layer.numel,
            rows,
            layer.inputs,
            layer.macs,
            layer.outputs,
            layer.tied_to,
            layer.type,
            layer.shape,
        )

    def priced(self, layers: Sequence[LayerPrecision]) -> list[Priced]:
        """Layers with their bits, as budgets price them."""
        prints = {layer.name: self.footprint(layer) for layer in self.layers}
        return [Priced(prints[layer.name], *(layer.bits(target) for target in TARGETS)) for layer in layers]

    def quantizer_bits(self, layer: Layer, target: Target) -> tuple[int, ...] | None:
        """Candidates of one quantizer; None where the target stays in float32."""
        choice = self.decisions.choice(layer.name, target)
        return (choice,) if isinstance(choice, int) else choice

    def untold(self) -> list[str]:
        """What a user should know: float inputs of layers that are not quantized though activations are a target."""
        found: dict[str, list[str]] = {}
        for layer in self.layers if "activation" in self.targets else ():
            if layer.uncovered_input not in {"", INDICES}:
                found.setdefault(layer.uncovered_input, []).append(layer.name)
        return [f"what {', '.join(names)} reads stays in float32: {reason}" for reason, names in found.items()]

    def candidates_of(self, allocation: Allocation | Sequence[int], problem: Problem) -> Ints:
        """[S] the candidates that an allocation, or bits one a layer, stand for.

        Raises:
            AllocationError: when it is for another model, leaves a searched layer without bits, or gives the members
                of a group different ones.
        """
        if isinstance(allocation, Allocation):
            check_identity(allocation, self.inventory.fingerprint)
            bits = {(layer.name, t): layer.bits(t) for layer in allocation.layers for t in self.targets}
        else:
            names = [layer.name for layer in self.layers]
            bits = {(name, t): given for name, given in zip(names, allocation, strict=True) for t in self.targets}
        chosen = []
        for slot in problem.slots:
            given = {member: bits.get(member) for member in slot.members}
            missing = [f"{layer}.{target}" for (layer, target), found in given.items() if found is None]
            if missing:
                raise AllocationError(f"the allocation must give bits for {missing[0]}, but it has none; pin it")
            if len(set(given.values())) > 1:
                shown = ", ".join(f"{layer}.{target} {found}" for (layer, target), found in given.items())
                raise AllocationError(f"these share one bit-width, but the allocation gives them several: {shown}")
            chosen.append(problem.bits.index(cast(int, next(iter(given.values())))))
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


def _bits_in(allocation: Allocation | Sequence[int], targets: Sequence[Target], inventory: Inventory) -> list[int]:
    if not isinstance(allocation, Allocation):
        names = [layer.name for layer in inventory.layers]
        if len(allocation) != len(names):
            raise AllocationError(
                f"one bit-width for each of the {len(names)} layers must be given ({', '.join(names)}), "
                f"but got {len(allocation)}"
            )
        return sorted(set(allocation))
    given = {layer.bits(target) for layer in allocation.layers for target in targets}
    return sorted(bits for bits in given if bits is not None)


def _one_of(what: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigurationError(f"{what} must be one of {', '.join(allowed)}, but got {value!r}")
