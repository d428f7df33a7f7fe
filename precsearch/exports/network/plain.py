"""The float model again: a copy without quantizers, whose weights are plain parameters with the quantized values."""

from __future__ import annotations

import copy
from collections.abc import Iterable, MutableMapping
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from precsearch.conversion.hooks import quantize_inputs, quantize_output_gradient, take_quantized, take_stored
from precsearch.errors import ExportError
from precsearch.quantization.base import Quantizer
from precsearch.quantization.quantizers import WeightQuantizer
from precsearch.quantization.whole_model import on_forward

_OURS: Final = (quantize_inputs, quantize_output_gradient, take_quantized, take_stored, on_forward)


@torch.no_grad()
def without_weight_quantizers(model: nn.Module) -> nn.Module:
    """A copy whose weights are plain parameters with the values that the model computes with; inputs are quantized.

    What parametrized a weight besides, such as weight_norm, is gone as well.
    """
    made = copy.deepcopy(model)
    bake(made)
    return made


@torch.no_grad()
def plain_copy(model: nn.Module) -> nn.Module:
    """A copy as the model was before it was converted, with the quantized weights."""
    made = without_weight_quantizers(model)
    for module in made.modules():
        for name in [name for name, child in module.named_children() if isinstance(child, Quantizer)]:
            delattr(module, name)
        _forget_hooks(module)
    return made


@torch.no_grad()
def blank_copy(model: nn.Module) -> nn.Module:
    """A copy as the model was before it was converted, whose numbers are NaN: a file must bring them all."""
    made = plain_copy(model)
    for value in made.state_dict().values():
        value.fill_(torch.nan if value.is_floating_point() or value.is_complex() else 0)
    return made


@torch.no_grad()
def bake(model: nn.Module) -> None:
    """Put plain parameters in place of every parametrization, in place; tied ones stay tied.

    torch's own `remove_parametrizations` takes the property off the class, which a copy shares with its original.
    """
    made: dict[tuple[int, ...], nn.Parameter] = {}
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            _bake(module, made)


def plain_state(plain: nn.Module) -> dict[str, Tensor]:
    """The state of a model without quantizers.

    Raises:
        ExportError: when something in it is no tensor.
    """
    state: dict[str, Any] = plain.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise ExportError(
                f"the state of a model must be tensors, to be exported, but {name!r} is a {type(value).__name__}; keep "
                "it in a buffer, or outside of the state"
            )
    return state


def same_tensors(state: dict[str, Tensor]) -> dict[str, str]:
    """Name -> the first name in `state` of the very same tensor, for those that have several."""
    first: dict[tuple[Any, ...], str] = {}
    same = {}
    for name, value in state.items():
        where = (value.device, value.data_ptr(), value.dtype, tuple(value.shape), value.stride())
        owner = first.setdefault(where, name) if value.numel() else name
        if owner != name:
            same[name] = owner
    return same


def parametrized_otherwise(model: nn.Module) -> list[str]:
    """Names of the tensors that something besides a quantizer parametrizes, such as weight_norm."""
    return [
        f"{name}.{tensor}".lstrip(".")
        for name, module in model.named_modules()
        if parametrize.is_parametrized(module)
        for tensor, chain in cast(Any, module).parametrizations.items()
        if not all(isinstance(link, WeightQuantizer) for link in chain)
    ]


def _bake(module: Any, made: dict[tuple[int, ...], nn.Parameter]) -> None:
    chains = dict(module.parametrizations.items())
    values = {name: getattr(module, name).detach() for name in chains}
    del module.parametrizations
    module.__class__ = type(module).__mro__[1]
    for name, chain in chains.items():
        own = list(chain.parameters(recurse=False))
        if own:
            place = tuple(map(id, [*own, *chain.children()]))  # of tied weights the same ones
            module.register_parameter(name, made.setdefault(place, nn.Parameter(values[name].clone())))
        else:
            module.register_buffer(name, values[name].clone())
    if isinstance(module, nn.RNNBase):  # it keeps a list of its own
        take_quantized(module)


def _forget_hooks(module: nn.Module) -> None:
    pre, after = module._forward_pre_hooks, module._forward_hooks
    for key in _ours(pre):
        del pre[key]
        module._forward_pre_hooks_with_kwargs.pop(key, None)
    for key in _ours(after):
        del after[key]
        module._forward_hooks_with_kwargs.pop(key, None)
        module._forward_hooks_always_called.pop(key, None)


def _ours(hooks: MutableMapping[int, Any]) -> Iterable[int]:
    return [key for key, hook in hooks.items() if hook in _OURS]
