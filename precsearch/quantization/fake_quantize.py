"""The one-branch fake quantizer: quantize once, and hand gradients to the input, the step and the reach.

Legend: R rows with a range each (1, or output channels), M values a row; x is [R, ...] or any shape where R is 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from precsearch.quantization.grids import Grid
from precsearch.quantization.kernels import Ranges, pull_back, pull_inside, quantize
from precsearch.quantization.layouts import as_rows, dense, in_strides, like
from precsearch.quantization.squash import squash


def fake_quantize(
    x: Tensor,
    step: Tensor,
    reach: Tensor,
    grid: Grid,
    clip_gradient: bool = True,
    kernels: str = "eager",
) -> Tensor:
    """Round `x` to the nearest of the grid's levels within the reach.

    With the rounding residual r held fixed (the straight-through estimator), a value inside the reach becomes
    ``q = x + r * step`` and one outside ``q = +-reach``. So ``dq/dstep = (q - x) / step`` inside and
    ``dq/dreach = +-1`` outside: two inner products a tensor, whatever the number of candidates. At a fixed
    reach ``step = reach / n``, which gives the gradient for the levels, ``dq/dn = (x - q) / n``.

    Args:
        x: float tensor; its first dimension has R entries, or any shape where R is 1.
        step: distance of neighbouring levels, positive, [R].
        reach: largest level, positive, [R]; ``reach / step`` is the grid's `levels`.
        grid: codes are signed or not, on or between whole numbers.
        clip_gradient: stop the gradient of `x` outside the reach (activations); else pass it (weights, whose
            float copies would otherwise never come back).
        kernels: how it is computed, see `precsearch.quantization.kernels`.

    Returns:
        The quantized tensor, of the shape, dtype and memory format of `x`.

    Reference:
        Zhou et al. 2016 (DoReFa), eq. 5; Sung et al. 2015, section 3; Esser et al. 2020 (LSQ), eq. 3, for the
        gradient of the step.
    """
    ranges = Ranges(step.detach(), reach.detach(), grid)
    return round_to(x, step, reach, ranges, Manner(clip_gradient, kernels=kernels))


@dataclass(frozen=True, slots=True)
class Manner:
    """How one kind of tensor is fake-quantized.

    Attributes:
        clip_gradient: see `fake_quantize`.
        squashes: whether tanh goes before it.
        kernels: see `fake_quantize`.
    """

    clip_gradient: bool
    squashes: bool = False
    kernels: str = "eager"


def round_to(
    x: Tensor, step: Tensor, reach: Tensor, ranges: Ranges, manner: Manner, made: list[Tensor] | None = None
) -> Tensor:
    """`fake_quantize`, for who has the ranges at hand.

    Args:
        x: float tensor.
        step: as in `ranges`, with its gradient.
        reach: as in `ranges`, with its gradient.
        ranges: to round with.
        manner: how.
        made: where the backward pass may find the result made again; it takes it.
    """
    apply: Callable[..., Tensor] = _FakeQuantize.apply
    if manner.kernels == "auto" and not torch.is_grad_enabled():
        manner = replace(manner, kernels="eager")  # the same values: evaluating alone is not worth loading a compiler
    return apply(x, step, reach, ranges, manner, made)


class _FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, step: Tensor, reach: Tensor, ranges: Ranges, manner: Manner, made: list[Tensor] | None
    ) -> Tensor:
        x = dense(x)
        rows = as_rows(x, reach)
        if manner.squashes:
            rows = squash(rows)
        quantized = like(quantize(rows, ranges, manner.kernels).to(x.dtype), x)
        # A weight's result is kept by the layer anyway; an activation's is made again where it is wanted.
        ctx.save_for_backward(rows if manner.squashes else x, *[] if manner.clip_gradient else [quantized])
        ctx.settings = x.stride(), ranges, manner, made
        return quantized

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (x, *kept), (gradient,) = ctx.saved_tensors, gradients
        strides, ranges, manner, made = ctx.settings
        gradient = in_strides(gradient, strides)
        rows, x_RM = as_rows(gradient, ranges.reach), as_rows(x, ranges.reach)
        passed, of_step, of_reach = rows, None, None
        if any(ctx.needs_input_grad[1:3]):
            q_RM = as_rows(made.pop() if made else kept[0], ranges.reach) if made or kept else None
            pulled = pull_back(rows, x_RM, q_RM, ranges, manner.kernels)
            of_step, of_reach = pulled.step, pulled.reach
            passed = pulled.inside if manner.clip_gradient else rows
        elif manner.clip_gradient:
            passed = pull_inside(rows, x_RM, ranges)
        if manner.squashes:
            passed = torch.ops.aten.tanh_backward(passed, x_RM)
        return gradient if passed is rows else like(passed, gradient), of_step, of_reach, None, None, None
