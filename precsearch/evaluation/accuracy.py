"""Loss and accuracy of one network on one split."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from precsearch.data.batches import Batches
from precsearch.data.dataset import BaseSplit

_BATCH = 1000


@dataclass(frozen=True)
class Measured:
    """What a network does on a split.

    Attributes:
        loss: mean cross-entropy, nats.
        accuracy: fraction of images whose largest output is the right class, 0 to 1.
    """

    loss: float
    accuracy: float


@torch.no_grad()
def measure(model: nn.Module, split: BaseSplit, batch_size: int = _BATCH) -> Measured:
    """Run `model` over `split` in evaluation mode; its mode is restored.

    Args:
        model: maps inputs [B, ...] to logits [B, classes].
        split: what to run over.
        batch_size: images at a time; part of the result's last bits, so keep it to compare exactly.
    """
    training = model.training
    model.eval()
    loss, right = 0.0, 0
    for inputs, targets in Batches(split, batch_size):
        outputs = model(inputs)
        loss += float(nn.functional.cross_entropy(outputs, targets, reduction="sum"))
        right += int((outputs.argmax(1) == targets).sum())
    model.train(training)
    return Measured(loss / len(split), right / len(split))
