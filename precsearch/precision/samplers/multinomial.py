"""The sampler after Lacey et al. 2018: bits handed out one by one.

Legend: S slots, K candidates, T bits handed out; suffixes say the shape.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from precsearch.precision.distribution import gumbel
from precsearch.precision.problem import Flags, Floats, Ints, Problem
from precsearch.precision.ranged import Ranged
from precsearch.precision.samplers.base import Draw, EvenGradient, Sampler

Priority = Callable[[int, Ints], Floats]


class Multinomial(Sampler):
    """Hands the budget's bits out one by one, each to a slot drawn by Gumbel-softmax; after Lacey et al. 2018.

    Every slot starts at the fewest bits; a drawn slot moves to its next candidate; slots whose next candidates no
    longer fit take no further part, and the draw ends when none does. So every draw keeps the budget, and with
    consecutive candidates it spends all of it. The paper's own equations are not available to us; this is our
    reconstruction of its idea.

    Attributes:
        logits: [S], one a slot, zeros at the start.
    """

    absent_SK: Tensor
    rank_SK: Tensor
    above_SK: Tensor
    below_SK: Tensor

    def __init__(self, problem: Problem, generator: torch.Generator, ranged: Ranged | None = None) -> None:
        super().__init__(problem, generator, ranged)
        self.logits = nn.Parameter(torch.zeros(len(problem.slots)))
        rank = np.where(problem.candidates, problem.candidates.cumsum(1) - 1, 0)
        for name, table in {
            "absent_SK": ~problem.candidates,
            "rank_SK": rank,
            "above_SK": _neighbour(problem.candidates),
            "below_SK": problem.candidates.shape[1] - 1 - _neighbour(problem.candidates[:, ::-1])[:, ::-1],
        }.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(table)), persistent=False)
        self.even = EvenGradient()

    def draw(self, temperature: float) -> Draw:
        """An allocation that keeps the budget."""
        problem = self.limited()
        top = len(self.problem.slots) * (len(self.problem.bits) - 1)  # turns at most
        noise_TS = gumbel((top, len(self.problem.slots)), self.generator)
        noisy = noise_TS.double().numpy() + self.logits.detach().double().cpu().numpy()
        candidates, eligible_TS = self._hand_out(lambda t, _: noisy[t], problem)
        relaxed_SK = None if self.held else self._relax(candidates, eligible_TS, noise_TS, temperature)
        return Draw(candidates, relaxed_SK)

    def solve(self, problem: Problem | None = None) -> Ints:
        """Hands each bit to the slot that lags furthest behind its expected share."""
        return self._expected(self.problem if problem is None else problem)[0]

    def _expected(self, problem: Problem) -> tuple[Ints, Flags]:
        share = torch.softmax(self.logits.detach().double(), dim=0).cpu().numpy()
        return self._hand_out(lambda t, given: share * (t + 1) - given, problem)

    def probabilities(self) -> Tensor:
        """[S, K] binomial around each slot's expected candidate."""
        _, eligible_TS = self._expected(self.problem)
        most_S1 = self.rank_SK.amax(1, keepdim=True)
        taken_S = self._taken(self.logits, eligible_TS, torch.zeros(eligible_TS.shape), 1.0)
        rate_S1 = (taken_S.unsqueeze(1) / most_S1.clamp_min(1)).clamp(1e-4, 1 - 1e-4)
        ways = torch.lgamma(most_S1 + 1.0) - torch.lgamma(self.rank_SK + 1.0)
        ways = (ways - torch.lgamma(most_S1 - self.rank_SK + 1.0)).exp()
        binomial = ways * rate_S1**self.rank_SK * (1 - rate_S1) ** (most_S1 - self.rank_SK)
        return binomial.masked_fill(self.absent_SK, 0.0)

    def expected_cost(self) -> Tensor:
        """[C] the limits are spent by construction."""
        return self.logits.new_ones(len(self.problem.limits))

    def _hand_out(self, priority: Priority, problem: Problem) -> tuple[Ints, Flags]:
        """Raise the eligible slot of highest ``priority(t, given)`` until none is left.

        Returns:
            [S] candidates, and which slots could be raised at each turn, [T, S].
        """
        chosen = problem.start.copy()
        given = np.zeros(len(problem.slots), dtype=np.int64)
        turns: list[Flags] = []
        while True:
            raised, fits = problem.raised(chosen)
            if not fits.any():
                return chosen, np.array(turns, dtype=bool).reshape(len(turns), len(given))
            slot = int(np.where(fits, priority(len(turns), given), -np.inf).argmax())
            turns.append(fits)
            chosen[slot] = raised[slot]
            given[slot] += 1

    def _taken(self, logits: Tensor, eligible_TS: Flags, noise_TS: Tensor, temperature: float) -> Tensor:
        """[S] relaxed number of bits handed to each slot."""
        eligible = torch.from_numpy(eligible_TS).to(logits.device)
        noisy = logits + noise_TS[: len(eligible)].to(logits)
        return torch.softmax(noisy.masked_fill(~eligible, -1e9) / temperature, dim=1).sum(0)

    def _relax(self, candidates: Ints, eligible_TS: Flags, noise_TS: Tensor, temperature: float) -> Tensor:
        """[S, K]: one-hot at the drawn candidate, sloping to its neighbours with the relaxed number of bits."""
        taken_S = self._taken(self.even(self.logits), eligible_TS, noise_TS, temperature)
        drawn = torch.from_numpy(candidates).to(self.logits.device).unsqueeze(1)
        count = len(self.problem.bits)
        above, below = self.above_SK.gather(1, drawn)[:, 0], self.below_SK.gather(1, drawn)[:, 0]
        one_hot = nn.functional.one_hot(drawn[:, 0], count).to(self.logits)
        slope = nn.functional.one_hot(above, count).to(self.logits)
        slope = (slope - nn.functional.one_hot(below, count).to(self.logits)) / 2
        return one_hot + slope * (taken_S - taken_S.detach()).unsqueeze(1)


def _neighbour(candidates_SK: Flags) -> Ints:
    """[S, K] the slot's next candidate above each place; the place itself where there is none."""
    count = candidates_SK.shape[1]
    next_SK = np.tile(np.arange(count), (len(candidates_SK), 1))
    for k in range(count - 2, -1, -1):
        above = np.where(candidates_SK[:, k + 1], k + 1, next_SK[:, k + 1])
        next_SK[:, k] = np.where(candidates_SK[np.arange(len(above)), above], above, k)
    return next_SK
