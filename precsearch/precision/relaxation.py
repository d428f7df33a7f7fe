"""Lagrangian relaxation: the multipliers at which every slot's own best choice keeps the budgets.

Legend: S slots, K candidates, H candidates of a slot's hub, C constraints.
"""

from __future__ import annotations

import numpy as np

from precsearch.precision.problem import Flags, Floats, Ints, Problem

_BISECTIONS = 30
_LOWERINGS = 10
_GROWTH = 60
_REPAIRS = 1000


def relax(scores_SK: Floats, problem: Problem) -> tuple[Ints, Floats]:
    """Candidates that are each best in ``score - multiplier * cost``, at multipliers that keep the limits.

    Args:
        scores_SK: -inf where there is no candidate.
        problem: all of whose constraints can be broken (`Problem.tight`).

    Returns:
        [S] candidates that keep every limit, and [C] multipliers.
    """
    if not problem.separable:
        return _relax_coupled(scores_SK, problem)
    return _relax_separable(scores_SK, problem) if len(problem.leaves) else _relax_alone(scores_SK, problem)


def _relax_alone(scores_SK: Floats, problem: Problem) -> tuple[Ints, Floats]:
    """No slot's price depends on another: what is best changes only at slopes between two candidates of a slot.

    So the sorted slopes are searched, not the multipliers: few evaluations, and none within a tie.
    """
    count = len(problem.limits)
    best = problem.best(scores_SK[:, None, :])
    over = problem.spent(best) > problem.limits
    if not over.any():
        return best, np.zeros(count)
    owner, price = problem.owner, problem.own_price[:, 0]
    between = [_between(slopes) for slopes in _slopes(scores_SK, price, owner, count)]
    length = np.array([len(each) for each in between])
    table = np.zeros((count, max(1, int(length.max()))))
    for c, each in enumerate(between):
        table[c, : len(each)] = each
    # Broken at `low`, kept at `high`; a constraint that nothing breaks stays at a multiplier of 0.
    low, high, each_C = np.full(count, -1), length - 1, np.arange(count)
    while (unsure := over & (high - low > 1)).any():
        middle = np.where(unsure, (low + high) // 2, high)
        tried = np.where(over, table[each_C, middle], 0.0)
        kept = problem.spent(problem.best((scores_SK - tried[owner, None] * price)[:, None, :])) <= problem.limits
        high, low = np.where(unsure & kept, middle, high), np.where(unsure & ~kept, middle, low)
    multiplier = np.where(over, table[each_C, high], 0.0)
    best = problem.best((scores_SK - multiplier[owner, None] * price)[:, None, :])
    return best, multiplier / problem.scale


def _slopes(scores_SK: Floats, price_SK: Floats, owner: Ints, count: int) -> list[Floats]:
    """For each constraint the multipliers at which one candidate of a slot draws level with a dearer one, ascending."""
    lower, upper = np.triu_indices(scores_SK.shape[1], 1)
    rise = price_SK[:, upper] - price_SK[:, lower]
    with np.errstate(invalid="ignore"):  # scores of what is no candidate are -inf
        gain = scores_SK[:, upper] - scores_SK[:, lower]
        used = (rise != 0) & np.isfinite(gain) & (gain * rise >= 0)
    slope = np.divide(gain, rise, out=np.zeros_like(gain), where=used)
    return [np.unique(slope[used & (owner == c)[:, None]]) for c in range(count)]


def _between(slopes: Floats) -> Floats:
    """A multiplier above each of these, and below the next."""
    return np.append((slopes[:-1] + slopes[1:]) / 2, np.where(slopes[-1:] > 0, slopes[-1:] * 2, 1.0))


def _relax_separable(scores_SK: Floats, problem: Problem) -> tuple[Ints, Floats]:
    """Every constraint has slots of its own: one bisection for each, all at once."""
    count = len(problem.limits)
    if not count:
        return problem.best(scores_SK[:, None, :]), np.zeros(0)
    owner, price = problem.owner, problem.own_price
    score = scores_SK[:, None, :]
    options = problem.best(score)
    over = problem.spent(options) > problem.limits
    low, high = np.zeros(count), np.where(over, 1.0, 0.0)
    if not over.any():
        return options, high
    best = problem.feasible
    for _ in range(_GROWTH):
        options = problem.best(score - high[owner, None, None] * price)
        over = problem.spent(options) > problem.limits
        if not over.any():
            best = options
            break
        low, high = np.where(over, high, low), np.where(over, high * 4, high)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        options = problem.best(score - middle[owner, None, None] * price)
        kept = problem.spent(options) <= problem.limits
        high, low = np.where(kept, middle, high), np.where(kept, low, middle)
        best = np.where(kept[owner], options, best)
    return best, high / problem.scale


def _relax_coupled(scores_SK: Floats, problem: Problem) -> tuple[Ints, Floats]:
    """Raises the multipliers of what is broken together, then lowers each as far as all limits stay kept."""
    found = _Multipliers(scores_SK, problem)
    weight = np.where(found.kept, 0.0, 1.0)
    if found.kept.all():
        return found.best, weight
    if not found.grow(weight):
        return repair(found.best, scores_SK, problem), found.high * weight / problem.scale
    low, high = 0.0, found.high
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if found.keeps(middle * weight) else (middle, high)
    multiplier = high * weight
    for c in np.flatnonzero(weight):
        low, high = 0.0, float(multiplier[c])
        for turn in range(_LOWERINGS):
            multiplier[c] = (low + high) / 2 if turn else 0.0
            if found.keeps(multiplier):
                high = float(multiplier[c])
                if not turn:
                    break
            else:
                low = float(multiplier[c])
        multiplier[c] = high
    return found.best, multiplier / problem.scale


class _Multipliers:
    """What multipliers do, and the last allocation that kept every limit."""

    def __init__(self, scores_SK: Floats, problem: Problem) -> None:
        self.score, self.problem = scores_SK[:, None, :], problem
        self.flat = problem.price.reshape(len(problem.limits), -1)
        self.high = 1.0
        self.kept: Flags = np.zeros(len(problem.limits), dtype=bool)
        self.keeps(np.zeros(len(problem.limits)))

    def keeps(self, multiplier: Floats) -> bool:
        """Whether every slot's own best choice keeps every limit at these multipliers."""
        reduced = self.score - (multiplier @ self.flat).reshape(self.problem.price.shape[1:])
        options = self.problem.best(reduced)
        self.kept = self.problem.spent(options) <= self.problem.limits
        if self.kept.all() or not hasattr(self, "best"):
            self.best = options
        return bool(self.kept.all())

    def grow(self, weight: Floats) -> bool:
        """Raise the common factor of `weight` until every limit is kept; what breaks on the way joins in."""
        for _ in range(_GROWTH):
            if self.keeps(self.high * weight):
                return True
            weight[~self.kept] = 1.0
            self.high *= 4
        return False


def repair(chosen: Ints, scores_SK: Floats, problem: Problem) -> Ints:
    """Move slot by slot towards the limits, at the least loss of score; `problem.feasible` where that gets stuck.

    Args:
        chosen: [S] candidates that may break limits.
        scores_SK: -inf where there is no candidate.
        problem: any.

    Returns:
        [S] candidates that keep every limit, if `problem.feasible` does.
    """
    chosen, each = chosen.copy(), np.arange(len(chosen))
    for _ in range(_REPAIRS):
        over = problem.spent(chosen) - problem.limits
        if (over <= 0).all():
            return chosen
        after = np.maximum(over[:, None, None] + problem.extra(chosen), 0) / problem.scale[:, None, None]
        helped = (np.maximum(over, 0) / problem.scale).sum() - after.sum(0)
        lost = np.maximum(scores_SK[each, chosen][:, None] - scores_SK, 1e-12)
        worth = np.where((helped > 1e-15) & problem.candidates, helped / lost, -np.inf)  # noqa: PLR2004 -- rounding
        s, k = np.unravel_index(int(worth.argmax()), worth.shape)
        if worth[s, k] == -np.inf:
            break
        chosen[s] = k
    return problem.feasible.copy()
