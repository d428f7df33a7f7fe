"""Installing quantizers into a model, and reading them back as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, cast

import numpy as np
from torch import Tensor, nn
from torch.nn.utils import parametrize

from precsearch.allocation import Allocation, LayerPrecision, Target, TargetPrecision
from precsearch.errors import AllocationError, ConfigurationError, ModelError
from precsearch.layers import Inventory, Layer, candidates, fingerprint, weight_shape
from precsearch.precision.budgets import Bits, Footprint, footprint
from precsearch.precision.planning import SEARCHED, Choice, LayerChoices
from precsearch.precision.problem import Ints, Problem
from precsearch.quantization.quantizers import ActivationQuantizer, Quantizer, WeightQuantizer
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
            bits = _bits_in(allocation, targets)
        _check_bits(bits)
        return cls(
            inventory,
            tuple(bits),
            cast(tuple[Target, ...], tuple(targets)),
            quantizer,
            scale,
            granularity,
            _resolve_pins(pin, [layer.name for layer in inventory.layers]),
        )

    def choices(self) -> list[LayerChoices]:
        """What is to be decided about every layer."""
        return [
            LayerChoices(
                self._footprint(layer), self._choice(layer, "weight"), self._choice(layer, "activation")
            )
            for layer in self.inventory.layers
        ]

    def _choice(self, layer: Layer, target: Target) -> Choice:
        if target not in self.targets:
            return None
        return self.pins.get(layer.name, SEARCHED)

    def _footprint(self, layer: Layer) -> Footprint:
        rows = layer.shape[0] if self.granularity == "channel" else 1
        return Footprint(layer.name, layer.numel, rows, layer.inputs, layer.macs)

    def priced(self, layers: Sequence[LayerPrecision]) -> list[tuple[Footprint, Bits, Bits]]:
        """Layers with their bits, as budgets price them."""
        channels = {layer.name: layer.shape[0] for layer in self.inventory.layers}
        return [
            (footprint(layer, channels[layer.name]), layer.bits("weight"), layer.bits("activation"))
            for layer in layers
        ]

    def quantizer_bits(self, layer: Layer, target: Target) -> tuple[int, ...] | None:
        """Candidates of one quantizer; None where the target stays in float32."""
        choice = self._choice(layer, target)
        if choice == SEARCHED:
            return self.bits
        return None if choice is None else (cast(int, choice),)

    def quantizer_of(self, model: nn.Module, layer: str, target: str) -> Quantizer:
        """The quantizer of one target of one layer."""
        return cast(Quantizer, quantizers_of(model.get_submodule(layer))[cast(Target, target)])

    def candidates_of(self, allocation: Allocation | Sequence[int], problem: Problem) -> Ints:
        """[S] the candidates that an allocation, or bits one a layer, stand for.

        Raises:
            AllocationError: when it is for another model or leaves a searched layer without bits.
        """
        if isinstance(allocation, Allocation):
            _check_identity(allocation, self.inventory.fingerprint)
            bits = {(layer.name, t): layer.bits(t) for layer in allocation.layers for t in self.targets}
        else:
            names = [layer.name for layer in self.inventory.layers]
            if len(allocation) != len(names):
                raise AllocationError(
                    f"one bit-width for each of the {len(names)} layers must be given ({', '.join(names)}), "
                    f"but got {len(allocation)}"
                )
            bits = {
                (name, t): given for name, given in zip(names, allocation, strict=True) for t in self.targets
            }
        chosen = []
        for slot in problem.slots:
            given = bits.get(slot.members[0])  # type: ignore[call-overload] -- a slot's target is a Target
            if given is None:
                raise AllocationError(
                    f"the allocation must give bits for {slot.name}, but it has none; pin it"
                )
            chosen.append(self.bits.index(given))
        return np.array(chosen, dtype=np.int64)


def install(model: nn.Module, conversion: Conversion) -> nn.Module:
    """Parametrize weights and hook inputs, in place -> `model`."""
    for layer in conversion.inventory.layers:
        weight_bits = conversion.quantizer_bits(layer, "weight")
        activation_bits = conversion.quantizer_bits(layer, "activation")
        _install_layer(
            model.get_submodule(layer.name),
            None
            if weight_bits is None
            else WeightQuantizer(
                weight_bits,
                conversion.scale,
                conversion.granularity,
                layer.shape[0],
                conversion.quantizer,
            ),
            None
            if activation_bits is None
            else ActivationQuantizer(activation_bits, conversion.scale, layer.signed_input, layer.name),
        )
    return model


def apply_allocation(model: nn.Module, allocation: Allocation) -> nn.Module:
    """Quantize a model as an allocation says, in place.

    Weight ranges are set from the model's weights, activation ranges by the first batch in training mode; a
    state dict saved from a model of the same allocation brings both.

    Args:
        model: a network with the layers that the allocation names, not yet converted.
        allocation: from a search, or read with `Allocation.from_json`.

    Returns:
        `model`; it computes with the allocation's bits and trains with straight-through gradients.

    Raises:
        AllocationError: when a layer is missing or its weight has another shape.
        ModelError: when the model was already converted.
    """
    found = candidates(model)
    names = [layer.name for layer in allocation.layers]
    missing = [name for name in names if name not in found]
    if missing:
        raise AllocationError(
            f"the allocation is for another model: it names {missing[0]!r}, and this {type(model).__name__} has "
            f"{', '.join(found) or 'no layers'}"
        )
    _check_identity(
        allocation,
        fingerprint([(name, _original_type(found[name]), weight_shape(found[name])) for name in names]),
    )
    for layer in allocation.layers:
        module = found[layer.name]
        weight, activation = layer.targets.get("weight"), layer.targets.get("activation")
        _install_layer(
            module, _weight_quantizer(weight, module), _activation_quantizer(activation, layer.name)
        )
    return model


def quantizers_of(module: nn.Module) -> dict[Target, Quantizer]:
    """The quantizers of one layer, by target."""
    found: dict[Target, Quantizer] = {}
    if parametrize.is_parametrized(module, "weight"):
        parametrizations = cast(Any, module).parametrizations.weight
        found.update({"weight": q for q in parametrizations if isinstance(q, WeightQuantizer)})
    activation = getattr(module, "input_quantizer", None)
    if isinstance(activation, ActivationQuantizer):
        found["activation"] = activation
    return found


def describe_layers(model: nn.Module, conversion: Conversion) -> tuple[LayerPrecision, ...]:
    """Every layer with its current bits, as data."""
    described = []
    for layer in conversion.inventory.layers:
        quantizers = quantizers_of(model.get_submodule(layer.name))
        targets: dict[Target, TargetPrecision] = {
            target: quantizers[target].precision() if target in quantizers else TargetPrecision(bits=None)
            for target in TARGETS
            if target in conversion.targets
        }
        described.append(
            LayerPrecision(
                name=layer.name,
                type=layer.type,
                numel=layer.numel,
                inputs=layer.inputs,
                macs=layer.macs,
                targets=targets,
            )
        )
    return tuple(described)


def _install_layer(
    module: nn.Module, weight: WeightQuantizer | None, activation: ActivationQuantizer | None
) -> None:
    if quantizers_of(module):
        raise ModelError(
            f"a model is converted once, but this {type(module).__name__} has quantizers; start from a fresh model"
        )
    if weight is not None:
        device = cast(Tensor, module.weight).device
        parametrize.register_parametrization(module, "weight", weight.to(device))
    if activation is not None:
        module.add_module("input_quantizer", activation.to(cast(Tensor, module.weight).device))
        module.register_forward_pre_hook(_quantize_input, with_kwargs=True)


def _quantize_input(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    quantizer = cast(Any, module).input_quantizer
    if args:
        return (quantizer(args[0]), *args[1:]), kwargs
    first = next(iter(kwargs))
    return args, {**kwargs, first: quantizer(kwargs[first])}


def _weight_quantizer(precision: TargetPrecision | None, module: nn.Module) -> WeightQuantizer | None:
    if precision is None or precision.bits is None:
        return None
    channels = weight_shape(module)[0]
    return WeightQuantizer(
        [precision.bits], precision.scale, precision.granularity, channels, precision.quantizer
    )


def _activation_quantizer(precision: TargetPrecision | None, layer: str) -> ActivationQuantizer | None:
    if precision is None or precision.bits is None:
        return None
    return ActivationQuantizer([precision.bits], precision.scale, precision.signed, layer)


def _check_identity(allocation: Allocation, found: str) -> None:
    if allocation.model.fingerprint != found:
        raise AllocationError(
            f"the allocation is for another model: it was made for {allocation.model.name} "
            f"(fingerprint {allocation.model.fingerprint}), and this model's layers have fingerprint {found}; "
            "layer names, types and weight shapes must be the same"
        )


def _original_type(module: nn.Module) -> str:
    """A parametrized module's class is made by torch; its base is the layer's own."""
    return type(module).__mro__[1].__name__ if parametrize.is_parametrized(module) else type(module).__name__


def _resolve_pins(pin: Mapping[str, int | str], names: Sequence[str]) -> dict[str, Bits]:
    resolved: dict[str, Bits] = {}
    for pattern, bits in pin.items():
        matched = [name for name in names if fnmatchcase(name, pattern)]
        if not matched:
            near = get_close_matches(pattern, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigurationError(
                f"`pin` must name a layer, but the model has no layer {pattern!r}{hint} "
                f"Its layers: {', '.join(names)}"
            )
        if bits != "float" and not (isinstance(bits, int) and 1 <= bits <= _MOST_BITS):
            raise ConfigurationError(
                f"`pin` takes 1 to {_MOST_BITS} bits or 'float', but got {bits!r} for {pattern!r}"
            )
        resolved.update(dict.fromkeys(matched, None if bits == "float" else cast(int, bits)))
    return resolved


def _bits_in(allocation: Allocation | Sequence[int], targets: Sequence[str]) -> list[int]:
    if not isinstance(allocation, Allocation):
        return sorted(set(allocation))
    given = {layer.bits(cast(Target, target)) for layer in allocation.layers for target in targets}
    return sorted(bits for bits in given if bits is not None)


def _check_bits(bits: Sequence[int]) -> None:
    if not bits or list(bits) != sorted(set(bits)) or not all(1 <= b <= _MOST_BITS for b in bits):
        raise ConfigurationError(
            f"candidate bit-widths must ascend without doubles, from 1 to {_MOST_BITS}, but got {list(bits)}"
        )


def _one_of(what: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigurationError(f"{what} must be one of {', '.join(allowed)}, but got {value!r}")
