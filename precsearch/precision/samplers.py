"""Samplers: how an allocation is drawn for one step, and which one a search ends with. One class each.

Legend: S slots, K candidates, U units, O options of a unit, T bits handed out; suffixes say the shape.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from precsearch.precision.distribution import OptionTable, gumbel
from precsearch.precision.problem import Flags, Floats, Ints, Problem
from precsearch.precision.solver import best_uniform, fill_slack, maximize, solve_exactly

Priority = Callable[[int, Ints], Floats]


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


class _Learned(Sampler):
    """A sampler with a logit for each slot's candidates.

    Attributes:
        logits: [S, K], zeros at the start.
    """

    def __init__(self, problem: Problem, generator: torch.Generator) -> None:
        super().__init__(problem, generator)
        self.table = OptionTable(problem)
        self.logits = nn.Parameter(torch.zeros(len(problem.slots), len(problem.bits)))

    def _numpy_scores(self) -> Floats:
        return self.problem.option_scores(self.logits.detach().double().cpu().numpy())

    def solve(self) -> Ints:
        """The allocation of highest total logit under the budget, by mixed-integer programming, slack filled."""
        return self.problem.slot_candidates(solve_exactly(self._numpy_scores(), self.problem))

    def expected_cost(self) -> Tensor:
        """[C] expected cost of the untilted distribution, as parts of the limits."""
        return self.table.expected_cost(torch.softmax(self.table.scores(self.logits), dim=1))


class PerturbAndMap(_Learned):
    """Adds Gumbel noise to every option's logit and takes the best allocation under the budget.

    Perturb-and-MAP (Papandreou and Yuille 2011) over the knapsack; the relaxed sample is the softmax of the
    same perturbed logits, tilted by the multiplier that meets the budget in expectation. Every draw keeps the budget.
    """

    def draw(self, temperature: float) -> Draw:
        """An allocation that keeps the budget."""
        scores_UO = self.table.scores(self.logits)
        noisy_UO = scores_UO + gumbel(scores_UO.shape, self.generator).to(scores_UO)
        perturbed = noisy_UO.detach().double().cpu().numpy()
        options = fill_slack(maximize(perturbed, self.problem), perturbed, self.problem)
        relaxed = self.table.marginals(self.table.tilt(noisy_UO, temperature))
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
        noisy_SK = self.logits + gumbel(self.logits.shape, self.generator).to(self.logits)
        return Draw(noisy_SK.detach().argmax(1).cpu().numpy(), torch.softmax(noisy_SK / temperature, dim=1))

    def probabilities(self) -> Tensor:
        """[S, K] softmax of the logits."""
        return torch.softmax(self.logits, dim=1)

    def penalty(self) -> Tensor:
        """Expected overspending, in parts of the limits."""
        return torch.relu(self.expected_cost() - 1).sum()


class Multinomial(Sampler):
    """Hands the budget's bits out one by one, each to a slot drawn by Gumbel-softmax; after Lacey et al. 2018.

    Every slot starts at the fewest bits; a drawn slot moves to its next candidate; slots whose next candidate no
    longer fits take no further part, and the draw ends when none does. So every draw keeps the budget, and with
    consecutive candidates it spends all of it. The paper's own equations are not available to us; this is our
    reconstruction of its idea.

    Attributes:
        logits: [S], one a slot, zeros at the start.
    """

    def __init__(self, problem: Problem, generator: torch.Generator) -> None:
        super().__init__(problem, generator)
        self.table = OptionTable(problem)
        self.logits = nn.Parameter(torch.zeros(len(problem.slots)))

    def draw(self, temperature: float) -> Draw:
        """An allocation that keeps the budget."""
        top = len(self.problem.slots) * (len(self.problem.bits) - 1)
        noise_TS = gumbel((top, len(self.problem.slots)), self.generator)
        noisy = noise_TS.double().numpy() + self.logits.detach().double().cpu().numpy()
        candidates, eligible_TS = self._hand_out(lambda t, _: noisy[t])
        relaxed_SK = self._relax(candidates, eligible_TS, noise_TS, temperature)
        return Draw(candidates, relaxed_SK)

    def solve(self) -> Ints:
        """Hands each bit to the slot that lags furthest behind its expected share."""
        return self._expected()[0]

    def _expected(self) -> tuple[Ints, Flags]:
        share = torch.softmax(self.logits.detach().double(), dim=0).cpu().numpy()
        return self._hand_out(lambda t, given: share * (t + 1) - given)

    def probabilities(self) -> Tensor:
        """[S, K] around each slot's candidate, spread to its neighbours by the expected number of bits handed out."""
        candidates, eligible_TS = self._expected()
        return self._relax(candidates, eligible_TS, torch.zeros(eligible_TS.shape), 1.0).clamp(0, 1)

    def expected_cost(self) -> Tensor:
        """[C] the limits are spent by construction."""
        return self.logits.new_ones(len(self.problem.limits))

    def _hand_out(self, priority: Priority) -> tuple[Ints, Flags]:
        """Raise the eligible slot of highest ``priority(t, given)`` until none is left.

        Returns:
            [S] candidates, and which slots could be raised at each turn, [T, S].
        """
        options = self.problem.options_of([0] * len(self.problem.slots))
        given = np.zeros(len(self.problem.slots), dtype=np.int64)
        turns: list[Flags] = []
        while True:
            raised, fits = self.problem.raised(options)
            if not fits.any():
                return given, np.array(turns, dtype=bool).reshape(len(turns), len(given))
            slot = int(np.where(fits, priority(len(turns), given), -np.inf).argmax())
            turns.append(fits)
            options[self.problem.unit_of[slot]] = raised[slot]
            given[slot] += 1

    def _relax(
        self,
        candidates: Ints,
        eligible_TS: np.ndarray,
        noise_TS: Tensor,
        temperature: float,  # type: ignore[type-arg]
    ) -> Tensor:
        """[S, K]: one-hot at the drawn candidate, sloping to its neighbours with the relaxed number of bits."""
        eligible = torch.from_numpy(eligible_TS).to(self.logits.device)
        noisy = self.logits + noise_TS[: len(eligible)].to(self.logits)
        taken_S = torch.softmax(noisy.masked_fill(~eligible, -1e9) / temperature, dim=1).sum(0)
        drawn = torch.from_numpy(candidates).to(self.logits.device)
        last = len(self.problem.bits) - 1
        one_hot = nn.functional.one_hot(drawn, last + 1).to(self.logits)
        slope = nn.functional.one_hot((drawn + 1).clamp_max(last), last + 1).to(self.logits)
        slope = (slope - nn.functional.one_hot((drawn - 1).clamp_min(0), last + 1).to(self.logits)) / 2
        return one_hot + slope * (taken_S - taken_S.detach()).unsqueeze(1)


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

    def solve(self) -> Ints:
        """The allocation."""
        return np.asarray(self.candidates.cpu().numpy())

    def probabilities(self) -> Tensor:
        """[S, K] one-hot."""
        return nn.functional.one_hot(self.candidates, len(self.problem.bits)).float()

    def expected_cost(self) -> Tensor:
        """[C] of the allocation, as parts of the limits."""
        spent = self.problem.spent(self.problem.options_of(self.solve()))
        return torch.from_numpy(spent / self.problem.limits).float()


class Uniform(_Constant):
    """The most bits that every slot can have alike within the budget."""

    def __init__(self, problem: Problem, generator: torch.Generator) -> None:
        super().__init__(problem, generator, problem.slot_candidates(best_uniform(problem)))


class Random(_Constant):
    """One allocation drawn at random under the budget, slack filled: what a search must beat."""

    def __init__(self, problem: Problem, generator: torch.Generator) -> None:
        noise = gumbel(problem.cost.shape, generator).double().numpy()
        scores = np.where(problem.valid, noise, -np.inf)
        options = fill_slack(maximize(scores, problem), scores, problem)
        super().__init__(problem, generator, problem.slot_candidates(options))


class Fixed(_Constant):
    """An allocation given by the user; see `SearchableModel`."""


SAMPLERS: dict[str, type[Sampler]] = {
    "perturb-and-map": PerturbAndMap,
    "multinomial": Multinomial,
    "gumbel-softmax": GumbelSoftmax,
    "uniform": Uniform,
    "random": Random,
    "fixed": Fixed,
}
