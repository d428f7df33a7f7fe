"""Samplers with a logit for each slot's candidates.

Legend: S slots, K candidates, U units, O options of a unit, C constraints; suffixes say the shape.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from precsearch.precision.distribution import OptionTable, gumbel
from precsearch.precision.problem import Floats, Ints, Problem
from precsearch.precision.samplers.base import Draw, EvenGradient, Sampler
from precsearch.precision.solver import fill_slack, maximize, solve_exactly


class _Learned(Sampler):
    """A sampler with a logit for each slot's candidates.

    Attributes:
        logits: [S, K], zeros at the start.
    """

    def __init__(self, problem: Problem, generator: torch.Generator) -> None:
        super().__init__(problem, generator)
        self.table = OptionTable(problem)
        self.logits = nn.Parameter(torch.zeros(len(problem.slots), len(problem.bits)))
        self.even = EvenGradient()

    def _numpy_scores(self) -> Floats:
        return self.problem.option_scores(self.logits.detach().double().cpu().numpy())

    def solve(self) -> Ints:
        """The allocation of highest total logit under the budget, exactly, slack filled."""
        return self.problem.slot_candidates(solve_exactly(self._numpy_scores(), self.problem))

    def expected_cost(self) -> Tensor:
        """[C] expected cost of the untilted distribution, as parts of the limits."""
        return self.table.expected_cost(torch.softmax(self.table.scores(self.logits), dim=1))


class PerturbAndMap(_Learned):
    """Adds Gumbel noise to every option's logit and takes the best allocation under the budget.

    Perturb-and-MAP (Papandreou and Yuille 2011) over the knapsack; the relaxed sample is the softmax of the
    logits, tilted by the multiplier that meets the budget in expectation. Every draw keeps the budget.

    The relaxed sample leaves out the noise of the draw: what the quantizers send back speaks for every candidate,
    not only for the drawn one, so the noise would add variance and nothing else.
    """

    def draw(self, temperature: float) -> Draw:
        """An allocation that keeps the budget."""
        scores_UO = self.table.scores(self.even(self.logits))
        noisy_UO = scores_UO + gumbel(scores_UO.shape, self.generator).to(scores_UO)
        perturbed = noisy_UO.detach().double().cpu().numpy()
        options = fill_slack(maximize(perturbed, self.problem), perturbed, self.problem)
        relaxed = self.table.marginals(self.table.tilt(scores_UO, temperature))
        return Draw(self.problem.slot_candidates(options), relaxed)

    def probabilities(self) -> Tensor:
        """[S, K] tilted to meet the budget."""
        return self.table.marginals(self.table.tilt(self.table.scores(self.logits), 1.0))


class GumbelSoftmax(_Learned):
    """Draws every slot on its own, budget or not, with a penalty on the expected overspending (the DNAS habit).

    For comparison: its draws may break the budget; the allocation it ends with does not.
    """

    def draw(self, temperature: float) -> Draw:
        """An allocation that may cost more than the budget."""
        noisy_SK = self.even(self.logits) + gumbel(self.logits.shape, self.generator).to(self.logits)
        return Draw(noisy_SK.detach().argmax(1).cpu().numpy(), torch.softmax(noisy_SK / temperature, dim=1))

    def probabilities(self) -> Tensor:
        """[S, K] softmax of the logits."""
        return torch.softmax(self.logits, dim=1)

    def penalty(self) -> Tensor:
        """Expected overspending, in parts of the limits."""
        return torch.relu(self.expected_cost() - 1).sum()
