"""What one training step is, whoever takes it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

Step = Callable[[], None]
Make = Callable[[nn.Module, Tensor, Tensor], Step]


def training(
    forward: Callable[[Tensor], Tensor],
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    labels: Tensor,
    more: Callable[[], Tensor] | None = None,
) -> Step:
    """One step: zero_grad, forward, cross-entropy and `more` of the loss, backward, optimizer."""

    def step() -> None:
        optimizer.zero_grad()
        loss = functional.cross_entropy(forward(inputs), labels)
        (loss if more is None else loss + more()).backward()
        optimizer.step()

    return step
