"""Inputs on which no two programs need agree: a value to be rounded lies between two levels.

Sums of float32 in another order differ by about 1e-7 of their largest term, in torch itself between batch sizes. Where
a value lies that close to the middle between two levels, one program rounds it up and the other down, and the outputs
differ by as much as one level of one value makes, though both are right.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn

from precsearch.quantization.quantizers import ActivationQuantizer

_CLOSE: Final = 1e-6  # in parts of the tensor's largest value


@torch.no_grad()
def on_a_tie(model: nn.Module, sample: Tensor) -> bool:
    """Whether the model rounds a value that lies between two levels, within what sums of float32 differ by.

    Args:
        model: quantized, in evaluation mode.
        sample: one input, [1, ...].
    """
    found: list[bool] = []

    def look(quantizer: ActivationQuantizer, args: tuple[Any, ...]) -> None:
        found.append(_closest(quantizer, args[0]) < _CLOSE)

    hooks = [
        module.register_forward_pre_hook(look) for module in model.modules() if isinstance(module, ActivationQuantizer)
    ]
    try:
        model(sample)
    finally:
        for hook in hooks:
            hook.remove()
    return any(found)


def _closest(quantizer: ActivationQuantizer, x: Tensor) -> float:
    """How close a value of `x` comes to the middle between two levels, in parts of its largest magnitude."""
    drawn, grid = quantizer.ranges(), quantizer.grid(quantizer.chosen_bits)
    code = x / drawn.step - grid.offset
    distance = (code - code.floor() - 0.5).abs() * drawn.step
    rounded = (x < drawn.reach) & (x > (-drawn.reach if grid.signed else 0.0))
    return float(torch.where(rounded, distance, torch.inf).min() / x.abs().max().clamp_min(1e-30))
