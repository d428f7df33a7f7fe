"""What every sampler is: draws for the steps, and the allocation a search ends with.

Legend: S slots, K candidates, U units, O options of a unit, C constraints; suffixes say the shape.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from precsearch.precision.problem import Ints, Problem


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
    """

    learns = True

    def __init__(self, problem: Problem, generator: torch.Generator) -> None:
        super().__init__()
        self.problem = problem
        self.generator = generator

    @abstractmethod
    def draw(self, temperature: float) -> Draw:
        """An allocation for one training step."""

    @abstractmethod
    def solve(self) -> Ints:
        """[S] candidates of the allocation that the search would end with now; it always keeps the budget."""

    @abstractmethod
    def probabilities(self) -> Tensor:
        """[S, K] probabilities without noise, at temperature 1; differentiable."""

    @abstractmethod
    def expected_cost(self) -> Tensor:
        """[C] expected cost under `probabilities`, as parts of the limits; differentiable."""

    def penalty(self) -> Tensor:
        """What the sampler itself adds to the loss, []."""
        return torch.zeros(())
