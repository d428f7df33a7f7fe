"""`state_dict`: a plain float state dict with the quantized weights in place of those they were made of."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn.utils import parametrize

from precsearch.allocation import Allocation
from precsearch.exports.network.leave import Run
from precsearch.exports.network.network import Network, in_batches, rest_of
from precsearch.exports.report import Kept, Written
from precsearch.layers import weights_of


class FloatWeights:
    """A safetensors file for `load_state_dict` of the float model; it says nothing of how inputs are quantized."""

    name = "state_dict"
    tolerance = 1e-6

    def write(self, network: Network, path: Path) -> Written:
        """Write the state."""
        path.write_bytes(save({key: value.clone().contiguous() for key, value in baked_state(network.model).items()}))
        return Written(kept=_kept(network.allocation))

    def read(self, network: Network, path: Path) -> Run:
        """Load the file into the network without weight quantizers; the input quantizers stay, which it leaves out."""
        model = without_weight_quantizers(network.model)
        state = load_file(path)
        model.load_state_dict(model.state_dict() | state)
        return lambda inputs: in_batches(model, inputs)


def baked_state(model: nn.Module) -> dict[str, Tensor]:
    """The state of the float model with quantized weights, by the names that the float model has."""
    quantized = {f"{each.module_name}.{each.parameter}".lstrip("."): each for each in weights_of(model).values()}
    return {name: weight.value.detach() for name, weight in quantized.items()} | rest_of(model)


@torch.no_grad()
def without_weight_quantizers(model: nn.Module) -> nn.Module:
    """A copy whose weights are plain parameters with the quantized values."""
    made = copy.deepcopy(model)
    for module in list(made.modules()):
        if parametrize.is_parametrized(module):
            _bake(module)
    return made


def _bake(module: Any) -> None:
    """Put plain parameters in place of parametrizations.

    torch's own `remove_parametrizations` takes the property off the class, which a copy shares with its original.
    """
    names = list(module.parametrizations)
    values = [getattr(module, name).detach().clone() for name in names]
    del module.parametrizations
    module.__class__ = type(module).__mro__[1]
    for name, value in zip(names, values, strict=True):
        module.register_parameter(name, nn.Parameter(value))


def _kept(allocation: Allocation) -> tuple[Kept, ...]:
    left_out = "a state dict says nothing of what a layer reads"
    return tuple(
        Kept(layer=layer.name, target=target, bits=precision.bits, held_as="FLOAT32")
        if target == "weight"
        else Kept(layer=layer.name, target=target, bits=precision.bits, held_as="left out", why=left_out)
        for layer in allocation.layers
        for target, precision in layer.targets.items()
        if target != "gradient"
    )
