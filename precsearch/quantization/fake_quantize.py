"""The one-branch fake quantizer: quantize once, and hand gradients to the input, the step and the reach.

Legend: R rows with a range each (1, or output channels); x is [R, ...] or any shape where R is 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from precsearch.quantization.grids import Grid


def fake_quantize(x: Tensor, step: Tensor, reach: Tensor, grid: Grid, clip_gradient: bool = True) -> Tensor:
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

    Returns:
        The quantized tensor, of the shape and dtype of `x`.

    Reference:
        Zhou et al. 2016 (DoReFa), eq. 5; Sung et al. 2015, section 3; Esser et al. 2020 (LSQ), eq. 3, for the
        gradient of the step.
    """
    apply: Callable[..., Tensor] = _FakeQuantize.apply
    return apply(x, step, reach, grid, clip_gradient)


class _FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, reach: Tensor, grid: Grid, clip_gradient: bool) -> Tensor:
        step, reach = _as_rows(step, x), _as_rows(reach, x)
        low = -reach if grid.signed else torch.zeros_like(reach)
        code = (x / step - grid.offset).round_()
        if grid.offset:
            code.add_(grid.offset)
        quantized = torch.clamp(code.mul_(step), low, reach)
        ctx.save_for_backward(x, quantized, step, reach, low)
        ctx.clip_gradient = clip_gradient
        return quantized.to(x.dtype)

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        context = cast(Any, ctx)
        x, quantized, step, reach, low = context.saved_tensors
        inside = (x >= low) & (x <= reach)
        passed = gradient * inside
        grad_step = grad_reach = None
        if context.needs_input_grad[1] or context.needs_input_grad[2]:
            # In the ranges' precision, which is finer than x's under autocast.
            fine, flowed = gradient.to(quantized), passed.to(quantized)
            level = _inner(flowed, quantized, step)
            grad_step = (level - _inner(flowed, x.to(quantized), step)) / step.flatten()
            grad_reach = (_inner(fine, quantized, step) - level) / reach.flatten()
        return passed if context.clip_gradient else gradient, grad_step, grad_reach, None, None


def _as_rows(value: Tensor, x: Tensor) -> Tensor:
    """[R] -> [R, 1, ...], to broadcast against x [R, ...]; a single row broadcasts as it is."""
    return value.reshape(-1, *[1] * (x.dim() - 1)) if x.dim() else value.reshape(())


def _inner(a: Tensor, b: Tensor, rows: Tensor) -> Tensor:
    """Inner product of each row -> [R]; without a temporary the size of the tensors where there is one row."""
    if rows.numel() == 1:
        return torch.dot(a.reshape(-1), b.reshape(-1)).reshape(1)
    return (a * b).flatten(1).sum(1)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hard: Tensor, soft: Tensor) -> Tensor:
        return hard.clone()

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, gradients[0]


def straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    """`hard` exactly in the forward pass, `soft`'s gradient in the backward pass; both of one shape."""
    apply: Callable[..., Tensor] = _StraightThrough.apply
    return apply(hard, soft)
