"""What converted modules do around their forward: quantize what they read, and the gradient of what they return."""

from __future__ import annotations

import inspect
from typing import Any, Final, cast

from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import PackedSequence

from precsearch.quantization.quantizers import ActivationQuantizer

_INPUT: Final = "input_quantizer"
GRADIENT: Final = "gradient_quantizer"


def input_attribute(position: int) -> str:
    """Where a module keeps the quantizer of one of its arguments."""
    return f"{_INPUT}_{position}" if position else _INPUT


def quantize_inputs(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A forward pre-hook: quantizes the arguments that the module multiplies its weights with."""
    given, named = list(args), dict(kwargs)
    done: list[tuple[Any, Any]] = []  # attention tells by identity whether query, key and value are one tensor
    for position, quantizer in _input_quantizers(module):
        if position < len(given):
            given[position] = _once(done, quantizer, given[position])
        else:
            name = _names(module)[position]
            if name in named:
                named[name] = _once(done, quantizer, named[name])
    return tuple(given), named


def quantize_output_gradient(module: nn.Module, args: Any, output: Any) -> Any:
    """A forward hook: quantizes the gradients that come back to what the module returned, each tensor's alone."""
    quantizer = getattr(module, GRADIENT)
    if isinstance(output, Tensor):
        return quantizer(output)
    if isinstance(output, PackedSequence):
        return output._replace(data=quantizer(output.data))
    if type(output) in {tuple, list}:  # a recurrent module's states too: its last one may be all that is used
        return type(output)(quantize_output_gradient(module, args, each) for each in output)
    if type(output) is dict:
        return {name: quantize_output_gradient(module, args, each) for name, each in output.items()}
    return output


def take_quantized(module: nn.Module, *_: object) -> None:
    """Give a recurrent module, which keeps its own list of weights, the quantized ones for a forward."""
    own = cast(Any, module)
    own._flat_weights = [getattr(own, name, None) for name in own._flat_weights_names]


def take_stored(module: nn.Module, *_: object) -> None:
    """Give a recurrent module its parameters back, which can be copied."""
    own = cast(Any, module)
    own._flat_weights = [_stored(own, name) for name in own._flat_weights_names]


def _stored(module: Any, name: str) -> Tensor | None:
    if parametrize.is_parametrized(module, name):
        return cast(Tensor, module.parametrizations[name].original)
    return cast("Tensor | None", getattr(module, name, None))


def _input_quantizers(module: nn.Module) -> list[tuple[int, nn.Module]]:
    """(position of the argument, its quantizer)."""
    own = [child for child in module.children() if isinstance(child, ActivationQuantizer)]
    return [(quantizer.position, quantizer) for quantizer in own]


def _names(module: nn.Module) -> list[str]:
    return list(inspect.signature(module.forward).parameters)


def _once(done: list[tuple[Any, Any]], quantizer: nn.Module, value: Any) -> Any:
    for given, quantized in done:
        if given is value:
            return quantized
    packed = isinstance(value, PackedSequence)
    done.append((value, value._replace(data=quantizer(value.data)) if packed else quantizer(value)))
    return done[-1][1]
