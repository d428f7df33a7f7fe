"""The network that is exported, as it computes in torch, with the inputs that what is written is run on again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from precsearch.allocation import Allocation
from precsearch.quantization.base import Quantizer

_BATCH: Final = 100


@dataclass(frozen=True, eq=False)
class Network:
    """A quantized network, in evaluation mode.

    Attributes:
        name: of the model.
        model: with the quantizers of `allocation`.
        allocation: what it computes with.
        inputs: real ones, [N, ...], float32.
        targets: the right classes, int64 [N]; None where they are not known.
    """

    name: str
    model: nn.Module
    allocation: Allocation
    inputs: Tensor
    targets: Tensor | None = None

    @cached_property
    def outputs(self) -> Tensor:
        """What the model returns for `inputs`, [N, ...]."""
        return in_batches(self.model, self.inputs)

    @property
    def float_size(self) -> int:
        """Bytes of the network's parameters and buffers in float32, those of the quantizers aside."""
        layers = sum(layer.numel for layer in self.allocation.layers if layer.tied_to is None)
        return 4 * layers + sum(each.numel() * each.element_size() for each in rest_of(self.model).values())


@torch.no_grad()
def in_batches(run: nn.Module, inputs: Tensor) -> Tensor:
    """What `run` returns for `inputs`, a hundred at a time."""
    return torch.cat([run(batch) for batch in torch.split(inputs, _BATCH)])


def rest_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers that no quantizer changes, by the names that the float model has for them."""
    kinds = (Quantizer, ParametrizationList)
    inside = tuple(f"{name}." for name, module in model.named_modules() if isinstance(module, kinds))
    return {name: value for name, value in model.state_dict().items() if not name.startswith(inside)}
