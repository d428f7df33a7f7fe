"""Reading quantizers back, as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from torch import nn
from torch.nn.utils import parametrize

from precsearch.allocation import FLOAT_BITS, Allocation, LayerPrecision, ModelIdentity, Target, TargetPrecision
from precsearch.conversion.decisions import JOINED
from precsearch.conversion.hooks import GRADIENT, input_attribute
from precsearch.conversion.plan import Conversion
from precsearch.layers import Weight, layer_type, weights_of
from precsearch.precision.answers import Answers
from precsearch.precision.budgets import Moment, cost_of
from precsearch.quantization.base import Quantizer
from precsearch.quantization.quantizers import ActivationQuantizer, WeightQuantizer


def quantizers_of(weight: Weight) -> dict[Target, list[Quantizer]]:
    """The quantizers of one layer, by target; a layer that reads several arguments has one for each of them."""
    module = weight.module
    found: dict[Target, list[Quantizer]] = {}
    if parametrize.is_parametrized(module, weight.parameter):
        chain = cast(Any, module).parametrizations[weight.parameter]
        found["weight"] = [parametrization for parametrization in chain if isinstance(parametrization, WeightQuantizer)]
    children = dict(module.named_children())
    inputs = [children.get(input_attribute(position)) for position in weight.reads]
    found["activation"] = [
        child for child in inputs if isinstance(child, ActivationQuantizer) and child.layer == weight.layer
    ]
    found["gradient"] = [child for name, child in children.items() if name == GRADIENT and isinstance(child, Quantizer)]
    return {target: quantizers for target, quantizers in found.items() if quantizers}


def describe_layers(model: nn.Module, conversion: Conversion) -> tuple[LayerPrecision, ...]:
    """Every layer with its current bits, as data."""
    weights, described = weights_of(model), []
    for layer in conversion.layers:
        quantizers = quantizers_of(weights[layer.name])
        targets: dict[Target, TargetPrecision] = {}
        for target in conversion.targets:
            if (layer.name, target) in conversion.decisions.choices:
                own = quantizers.get(target)
                targets[target] = own[0].precision() if own else TargetPrecision(bits=None)
        groups = [conversion.decisions.group(layer.name, target) for target in conversion.targets]
        names = [name for group in groups if group is not None for name in group.name.split(JOINED)]
        described.append(
            LayerPrecision(
                name=layer.name,
                type=layer.type,
                numel=layer.numel,
                inputs=layer.inputs,
                macs=layer.macs,
                tied_to=layer.tied_to,
                group=JOINED.join(dict.fromkeys(names)) or None,
                targets=targets,
            )
        )
    return tuple(described)


def describe(model: nn.Module, conversion: Conversion, answers: Answers, moments: Sequence[Moment]) -> Allocation:
    """The allocation that the quantizers are set to, with what it spends and costs."""
    layers = describe_layers(model, conversion)
    priced = conversion.priced(layers)
    uses = answers.uses(priced)
    return Allocation(
        model=ModelIdentity(name=layer_type(model), fingerprint=conversion.inventory.fingerprint),
        budget=uses[0],
        budgets=uses,
        layers=layers,
        cost=cost_of(priced, conversion.inventory.float_elements, moments),
    )


def describe_unquantized(model: nn.Module, conversion: Conversion) -> Allocation:
    """The allocation of a model whose every layer stays in float32; it keeps no budget."""
    inventory = conversion.inventory
    layers = describe_layers(model, conversion)
    cost = cost_of(conversion.priced(layers), inventory.float_elements, inventory.moments)
    return Allocation(
        model=ModelIdentity(name=layer_type(model), fingerprint=inventory.fingerprint),
        layers=layers,
        cost=cost.model_copy(update={"average_bits": dict.fromkeys(conversion.targets, float(FLOAT_BITS))}),
    )


def reread(model: nn.Module, allocation: Allocation) -> Allocation:
    """The allocation with its targets as `model` has them now: an input may have turned out negative in training."""
    weights, layers = weights_of(model), []
    for layer in allocation.layers:
        quantizers = quantizers_of(weights[layer.name])
        now = {target: quantizers[target][0].precision() for target in layer.targets if target in quantizers}
        layers.append(layer.model_copy(update={"targets": {**layer.targets, **now}}))
    return allocation.model_copy(update={"layers": tuple(layers)})
