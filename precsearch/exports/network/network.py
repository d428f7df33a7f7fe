"""The network that is exported, as it computes in torch, with the inputs that what is written is run on again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import torch
from torch import Tensor, nn

from precsearch.allocation import Allocation
from precsearch.exports.network.plain import plain_copy, plain_state, same_tensors

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
        """Bytes of the parameters and buffers of the float model, of which tied ones count once."""
        state = plain_state(plain_copy(self.model))
        same = same_tensors(state)
        return sum(value.nbytes for name, value in state.items() if name not in same)


@torch.no_grad()
def in_batches(run: nn.Module, inputs: Tensor) -> Tensor:
    """What `run` returns for `inputs`, a hundred at a time."""
    return torch.cat([run(batch) for batch in torch.split(inputs, _BATCH)])
