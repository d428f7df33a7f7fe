"""Installing quantizers into a model, in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn
from torch.nn.utils import parametrize

from precsearch.allocation import Allocation, LayerPrecision, Target
from precsearch.conversion.hooks import (
    GRADIENT,
    input_attribute,
    quantize_inputs,
    quantize_output_gradient,
    take_quantized,
    take_stored,
)
from precsearch.conversion.plan import QUANTIZERS, Conversion, check_identity
from precsearch.errors import AllocationError, ModelError
from precsearch.layers import Weight, fingerprint, layer_type, weights_of
from precsearch.quantization.base import Quantizer
from precsearch.quantization.gradients import GradientQuantizer
from precsearch.quantization.kernels import check_kernels
from precsearch.quantization.quantizers import ActivationQuantizer, WeightQuantizer
from precsearch.quantization.scales import SCALE_RULES
from precsearch.quantization.whole_model import on_forward, set_kernels

Made = dict[Target, list[Quantizer]]


def install(model: nn.Module, conversion: Conversion, kernels: str = "auto") -> nn.Module:
    """Parametrize weights and hook inputs and outputs, in place -> `model`, which quantizes with these kernels."""
    check_kernels(kernels)
    weights = weights_of(model)
    grids, by_layer = conversion.grids, {}
    for layer in conversion.layers:
        bits = {target: conversion.quantizer_bits(layer, target) for target in conversion.targets}
        weight = weights[layer.name]
        made: Made = {}
        if own := bits.get("weight"):
            made["weight"] = [
                WeightQuantizer(own, grids.scale, grids.granularity, weight.channels, grids.quantizer, weight.groups)
            ]
        if own := bits.get("activation"):
            made["activation"] = _input_quantizers(own, grids.scale, layer.signed_input, weight)
        if own := bits.get("gradient"):
            made["gradient"] = [GradientQuantizer(own)]
        by_layer[layer.name] = made
    _install(weights, by_layer)
    set_kernels(model, kernels)
    return model


def apply_allocation(model: nn.Module, allocation: Allocation) -> nn.Module:
    """Quantize a model as an allocation says, in place.

    Weight ranges are set from the model's weights, activation ranges by the first batch in training mode, or by
    `calibrate`; a state dict saved from a model of the same allocation brings both.

    Args:
        model: a network with the layers that the allocation names, not yet converted.
        allocation: from a search, or read with `Allocation.from_json`.

    Returns:
        `model`; it computes with the allocation's bits and trains with straight-through gradients.

    Raises:
        AllocationError: when a layer is missing, its weight has another shape, a scale rule is unknown, or tied
            weights have different bits.
        ModelError: when the model was already converted.
    """
    refuse_converted(model)
    found = weights_of(model)
    names = [layer.name for layer in allocation.layers]
    missing = [name for name in names if name not in found]
    if missing:
        raise AllocationError(
            f"the allocation is for another model: it names {missing[0]!r}, and this {type(model).__name__} has "
            f"{', '.join(found) or 'no layers'}"
        )
    check_identity(allocation, fingerprint((name, layer_type(found[name].module), found[name].shape) for name in names))
    for layer in allocation.layers:
        _check_known(layer)
    _check_tied(found, allocation)
    _install(found, {layer.name: _quantizers(layer, found[layer.name]) for layer in allocation.layers})
    model.register_forward_pre_hook(on_forward)
    return model


def refuse_converted(model: nn.Module) -> None:
    """Refuse a model that has quantizers already.

    Raises:
        ModelError: when it has.
    """
    if any(isinstance(module, Quantizer) for module in model.modules()):
        raise ModelError(
            f"a model is converted once, but this {type(model).__name__} has quantizers; start from a fresh model"
        )


def _install(weights: Mapping[str, Weight], by_layer: Mapping[str, Made]) -> None:
    owners: dict[int, Quantizer] = {}
    recurrent: dict[int, nn.Module] = {}
    for name, made in by_layer.items():
        weight = weights[name]
        device = weight.value.device
        if "weight" in made:
            # Tied weights have one quantizer, as they have one bit-width.
            quantizer = owners.setdefault(id(weight.stored), made["weight"][0].to(device))
            parametrize.register_parametrization(weight.module, weight.parameter, quantizer)
            if isinstance(weight.module, nn.RNNBase):
                recurrent[id(weight.module)] = weight.module
        if "activation" in made:
            hook_inputs(weight, made["activation"])
        if "gradient" in made:
            weight.module.add_module(GRADIENT, made["gradient"][0].to(device))
            weight.module.register_forward_hook(quantize_output_gradient)
    for module in recurrent.values():
        module.register_forward_pre_hook(take_quantized)
        module.register_forward_hook(take_stored, always_call=True)
        take_stored(module)


def hook_inputs(weight: Weight, quantizers: Sequence[Quantizer]) -> None:
    """Let a module quantize the arguments that the weight is multiplied with."""
    hooked = any(isinstance(child, ActivationQuantizer) for child in weight.module.children())
    for position, quantizer in zip(weight.reads, quantizers, strict=True):
        weight.module.add_module(input_attribute(position), quantizer.to(weight.value.device))
    if not hooked:
        weight.module.register_forward_pre_hook(quantize_inputs, with_kwargs=True)


def _input_quantizers(bits: Sequence[int], scale: str, signed: bool, weight: Weight) -> list[Quantizer]:
    """One for each argument: they have one bit-width, and ranges of their own."""
    return [ActivationQuantizer(bits, scale, signed, weight.layer, position) for position in weight.reads]


def _quantizers(layer: LayerPrecision, weight: Weight) -> Made:
    """The quantizers of one layer of an allocation."""
    made: Made = {}
    for target, precision in layer.targets.items():
        if precision.bits is None:
            continue
        bits = [precision.bits]
        if target == "weight":
            made[target] = [
                WeightQuantizer(
                    bits, precision.scale, precision.granularity, weight.channels, precision.quantizer, weight.groups
                )
            ]
        elif target == "activation":
            made[target] = _input_quantizers(bits, precision.scale, precision.signed, weight)
        else:
            made[target] = [GradientQuantizer(bits)]
    return made


def _check_tied(found: Mapping[str, Weight], allocation: Allocation) -> None:
    owners: dict[int, LayerPrecision] = {}
    for layer in allocation.layers:
        owner = owners.setdefault(id(found[layer.name].stored), layer)
        if owner.targets.get("weight") != layer.targets.get("weight"):
            raise AllocationError(
                f"tied weights must be quantized alike, but {owner.name!r} and {layer.name!r} share one, and the "
                f"allocation gives it {owner.bits() or 32} and {layer.bits() or 32} bits; give them the same"
            )


def _check_known(layer: LayerPrecision) -> None:
    used: list[tuple[str, str, Sequence[str]]] = [
        ("scale", precision.scale, tuple(SCALE_RULES)) for precision in layer.targets.values()
    ]
    if "weight" in layer.targets:
        used.append(("quantizer", layer.targets["weight"].quantizer, QUANTIZERS))
    for what, name, known in used:
        if name not in known:
            raise AllocationError(
                f"{what} must be one of {', '.join(known)}, but the allocation has {name!r} for {layer.name!r}"
            )
