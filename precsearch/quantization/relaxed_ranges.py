"""Steps and reaches through which the gradient reaches the relaxed sample.

Legend: N rows with a range each, K candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def relax(step: Tensor, reach: Tensor, relaxed: Tensor, power: Tensor, reaches: Tensor) -> tuple[Tensor, Tensor]:
    """Steps and reaches with the drawn values and the relaxed sample's gradients.

    The noise power of a candidate goes with its squared step, so a relative change of the drawn step is
    half a relative change of the expected noise power: ``d step / step = d log E[step^2] / 2``. Dividing
    by the expected power, not the drawn one, keeps draws of many bits from shouting: their tiny error
    would be scaled up to speak of two bits.

    Args:
        step: of the drawn candidate, [N].
        reach: of the drawn candidate, [N].
        relaxed: probabilities of the candidates, [N, K] or [K].
        power: squared step of each candidate, [N, K].
        reaches: of each candidate, [N, K].
    """
    apply: Callable[..., tuple[Tensor, Tensor]] = _Relax.apply
    return apply(step, reach, relaxed, power, reaches)


class _Relax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, step: Tensor, reach: Tensor, relaxed: Tensor, *of_candidates: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(step, relaxed, *of_candidates)
        return step.clone(), reach.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        step, relaxed, power, reaches = ctx.saved_tensors
        of_step, of_reach = gradients
        of_power = (of_step / 2 * step / (relaxed * power).sum(1)).unsqueeze(1) * power
        told = of_power + of_reach.unsqueeze(1) * reaches
        return None, None, told if relaxed.dim() == told.dim() else told.sum(0), None, None
