"""Installing quantizers into a model, in place, and reading them back as data."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn
from torch.nn.utils import parametrize

from precsearch.allocation import Allocation, LayerPrecision, Target, TargetPrecision
from precsearch.conversion.plan import QUANTIZERS, TARGETS, Conversion, check_identity
from precsearch.errors import AllocationError, ModelError
from precsearch.layers import candidates, fingerprint, layer_type, weight_shape
from precsearch.quantization.base import Quantizer
from precsearch.quantization.quantizers import ActivationQuantizer, WeightQuantizer
from precsearch.quantization.scales import SCALE_RULES


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
        AllocationError: when a layer is missing, its weight has another shape, or a scale rule is unknown.
        ModelError: when the model was already converted.
    """
    refuse_converted(model)
    found = candidates(model)
    names = [layer.name for layer in allocation.layers]
    missing = [name for name in names if name not in found]
    if missing:
        raise AllocationError(
            f"the allocation is for another model: it names {missing[0]!r}, and this {type(model).__name__} has "
            f"{', '.join(found) or 'no layers'}"
        )
    check_identity(
        allocation,
        fingerprint([(name, layer_type(found[name]), weight_shape(found[name])) for name in names]),
    )
    for layer in allocation.layers:
        _check_known(layer)
    for layer in allocation.layers:
        module = found[layer.name]
        weight, activation = layer.targets.get("weight"), layer.targets.get("activation")
        _install_layer(module, _weight_quantizer(weight, module), _activation_quantizer(activation, layer.name))
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


def reread(model: nn.Module, allocation: Allocation) -> Allocation:
    """The allocation with its targets as `model` has them now: an input may have turned out negative in training."""
    layers = []
    for layer in allocation.layers:
        quantizers = quantizers_of(model.get_submodule(layer.name))
        now = {target: quantizers[target].precision() for target in layer.targets if target in quantizers}
        layers.append(layer.model_copy(update={"targets": {**layer.targets, **now}}))
    return allocation.model_copy(update={"layers": tuple(layers)})


def quantizers_of(module: nn.Module) -> dict[Target, Quantizer]:
    """The quantizers of one layer, by target."""
    found: dict[Target, Quantizer] = {}
    if parametrize.is_parametrized(module, "weight"):
        parametrizations = cast(Any, module).parametrizations.weight
        own = [parametrization for parametrization in parametrizations if isinstance(parametrization, WeightQuantizer)]
        if own:
            found["weight"] = own[0]
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


def _install_layer(module: nn.Module, weight: WeightQuantizer | None, activation: ActivationQuantizer | None) -> None:
    if weight is not None:
        device = cast(Tensor, module.weight).device
        parametrize.register_parametrization(module, "weight", weight.to(device))
    if activation is not None:
        module.add_module("input_quantizer", activation.to(cast(Tensor, module.weight).device))
        module.register_forward_pre_hook(_quantize_input, with_kwargs=True)


def _check_known(layer: LayerPrecision) -> None:
    used = [("scale", precision.scale, tuple(SCALE_RULES)) for precision in layer.targets.values()]
    if "weight" in layer.targets:
        used.append(("quantizer", layer.targets["weight"].quantizer, QUANTIZERS))
    for what, name, known in used:
        if name not in known:
            raise AllocationError(
                f"{what} must be one of {', '.join(known)}, but the allocation has {name!r} for {layer.name!r}"
            )


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
    return WeightQuantizer([precision.bits], precision.scale, precision.granularity, channels, precision.quantizer)


def _activation_quantizer(precision: TargetPrecision | None, layer: str) -> ActivationQuantizer | None:
    if precision is None or precision.bits is None:
        return None
    return ActivationQuantizer([precision.bits], precision.scale, precision.signed, layer)
