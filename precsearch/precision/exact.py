"""The best allocation under the budgets, exactly: for the answer that a search ends with.

Legend: S slots, K candidates, H candidates of a slot's hub, C constraints, P partial allocations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from precsearch.precision.dual import find_multipliers
from precsearch.precision.problem import Floats, Ints, Problem
from precsearch.precision.relaxation import relax
from precsearch.precision.solver import fill_slack, maximize

_MOST = 50_000
_MOST_COUPLED = 4_000  # several constraints know no dominance that would keep the partial allocations few
_CLOSE = 1e-9  # of the scores: allocations closer than that are equally good
_COLD = 0.02  # temperature at which the dual's multipliers are nearly those of the best allocation


def solve_exactly(scores_SK: Floats, problem: Problem) -> Ints:
    """The candidates of highest total score within the budgets, with slack filled.

    Args:
        scores_SK: -inf where there is no candidate.
        problem: whose `feasible` keeps every limit.

    Returns:
        [S] candidates that keep every limit.
    """
    return fill_slack(best_choice(scores_SK, problem), scores_SK, problem)


def best_choice(scores_SK: Floats, problem: Problem) -> Ints:
    """[S] candidates of highest total score within the budgets; slack may be left where more bits score less."""
    best, tight = maximize(scores_SK, problem), problem.tight
    if not len(tight.limits):
        return best
    multipliers = _multipliers(scores_SK, tight)
    for group in np.unique(tight.group):
        rows = np.flatnonzero(tight.group == group)
        slots = np.flatnonzero(tight.spends[rows].any(0))
        improved = best.copy()
        if len(slots):
            improved[slots] = _Search(scores_SK, tight, rows, slots, multipliers[rows]).run(best)
        if problem.keeps_budget(improved):  # sums of fractional costs may round up
            best = improved
    return best


def _multipliers(scores_SK: Floats, tight: Problem) -> Floats:
    """[C] multipliers for the bound: those of the relaxation or, where tighter, those of a cold distribution."""
    _, relaxed = relax(scores_SK, tight)
    if tight.separable:
        return relaxed
    spread = np.ptp(np.where(tight.candidates, scores_SK, scores_SK.max(1, keepdims=True)))
    temperature = _COLD * max(float(spread), 1e-12)
    cold = np.maximum(find_multipliers(scores_SK / temperature, tight), 0) * temperature / tight.scale

    def bound(multiplier: Floats) -> float:
        value = scores_SK[:, None, :] - np.tensordot(multiplier, tight.cost, 1)
        best = tight.best(value)
        return tight.total(scores_SK, best) + float(multiplier @ (tight.limits - tight.spent(best)))

    return min(relaxed, cold, key=bound)


@dataclass
class _Partial:
    """Partial allocations: what they spend [P, C] and score [P], and the candidate of the hub that is open [P]."""

    cost: Floats
    score: Floats
    hub: Ints


class _Search:
    """Branch and bound over the slots of one group of constraints, star by star.

    Partial allocations are extended slot by slot, a hub before its leaves. One is dropped when it leaves too little
    for the cheapest rest, when the Lagrangian bound on all that it may become, which holds at any multipliers from
    0, does not exceed the known score, or, under a single constraint, when another costs no more and scores no less
    (Nemhauser and Ullmann 1969). Beyond `_MOST`, which only thousands of near ties reach, or under several
    constraints `_MOST_COUPLED`, the least promising are dropped as well.
    """

    def __init__(
        self, scores_SK: Floats, problem: Problem, constraints: Ints, slots: Ints, multiplier_C: Floats
    ) -> None:
        self.scores, self.hub, self.multiplier = scores_SK, problem.hub, multiplier_C
        self.limits = problem.limits[constraints]
        self.single = len(constraints) == 1
        self.cost = problem.cost[constraints]
        self.slots = slots
        self.worth = scores_SK[:, None, :] - np.tensordot(multiplier_C, self.cost, 1)
        dear = np.where(problem.candidates[:, None, :], self.cost, np.inf)
        self._plan(problem, dear)

    def _plan(self, problem: Problem, dear: Floats) -> None:
        """Set the order of the slots.

        With it, after each slot and for each candidate of an open hub, what the rest is worth at most (`ahead`, [H])
        and spends at least (`least`, [C, H]).
        """
        center = problem.center[self.slots]
        # Stars of large differences first: the small ones then have less to try.
        size = {int(s): float(np.ptp(self.cost[:, self.slots[center == s]], axis=(1, 2, 3)).max()) for s in set(center)}
        self.order: list[int] = []
        self.ahead: list[Floats] = []
        self.least: list[Floats] = []
        worth, least = 0.0, np.zeros(len(self.limits))
        for root in sorted(size, key=lambda s: size[s]):  # from the last to the first
            leaves = [int(s) for s in self.slots[center == root] if s != root]
            ahead_H, least_CH = np.full(len(problem.bits), worth), np.repeat(least[:, None], len(problem.bits), 1)
            for leaf in reversed(leaves):
                self._put(leaf, ahead_H, least_CH)
                ahead_H = ahead_H + self.worth[leaf].max(1)
                least_CH = least_CH + dear[:, leaf].min(2)
            self._put(root, ahead_H, least_CH)
            worth = float((self.worth[root, 0] + ahead_H).max())
            least = (dear[:, root, 0] + least_CH).min(1)

    def _put(self, slot: int, ahead_H: Floats, least_CH: Floats) -> None:
        self.order.insert(0, slot)
        self.ahead.insert(0, ahead_H)
        self.least.insert(0, least_CH)

    def run(self, known: Ints) -> Ints:
        """[S] the best candidates -> those of the group's slots; `known`'s where none score more."""
        known_score = self.scores[self.slots, known[self.slots]]
        spare = float(self.multiplier @ self.limits) - known_score.sum()
        self.rounding = _CLOSE * np.abs(known_score).sum() + 1e-14 * float(self.multiplier @ self.limits)
        partial = _Partial(np.zeros((1, len(self.limits))), np.zeros(1), np.zeros(1, dtype=np.int64))
        steps: list[tuple[Ints, Ints]] = []
        for i, slot in enumerate(self.order):
            partial, parents, candidates = self._extend(partial, i, slot, spare)
            if not len(parents):
                return known[self.slots]
            steps.append((parents, candidates))
        p = int(partial.score.argmax())
        if partial.score[p] <= known_score.sum():
            return known[self.slots]
        best = known.copy()
        for slot, (parents, candidates) in zip(reversed(self.order), reversed(steps), strict=True):
            best[slot], p = candidates[p], parents[p]
        return best[self.slots]

    def _extend(self, partial: _Partial, i: int, slot: int, spare: float) -> tuple[_Partial, Ints, Ints]:
        """Every partial allocation with every candidate of the next slot, thinned."""
        count = self.scores.shape[1]
        leaf = self.hub[slot] < len(self.hub)
        table_CPK = self.cost[:, slot, partial.hub if leaf else np.zeros_like(partial.hub)]
        cost = (partial.cost[:, None, :] + np.moveaxis(table_CPK, 0, 2)).reshape(-1, len(self.limits))
        score = (partial.score[:, None] + self.scores[slot]).ravel()
        candidate = np.tile(np.arange(count), len(partial.score))
        hub = np.repeat(partial.hub, count) if leaf else candidate
        fits = (cost + self.least[i][:, hub].T <= self.limits).all(1)
        more = score - cost @ self.multiplier + self.ahead[i][hub] + spare
        kept = np.flatnonzero(fits & (more > self.rounding))
        most = _MOST if self.single else _MOST_COUPLED
        if len(kept) > most:
            self.rounding = max(self.rounding, float(np.partition(more[kept], -most)[-most]))
            kept = kept[more[kept] > self.rounding]
        closed = i + 1 == len(self.order) or self.hub[self.order[i + 1]] == len(self.hub)
        if closed:
            hub = np.zeros_like(hub)
        if self.single:
            kept = _undominated(kept, cost[:, 0], score, hub)
        return _Partial(cost[kept], score[kept], hub[kept]), kept // count, candidate[kept]


def _undominated(kept: Ints, cost: Floats, score: Floats, hub: Ints) -> Ints:
    """Those of `kept` that score more than every one that costs no more, with the same open hub."""
    parts = []
    for h in np.unique(hub[kept]):
        own = kept[hub[kept] == h]
        own = own[np.lexsort((-score[own], cost[own]))]
        parts.append(own[np.append(True, np.diff(np.maximum.accumulate(score[own])) > 0)])
    return np.concatenate(parts) if parts else kept
