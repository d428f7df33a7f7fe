"""Quantizing gradients on their way back, after DoReFa-Net (Zhou et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from precsearch.allocation import TargetPrecision
from precsearch.quantization.base import Quantizer
from precsearch.quantization.grids import EVEN, Grid

_TINY: Final = 1e-30  # keeps samples of zeros from dividing by zero


class GradientQuantizer(Quantizer):
    """Quantizes the gradient of what a layer returns; its forward leaves the values alone.

    Eq. 12 of Zhou et al. 2016: each sample's gradient is scaled to [0, 1] by twice its largest magnitude, shifted
    by one half, given uniform noise of one level's width (from torch's global generator), rounded to 2^b - 1 levels,
    and scaled back. The noise makes rounding unbiased. Nothing here has a gradient for bits: the loss of a step
    does not depend on how its gradient was rounded.

    Args:
        bits: candidate bit-widths, ascending.
    """

    teaches = False

    def __init__(self, bits: Sequence[int]) -> None:
        super().__init__(bits, "max")
        self.reach.fill_(1.0)  # of gradients scaled by their largest magnitude
        self._derive()

    def grid(self, bits: int) -> Grid:
        """Grid at `bits` bits."""
        return EVEN

    def precision(self) -> TargetPrecision:
        """How the gradient is quantized now, as data."""
        return TargetPrecision(bits=self.chosen_bits, scale=self.scale, quantizer="dorefa")

    def forward(self, x: Tensor) -> Tensor:
        """`x`, whose gradient is quantized on its way back, [B, ...]."""
        if not (self.training and self.enabled and torch.is_grad_enabled() and x.requires_grad):
            return x
        apply: Callable[..., Tensor] = _QuantizeGradient.apply
        return apply(x, 2 * self.levels_K.index_select(0, self.selected))


class _QuantizeGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, steps: Tensor) -> Tensor:
        ctx.save_for_backward(steps)
        return x.clone()  # a view could not be changed in place, as by ReLU(inplace=True)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,), (steps,) = gradients, ctx.saved_tensors
        return round_gradient(gradient, steps), None


def round_gradient(gradient: Tensor, steps: Tensor) -> Tensor:
    """Round a gradient to ``steps + 1`` levels between plus and minus each sample's largest magnitude, with noise.

    Args:
        gradient: [B, ...]; a vector counts as one sample.
        steps: 2^b - 1, [] or [1].

    Returns:
        The rounded gradient, of the shape and dtype of `gradient`; samples of zeros stay zeros.
    """
    # In single precision at least: half precision has no room for small gradients beside the shift by one half.
    fine = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
    steps = steps.to(fine)
    largest = fine.abs().amax(dim=tuple(range(1, fine.dim())), keepdim=True)
    noise = torch.rand_like(fine) - 0.5
    code = ((fine / (2 * largest).clamp_min(_TINY) + 0.5) * steps + noise).round_().clamp_(0).minimum(steps)
    return ((code / steps - 0.5) * (2 * largest)).to(gradient)
