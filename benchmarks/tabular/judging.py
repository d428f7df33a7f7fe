"""What allocations are worth: regret under a budget, and hypervolume of a set, told from the table.

An allocation's value is its mean loss over seeds that no search had. The lowest of many noisy means is biased low, so
there is a second verdict, "cross-fitted": the best is chosen with half of the seeds and judged with the others.

Legend: S seeds, A allocations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import sqrt

import moocore  # type: ignore[import-untyped]
import numpy as np

from benchmarks.tabular.table import JUDGES, Floats, Table

HALVES = JUDGES[::2], JUDGES[1::2]

Answer = Callable[[float], int]
"""Limit -> number of an allocation within it."""


class Judge:
    """Judges with some of the table's seeds.

    Args:
        table: filled.
        seeds: whose mean counts.

    Attributes:
        mean: value of each allocation, [A].
        front: allocations that none beats in loss and cost, by cost.
        reference: (cost, loss) where hypervolumes begin: the front's largest of both.
    """

    def __init__(self, table: Table, seeds: tuple[int, ...] = JUDGES) -> None:
        self.seeds = seeds
        self.cost = table.cost
        self.losses = table.losses(seeds)
        self.mean: Floats = self.losses.mean(0)
        self.front = nondominated(self.cost, self.mean)
        self._best = answer(self.mean, self.cost, range(len(self.cost)))
        self.reference = self.cost[self.front].max(), self.mean[self.front].max()

    def best(self, limit: float) -> int:
        """The allocation of least mean loss within the limit."""
        return self._best(limit)

    def regret(self, number: int, limit: float) -> float:
        """How much higher an allocation's mean loss is than that of the best within the limit."""
        return float(self.mean[number] - self.mean[self.best(limit)])

    def error(self, limit: float) -> float:
        """Standard error of a mean, pooled over the allocations within the limit."""
        inside = self.cost <= limit + 1e-9
        return float(sqrt(self.losses[:, inside].var(0, ddof=1).mean() / len(self.seeds)))

    def volume(self, numbers: Iterable[int]) -> float:
        """Hypervolume of a set, as a part of the front's."""
        own = self._volume(list(numbers))
        return own / self._volume(self.front)

    def answered(self, ask: Answer) -> float:
        """The volume of the answers as given: at every limit the one answer counts, not the best cheaper one."""
        costs = np.unique(self.cost)
        costs = costs[costs <= self.reference[0]]
        heights = [max(0.0, self.reference[1] - self.mean[ask(cost)]) for cost in costs[:-1]]
        return float(np.dot(heights, np.diff(costs))) / self._volume(self.front)

    def _volume(self, numbers: list[int]) -> float:
        points = np.column_stack([self.cost[numbers], self.mean[numbers]])
        return float(moocore.hypervolume(points, ref=list(self.reference)))


class CrossFitted:
    """Judges with each half of the seeds what the other half takes for the best."""

    def __init__(self, table: Table) -> None:
        self.halves = [Judge(table, seeds) for seeds in HALVES]

    def differences(self, number: int, limit: float) -> Floats:
        """[S] how much higher an allocation's loss is than that of the other half's best, seed by seed."""
        return np.concatenate(
            [
                judge.losses[:, number] - judge.losses[:, other.best(limit)]
                for judge, other in zip(self.halves, self.halves[::-1], strict=True)
            ]
        )

    def among_best(self, number: int, limit: float) -> bool:
        """Whether the mean difference is within one standard error of itself."""
        differences = self.differences(number, limit)
        return bool(differences.mean() <= differences.std(ddof=1) / sqrt(len(differences)) + 1e-12)

    def volume(self, numbers: Iterable[int]) -> float:
        """Hypervolume of a set, as a part of that of the other half's front; it may exceed 1."""
        numbers = list(numbers)
        parts = [
            judge.volume(numbers) / judge.volume(other.front)
            for judge, other in zip(self.halves, self.halves[::-1], strict=True)
        ]
        return float(np.mean(parts))


def nondominated(cost: Floats, loss: Floats) -> list[int]:
    """Numbers of what is not beaten in both, by cost."""
    kept = np.flatnonzero(moocore.is_nondominated(np.column_stack([cost, loss])))
    return [int(number) for number in kept[np.argsort(cost[kept])]]


def answer(seen: Floats, cost: Floats, numbers: Iterable[int]) -> Answer:
    """Who was shown the losses of some allocations takes the lowest within the limit; the cheapest where none is."""
    own = np.array([*numbers, int(cost.argmin())])  # the fewest bits everywhere need no search
    own = own[np.argsort(cost[own], kind="stable")]
    costs, lowest = cost[own], [own[0]]
    for number in own[1:]:
        lowest.append(number if seen[number] < seen[lowest[-1]] else lowest[-1])

    def ask(limit: float) -> int:
        return int(lowest[max(0, int(np.searchsorted(costs, limit + 1e-9, side="right")) - 1)])

    return ask
