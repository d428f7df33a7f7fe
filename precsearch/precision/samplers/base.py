"""What every sampler is: draws for the steps, and the allocation a search ends with.

Legend: S slots, K candidates, C constraints; suffixes say the shape.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from precsearch.precision.problem import Ints, Problem
from precsearch.precision.ranged import Ranged

# Root mean square that the loss's gradient is brought to, over all logits, and how slowly it is averaged.
_EVEN = 0.1
_MEMORY = 0.95


@dataclass(frozen=True)
class Draw:
    """One allocation for one step.

    Attributes:
        candidates: [S] candidate of each slot.
        relaxed_SK: probabilities that carry the gradient to the logits, [S, K]; None where nothing learns.
    """

    candidates: Ints
    relaxed_SK: Tensor | None


class Sampler(nn.Module, ABC):
    """Draws allocations of a problem.

    Args:
        problem: the knapsack.
        generator: all randomness comes from it; it stays on the CPU.
        ranged: the problem at every limit of a range, from which each draw takes its own; None where all draws keep
            the limits of `problem`.

    Attributes:
        held: whether it has stopped learning, see `hold`.
    """

    learns = True
    prefers = False
    """Whether it takes a form of `precsearch.precision.preferences`."""
    keeps = True
    """Whether every draw keeps its limits."""

    def __init__(self, problem: Problem, generator: torch.Generator, ranged: Ranged | None = None) -> None:
        super().__init__()
        self.problem = problem
        self.generator = generator
        self.ranged = ranged
        self.held = False

    def limited(self) -> Problem:
        """The problem of one draw."""
        return self.problem if self.ranged is None else self.ranged.draw(self.generator)

    def hold(self) -> None:
        """From now on the probabilities stay as they are: no draw carries a gradient any more."""
        self.held = True
        for parameter in self.parameters():
            parameter.requires_grad_(False)

    @abstractmethod
    def draw(self, temperature: float) -> Draw:
        """An allocation for one training step."""

    @abstractmethod
    def solve(self, problem: Problem | None = None) -> Ints:
        """[S] candidates of the allocation that the search would end with now; it always keeps the budget.

        Args:
            problem: at another limit of the range, for those that learn.
        """

    @abstractmethod
    def probabilities(self) -> Tensor:
        """[S, K] probabilities without noise, at temperature 1; differentiable."""

    @abstractmethod
    def expected_cost(self) -> Tensor:
        """[C] expected cost under `probabilities`, as parts of the limits; differentiable."""

    def parameter_group(self, lr: float) -> list[dict[str, Any]]:
        """The logits' optimizer group, for Adam or SGD; nothing where nothing learns.

        Args:
            lr: how far a logit of typical gradient moves in a step.
        """
        logits = list(self.parameters())
        return [{"params": logits, "lr": lr / _EVEN, "weight_decay": 0.0, "eps": 1.0}] if logits else []

    def penalty(self) -> Tensor:
        """What the sampler itself adds to the loss, []."""
        return torch.zeros(())


class EvenGradient(nn.Module):
    """Scales the loss's gradient of the logits to a constant size, all logits alike.

    Adam divides every entry by its own size, so a slot that hardly matters would move as fast as one that
    matters much. With the common size taken out here, and Adam's `eps` of 1 (see `Sampler.parameter_group`),
    a step is proportional to the gradient; its typical entry moves by the learning rate.

    Attributes:
        power: running mean square of the gradient, []; 0 before the first.
    """

    power: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("power", torch.zeros(()))

    def forward(self, logits: Tensor) -> Tensor:
        """`logits`, whose gradient is scaled on its way back."""
        apply: Callable[..., Tensor] = _Even.apply
        return apply(logits, self.power)


class _Even(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, power: Tensor) -> Tensor:
        ctx.power = power
        return logits.view_as(logits)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        power, now = ctx.power, gradient.square().mean()
        now = torch.where(now.isfinite(), now, power)
        power.copy_(torch.where(power > 0, power.lerp(now, 1 - _MEMORY), now))
        return gradient * (_EVEN / power.sqrt().clamp_min(1e-12)), None
