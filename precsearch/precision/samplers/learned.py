"""Samplers with a logit for each slot's candidates.

Legend: S slots, K candidates, H candidates of a slot's hub, C constraints; suffixes say the shape.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from precsearch.precision.distribution import PriceTable, gumbel
from precsearch.precision.exact import solve_exactly
from precsearch.precision.problem import Floats, Ints, Problem
from precsearch.precision.samplers.base import Draw, EvenGradient, Sampler
from precsearch.precision.solver import fill_slack, maximize


class _Learned(Sampler):
    """A sampler with a logit for each slot's candidates.

    Attributes:
        logits: [S, K], zeros at the start.
    """

    def __init__(self, problem: Problem, generator: torch.Generator) -> None:
        super().__init__(problem, generator)
        self.table = PriceTable(problem)
        self.logits = nn.Parameter(torch.zeros(len(problem.slots), len(problem.bits)))
        self.even = EvenGradient()

    def _numpy_scores(self) -> Floats:
        return self.problem.mask(self.logits.detach().double().cpu().numpy())

    def solve(self) -> Ints:
        """The allocation of highest total logit under the budget, exactly, slack filled."""
        return solve_exactly(self._numpy_scores(), self.problem)

    def expected_cost(self) -> Tensor:
        """[C] expected cost of the untilted distribution, as parts of the limits."""
        return self.table.expected_cost(self.table.untilted(self.table.scores(self.logits)))


class PerturbAndMap(_Learned):
    """Adds Gumbel noise to every candidate's logit and takes the best allocation under the budgets.

    Perturb-and-MAP (Papandreou and Yuille 2011) over the knapsack; the relaxed sample is the softmax of the
    logits, tilted by the multipliers that meet the budgets in expectation. Every draw keeps every budget.

    The relaxed sample leaves out the noise of the draw: what the quantizers send back speaks for every candidate,
    not only for the drawn one, so the noise would add variance and nothing else.
    """

    def draw(self, temperature: float) -> Draw:
        """An allocation that keeps the budgets."""
        scores_SK = self.table.scores(self.even(self.logits))
        noisy_SK = scores_SK + gumbel(scores_SK.shape, self.generator).to(scores_SK)
        perturbed = noisy_SK.detach().double().cpu().numpy()
        candidates = fill_slack(maximize(perturbed, self.problem), perturbed, self.problem)
        return Draw(candidates, self.table.tilt(scores_SK, temperature).sum(1))

    def probabilities(self) -> Tensor:
        """[S, K] tilted to meet the budgets."""
        return self.table.tilt(self.table.scores(self.logits), 1.0).sum(1)


class GumbelSoftmax(_Learned):
    """Draws every slot on its own, budget or not, with a penalty on the expected overspending (the DNAS habit).

    For comparison: its draws may break the budget; the allocation it ends with does not.
    """

    def draw(self, temperature: float) -> Draw:
        """An allocation that may cost more than the budget."""
        noise_SK = gumbel(self.logits.shape, self.generator).to(self.logits)
        noisy_SK = self.table.scores(self.even(self.logits)) + noise_SK
        return Draw(noisy_SK.detach().argmax(1).cpu().numpy(), torch.softmax(noisy_SK / temperature, dim=1))

    def probabilities(self) -> Tensor:
        """[S, K] softmax of the logits."""
        return torch.softmax(self.table.scores(self.logits), dim=1)

    def penalty(self) -> Tensor:
        """Expected overspending, in parts of the limits."""
        return torch.relu(self.expected_cost() - 1).sum()
