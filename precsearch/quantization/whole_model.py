"""What is done to all quantizers of a model together."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from precsearch.quantization.base import Quantizer
from precsearch.quantization.kernels import check_kernels


def set_kernels(model: nn.Module, kernels: str) -> None:
    """Let every quantizer of `model` compute with these kernels.

    Raises:
        ConfigurationError: when there are none of that name, or they do not work here.
    """
    check_kernels(kernels)
    for quantizer in quantizers_in(model):
        quantizer.compute_with(kernels)


@torch.compiler.disable  # type: ignore[untyped-decorator]
def begin_forward(quantizers: Iterable[Quantizer]) -> bool:
    """Tell quantizers that a training forward begins -> whether one of them looks at the data in it."""
    looks = False
    for quantizer in quantizers:
        quantizer.tick()
        looks |= quantizer.looking
    return looks


def quantizers_in(model: nn.Module) -> list[Quantizer]:
    """All of them, searched or not."""
    return [module for module in model.modules() if isinstance(module, Quantizer)]


def on_forward(model: nn.Module, args: object) -> None:
    """`begin_forward` as a forward pre-hook, for models that have no searchable one around them."""
    if model.training:
        begin_forward(quantizers_in(model))
