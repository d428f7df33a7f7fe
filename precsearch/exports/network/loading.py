"""A packed file back into a float model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from precsearch.conversion.install import hook_inputs, refuse_converted
from precsearch.errors import AllocationError
from precsearch.exports.network.packed_file import Packed, read_packed
from precsearch.exports.network.plain import bake, plain_copy, same_tensors
from precsearch.layers import Weight, fingerprint, layer_type, weights_of
from precsearch.quantization.quantizers import ActivationQuantizer


def load_packed(model: nn.Module, path: str | Path) -> nn.Module:
    """Put a network exported with format ``packed`` into a float model, in place.

    Where no gradients are asked for, the model computes what the exported network computed, to the bit: its weights
    are plain parameters with the quantized values, and what its layers read is quantized as it was searched. It is
    left in evaluation mode. The quantized weights have no gradients: training would take them off their grids. What
    parametrized weights, such as weight_norm, is taken off.

    Args:
        model: of the kind that was exported, not converted.
        path: of the file.

    Returns:
        `model`.

    Raises:
        AllocationError: when the file cannot be read or is not whole, or is of another model; `model` is as it was.
        ModelError: when the model was already converted.
    """
    refuse_converted(model)
    packed = read_packed(Path(path))
    found = weights_of(model)
    state = _fitting_state(model, found, packed, path)
    bake(model)
    model.load_state_dict(state)
    for name in {*packed.weights, *(name for name, owner in packed.same.items() if owner in packed.weights)}:
        model.get_parameter(name).requires_grad_(False)  # torch multiplies in another order for those that have one
    _quantize_inputs(found, packed)
    return model.eval()


def _fitting_state(
    model: nn.Module, found: Mapping[str, Weight], packed: Packed, path: str | Path
) -> dict[str, Tensor]:
    """The state that the file holds, which the model can take."""
    names = [layer.name for layer in packed.allocation.layers]
    missing = [name for name in names if name not in found]
    if missing:
        raise AllocationError(
            f"{path}: it is of another model, {packed.model}: it has a layer {missing[0]!r}, and this "
            f"{type(model).__name__} has {', '.join(found) or 'no layers'}"
        )
    here = fingerprint((name, layer_type(found[name].module), found[name].shape) for name in names)
    if here != packed.allocation.model.fingerprint:
        raise AllocationError(
            f"{path}: it is of another model, {packed.model}: its layers have fingerprint "
            f"{packed.allocation.model.fingerprint}, and those of this {type(model).__name__} {here}; layer names, "
            "types and weight shapes must be the same"
        )
    own = plain_copy(model) if any(map(parametrize.is_parametrized, model.modules())) else model
    expected, state = own.state_dict(), packed.state()
    for name in [*expected, *state]:
        if _kind(expected.get(name)) != _kind(state.get(name)):
            raise AllocationError(
                f"{path}: it is of another model, {packed.model}: for {name!r} it has {_kind(state.get(name))}, and "
                f"this {type(model).__name__} {_kind(expected.get(name))}"
            )
    for name, owner in same_tensors(expected).items():
        if not torch.equal(state[name], state[owner]):
            raise AllocationError(
                f"{path}: it is of another model, {packed.model}: {name!r} and {owner!r} are two tensors in it, and "
                f"one in this {type(model).__name__}"
            )
    return state


def _kind(value: Any) -> str:
    """A tensor's type and shape, in words."""
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else "nothing"


def _quantize_inputs(found: Mapping[str, Weight], packed: Packed) -> None:
    scales = {layer.name: layer.targets["activation"].scale for layer in packed.allocation.layers
              if "activation" in layer.targets}  # fmt: skip
    for layer in dict.fromkeys(each.layer for each in packed.inputs):
        quantizers = []
        for each in packed.inputs:
            if each.layer == layer:
                made = ActivationQuantizer([each.bits], scales[layer], each.grid.signed, layer, each.position)
                made.load_state_dict({**made.state_dict(), "reach": torch.full_like(made.reach, each.reach)})
                quantizers.append(made)
        hook_inputs(found[layer], quantizers)
