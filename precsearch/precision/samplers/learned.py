"""Samplers with a score for each slot's candidates.

Legend: S slots, K candidates, H candidates of a slot's hub, C constraints; suffixes say the shape.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from precsearch.precision.distribution import PriceTable, gumbel
from precsearch.precision.exact import solve_exactly
from precsearch.precision.preferences import PREFERENCES
from precsearch.precision.problem import Floats, Ints, Problem
from precsearch.precision.ranged import Ranged
from precsearch.precision.samplers.base import Draw, EvenGradient, Sampler
from precsearch.precision.solver import fill_slack, maximize


class _Learned(Sampler):
    """A sampler with a score for each slot's candidates.

    Args:
        problem: the knapsack.
        generator: of all randomness.
        ranged: the problem at every limit of a range, or None.
        preferences: a key of `PREFERENCES`, how parameters become scores.

    Attributes:
        logits: what learns; [S, K] zeros at the start where the preferences are free.
    """

    prefers = True

    def __init__(
        self,
        problem: Problem,
        generator: torch.Generator,
        ranged: Ranged | None = None,
        preferences: str = "free",
    ) -> None:
        super().__init__(problem, generator, ranged)
        self.table = PriceTable(problem)
        self.preferences = PREFERENCES[preferences](len(problem.slots), problem.bits)
        self.logits = nn.Parameter(self.preferences.start())
        self.even = EvenGradient()

    def _scores(self, logits: Tensor) -> Tensor:
        return self.table.scores(self.preferences.scores(logits))

    def scores(self) -> Floats:
        """[S, K] what the search has learned, -inf where a slot has no such candidate."""
        return self.problem.mask(self.preferences.scores(self.logits.detach().double()).cpu().numpy())

    def solve(self, problem: Problem | None = None) -> Ints:
        """The allocation of highest total score under the budget, exactly, slack filled.

        What keeps a limit keeps a higher one too. So of the answers to two limits, that to the higher one has fewer
        bits in a slot only where its total score is higher (before the slack is filled).
        """
        return solve_exactly(self.scores(), self.problem if problem is None else problem)

    def expected_cost(self) -> Tensor:
        """[C] expected cost of the untilted distribution, as parts of the limits."""
        return self.table.expected_cost(self.table.untilted(self._scores(self.logits)))


class PerturbAndMap(_Learned):
    """Adds Gumbel noise to every candidate's logit and takes the best allocation under the budgets.

    Perturb-and-MAP (Papandreou and Yuille 2011) over the knapsack; the relaxed sample is the softmax of the
    logits, tilted by the multipliers that meet the budgets in expectation. Every draw keeps every budget.

    The relaxed sample leaves out the noise of the draw: what the quantizers send back speaks for every candidate,
    not only for the drawn one, so the noise would add variance and nothing else.
    """

    def draw(self, temperature: float) -> Draw:
        """An allocation that keeps the budgets."""
        problem = self.limited()
        scores_SK = self._scores(self.even(self.logits))
        noisy_SK = scores_SK + gumbel(scores_SK.shape, self.generator).to(scores_SK)
        perturbed = noisy_SK.detach().double().cpu().numpy()
        candidates = fill_slack(maximize(perturbed, problem), perturbed, problem)
        relaxed_SK = None if self.held else self.table.tilt(scores_SK, temperature, problem).sum(1)
        return Draw(candidates, relaxed_SK)

    def probabilities(self) -> Tensor:
        """[S, K] tilted to meet the budgets."""
        return self.table.tilt(self._scores(self.logits), 1.0).sum(1)


class GumbelSoftmax(_Learned):
    """Draws every slot on its own, budget or not, with a penalty on the expected overspending (the DNAS habit).

    For comparison: its draws may break the budget; the allocation it ends with does not.
    """

    keeps = False

    def draw(self, temperature: float) -> Draw:
        """An allocation that may cost more than the budget."""
        scores_SK = self._scores(self.even(self.logits))
        noisy_SK = scores_SK + gumbel(scores_SK.shape, self.generator).to(scores_SK)
        relaxed_SK = None if self.held else torch.softmax(noisy_SK / temperature, dim=1)
        return Draw(noisy_SK.detach().argmax(1).cpu().numpy(), relaxed_SK)

    def probabilities(self) -> Tensor:
        """[S, K] softmax of the logits."""
        return torch.softmax(self._scores(self.logits), dim=1)

    def penalty(self) -> Tensor:
        """Expected overspending, in parts of the limits."""
        return torch.relu(self.expected_cost() - 1).sum()
