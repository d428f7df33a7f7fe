"""What converted modules do around their forward: quantize what they read, and the gradient of what they return."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import PackedSequence

from precsearch.quantization.first_inputs import has_shortcut, speak_for_input
from precsearch.quantization.quantizers import ActivationQuantizer
from precsearch.quantization.rounded_again import rounding_again, rounds_again

_INPUT: Final = "input_quantizer"
GRADIENT: Final = "gradient_quantizer"
_Entered = TypeVar("_Entered")


def input_attribute(position: int) -> str:
    """Where a module keeps the quantizer of one of its arguments."""
    return f"{_INPUT}_{position}" if position else _INPUT


def quantize_inputs(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A forward pre-hook: quantizes the arguments that the module multiplies its weights with."""
    quantizers = _input_quantizers(module)
    if args and len(quantizers) == 1:
        short = _take_shortcut(module, quantizers[0][1], args[0])
        if short is not None:
            return (short, *args[1:]), kwargs
    given, named = list(args), dict(kwargs)
    done: list[tuple[Any, Any]] = []  # attention tells by identity whether query, key and value are one tensor
    for position, quantizer in quantizers:
        if position < len(given):
            given[position] = _once(done, quantizer, given[position])
        else:
            name = _names(module)[position]
            if name in named:
                named[name] = _once(done, quantizer, named[name])
    if rounds_again():
        taken = [quantizer.take_recipe() for _, quantizer in quantizers]
        recipes = [recipe for recipe in taken if recipe is not None]
        if recipes:
            _around(module, rounding_again(recipes))
    return tuple(given), named


def _around(
    module: nn.Module,
    context: AbstractContextManager[_Entered],
    finish: Callable[[Tensor, _Entered], Tensor] | None = None,
) -> None:
    """Run the module's forward, which is about to begin, in a context, then `finish` what it returns.

    The hook lasts for this forward alone: the compiler does not trace hooks that are called in any case. A forward
    that failed, and so returned nothing, leaves it behind for the next one that does not: torch is going through the
    hooks then, and taking one away would put an error of its own in place of the module's.
    """
    open_ = True

    def close(module: nn.Module, args: Any, output: Any) -> Any:
        nonlocal open_
        if output is not None:
            handle.remove()
        if not open_:
            return output
        open_ = False
        context.__exit__(None, None, None)
        return finish(output, entered) if finish is not None and output is not None else output

    # First of all hooks, since the others may change the output.
    handle = module.register_forward_hook(close, prepend=True, always_call=True)
    entered = context.__enter__()


def _take_shortcut(module: nn.Module, quantizer: ActivationQuantizer, x: Any) -> Tensor | None:
    """The quantized input of a module that reads what needs no gradient, whose output will speak for its bits."""
    if not (isinstance(x, Tensor) and quantizer.learns and not x.requires_grad and has_shortcut(module)):
        return None
    if torch.compiler.is_compiling() or torch.is_autocast_enabled(x.device.type) or x.dtype != torch.float32:
        return None
    with torch.no_grad():
        quantized: Tensor = quantizer(x)
    drawn, grid, kernels = quantizer.ranges(), quantizer.grid(quantizer.chosen_bits), quantizer.kernels

    def speak(output: Tensor, weight: Tensor) -> Tensor:
        return speak_for_input(output, weight, x, drawn, grid, kernels, module)

    _around(module, _apart(module), speak)
    return quantized


@contextmanager
def _apart(module: nn.Module) -> Iterator[Tensor]:
    """A context in which a module computes without gradients -> the weight that it computes with, which has one."""
    with parametrize.cached():
        weight = cast(Tensor, module.weight)
        with torch.no_grad():
            yield weight


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


def _input_quantizers(module: nn.Module) -> list[tuple[int, ActivationQuantizer]]:
    """(position of the argument, its quantizer)."""
    own = [child for child in module._modules.values() if isinstance(child, ActivationQuantizer)]
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
