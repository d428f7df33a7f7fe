"""Baselines: one allocation from the first step to the last."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from precsearch.precision.distribution import gumbel
from precsearch.precision.problem import Ints, Problem
from precsearch.precision.samplers.base import Draw, Sampler
from precsearch.precision.solver import best_uniform, fill_slack, maximize


class _Constant(Sampler):
    """One allocation from the first step to the last.

    Attributes:
        candidates: [S], int64.
    """

    learns = False
    candidates: Tensor

    def __init__(self, problem: Problem, generator: torch.Generator, candidates: Ints) -> None:
        super().__init__(problem, generator)
        self.register_buffer("candidates", torch.from_numpy(candidates.copy()))

    def draw(self, temperature: float) -> Draw:
        """The allocation."""
        return Draw(self.solve(), None)

    def solve(self, problem: Problem | None = None) -> Ints:
        """The allocation, whatever the limit."""
        return np.asarray(self.candidates.cpu().numpy())

    def probabilities(self) -> Tensor:
        """[S, K] one-hot."""
        return nn.functional.one_hot(self.candidates, len(self.problem.bits)).float()

    def expected_cost(self) -> Tensor:
        """[C] of the allocation, as parts of the limits."""
        return torch.from_numpy(self.problem.spent(self.solve()) / self.problem.scale).float()


class Uniform(_Constant):
    """The most bits that every slot can have alike within the budget."""

    def __init__(self, problem: Problem, generator: torch.Generator) -> None:
        super().__init__(problem, generator, best_uniform(problem))


class Random(_Constant):
    """One allocation drawn at random under the budget, slack filled: what a search must beat."""

    def __init__(self, problem: Problem, generator: torch.Generator) -> None:
        scores = problem.mask(gumbel(problem.candidates.shape, generator).double().numpy())
        super().__init__(problem, generator, fill_slack(maximize(scores, problem), scores, problem))


class Fixed(_Constant):
    """An allocation given by the user; see `SearchableModel`."""
