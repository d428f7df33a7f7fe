"""Letting a quantized model see data without training it."""

from __future__ import annotations

import torch
from torch import nn

from precsearch.layers import Example
from precsearch.layers.example import call
from precsearch.quantization.base import Quantizer


@torch.no_grad()
def calibrate(model: nn.Module, batch: Example) -> None:
    """Run a batch in evaluation mode and let every quantizer's range take it in.

    The first batch sets the ranges of activations, each further one moves them 0.3 of the way. Weight ranges are
    set from the weights. Nothing else changes: no BatchNorm statistics, no weights.

    Args:
        model: a searchable model, or one with an allocation applied.
        batch: a tensor, a tuple of the forward's arguments, or a mapping of them by name.
    """
    training = {module: module.training for module in model.modules()}
    quantizers = [module for module in model.modules() if isinstance(module, Quantizer)]
    enabled = [quantizer.enabled for quantizer in quantizers]
    model.eval()
    try:
        for quantizer in quantizers:
            quantizer.looking = True
        call(model, batch)
    finally:
        for quantizer, on in zip(quantizers, enabled, strict=True):
            quantizer.looking, quantizer.enabled = False, on
        for module, mode in training.items():
            module.training = mode
