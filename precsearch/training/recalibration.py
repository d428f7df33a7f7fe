"""What a frozen allocation needs before it is used: statistics and ranges that were seen with its own bits."""

from __future__ import annotations

import torch
from torch import nn

from precsearch.data.batches import Batches


@torch.no_grad()
def recalibrate(model: nn.Module, batches: Batches) -> None:
    """Bring BatchNorm statistics and quantizer ranges to the frozen allocation: one pass over images as they are."""
    training = model.training
    norms = {norm: norm.momentum for norm in model.modules() if isinstance(norm, nn.modules.batchnorm._BatchNorm)}
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches counts alike
    model.train()
    for inputs, _ in batches.plain():
        model(inputs)
    for norm, momentum in norms.items():
        norm.momentum = momentum
    model.train(training)
