"""The one-branch fake quantizer: quantize once, and hand gradients to the input, the step and the reach.

Legend: R rows with a range each (1, or output channels), M values a row; x is [R, ...] or any shape where R is 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from precsearch.quantization.grids import Grid
from precsearch.quantization.kernels import Ranges, pull_back, pull_inside, quantize
from precsearch.quantization.layouts import as_rows, dense, in_layout, like


def fake_quantize(
    x: Tensor,
    step: Tensor,
    reach: Tensor,
    grid: Grid,
    clip_gradient: bool = True,
    kernels: str = "eager",
    made: list[Tensor] | None = None,
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
        made: where the backward pass may find the result made again; it takes it.

    Returns:
        The quantized tensor, of the shape, dtype and memory format of `x`.

    Reference:
        Zhou et al. 2016 (DoReFa), eq. 5; Sung et al. 2015, section 3; Esser et al. 2020 (LSQ), eq. 3, for the
        gradient of the step.
    """
    apply: Callable[..., Tensor] = _FakeQuantize.apply
    return apply(x, step, reach, grid, clip_gradient, kernels, made)


class _FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        step: Tensor,
        reach: Tensor,
        grid: Grid,
        clip_gradient: bool,
        kernels: str,
        made: list[Tensor] | None,
    ) -> Tensor:
        x = dense(x)
        ctx.save_for_backward(x, step, reach)
        ctx.settings = grid, clip_gradient, kernels, made
        return like(quantize(as_rows(x, reach), Ranges(step, reach, grid), kernels).to(x.dtype), x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, step, reach = ctx.saved_tensors
        grid, clip_gradient, kernels, made = ctx.settings
        gradient = in_layout(gradients[0], x)
        rows, x_RM, ranges = as_rows(gradient, reach), as_rows(x, reach), Ranges(step, reach, grid)
        if not any(ctx.needs_input_grad[1:3]):
            passed = like(pull_inside(rows, x_RM, ranges), x) if clip_gradient else gradient
            return passed, *[None] * 6
        q_RM = as_rows(made.pop(), reach) if made else None
        pulled = pull_back(rows, x_RM, q_RM, ranges, kernels)
        passed = like(pulled.inside, x) if clip_gradient else gradient
        return passed, pulled.step, pulled.reach, *[None] * 4


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hard: Tensor, soft: Tensor) -> Tensor:
        return hard.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, gradients[0]


def straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    """`hard` exactly in the forward pass, `soft`'s gradient in the backward pass; both of one shape."""
    apply: Callable[..., Tensor] = _StraightThrough.apply
    return apply(hard, soft)
