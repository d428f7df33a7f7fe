"""The best allocation under the budget: fast and feasible for every draw, exact for the final answer.

Legend: U units, O options of a unit, C constraints, P partial allocations.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from precsearch.precision.problem import Flags, Floats, Ints, Problem

_BISECTIONS = 30
_GROWTH = 60
_MOST = 50_000
_CLOSE = 1e-9  # of the scores: allocations closer than that are equally good


def maximize(scores: Floats, problem: Problem) -> Ints:
    """Options of high total score within the budget, in well under a millisecond.

    Lagrangian bisection: each unit takes its best option of ``score - multiplier * cost``, with the smallest
    multiplier that keeps the limit; what is left over is then spent where it raises the score most for its cost.

    Args:
        scores: [U, O], -inf where there is no option.
        problem: a problem whose cheapest allocation keeps the budget.

    Returns:
        [U] options that keep every limit.
    """
    unit = np.arange(problem.units)
    best, _ = _relax(scores, problem)

    def worth(current: Ints, extra: Floats) -> Floats:
        gained = scores - scores[unit, current][:, None]
        return np.where(gained > 0, _rate(gained, extra), -np.inf)

    return _spend(best, problem, worth)


def _relax(scores: Floats, problem: Problem) -> tuple[Ints, Floats]:
    """Options that are each best in ``score - multiplier * cost``, at the smallest multipliers that keep the limits.

    Returns:
        [U] options and [C] multipliers.
    """
    scale = np.maximum(problem.limits, 1e-300)
    price = problem.cost / scale[problem.constraint, None]
    options: Ints = scores.argmax(1).astype(np.int64)
    over = problem.spent(options) > problem.limits
    low, high = np.zeros(len(scale)), np.where(over, 1.0, 0.0)
    if not over.any():
        return options, high
    best = problem.cheapest()
    for _ in range(_GROWTH):
        options = (scores - high[problem.constraint, None] * price).argmax(1)
        over = problem.spent(options) > problem.limits
        if not over.any():
            best = options
            break
        low, high = np.where(over, high, low), np.where(over, high * 4, high)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        options = (scores - middle[problem.constraint, None] * price).argmax(1)
        kept = problem.spent(options) <= problem.limits
        high, low = np.where(kept, middle, high), np.where(kept, low, middle)
        best = np.where(kept[problem.constraint], options, best)
    return best, high / scale


def fill_slack(options: Ints, scores: Floats, problem: Problem) -> Ints:
    """Spend what is left where another bit fits, by score, until none fits.

    Args:
        options: [U] options that keep the budget.
        scores: [U, O].
        problem: the budget.

    Returns:
        [U] options that keep the budget, none with fewer bits in any slot.
    """
    unit = np.arange(problem.units)
    # more_bits[o, o']: o' has no fewer bits than o anywhere, and more somewhere.
    candidates = problem.option_candidates
    difference = candidates[None] - candidates[:, None]
    more_bits: Flags = np.logical_and((difference >= 0).all(2), (difference > 0).any(2))

    def gain(current: Ints) -> Floats:
        gained = scores - scores[unit, current][:, None]
        return np.where(more_bits[current] & problem.valid, gained, -np.inf)

    return _spend(options, problem, lambda current, _: gain(current))


def _rate(gain: Floats, extra: Floats) -> Floats:
    """Gain for each unit of extra cost; a gain that costs nothing more comes first."""
    return np.where(extra > 0, gain / np.maximum(extra, 1e-300), np.inf)


def _spend(options: Ints, problem: Problem, worth_of: Callable[[Ints, Floats], Floats]) -> Ints:
    """Take the single change of most worth that fits, again and again."""
    unit = np.arange(problem.units)
    options = options.copy()
    while True:
        slack = (problem.limits - problem.spent(options))[problem.constraint, None]
        extra = problem.cost - problem.cost[unit, options][:, None]
        worth = np.where(extra <= slack, worth_of(options, extra), -np.inf)
        u, o = np.unravel_index(int(worth.argmax()), worth.shape)
        if worth[u, o] == -np.inf:
            return options
        before = options[u]
        options[u] = o
        if not problem.keeps_budget(options):  # sums of fractional costs may round up
            options[u] = before
            return options


def solve_exactly(scores: Floats, problem: Problem) -> Ints:
    """The options of highest total score within the budget, with slack filled.

    Args:
        scores: [U, O], -inf where there is no option.
        problem: a problem whose cheapest allocation keeps the budget.

    Returns:
        [U] options that keep every limit.
    """
    return fill_slack(best_options(scores, problem), scores, problem)


def best_options(scores: Floats, problem: Problem) -> Ints:
    """[U] the options of highest total score within the budget; slack may be left where more bits score less."""
    best = maximize(scores, problem)
    _, multipliers = _relax(scores, problem)
    for c, multiplier in enumerate(multipliers):
        own = np.flatnonzero(problem.constraint == c)
        own = own[np.argsort(-np.ptp(problem.cost[own], axis=1))]  # large ones first: small ones then have less to try
        cost = np.where(problem.valid[own], problem.cost[own], np.inf)
        improved = best.copy()
        improved[own] = _improve(best[own], scores[own], cost, float(problem.limits[c]), float(multiplier))
        if problem.keeps_budget(improved):  # sums of fractional costs may round up
            best = improved
    return best


def _improve(known: Ints, score_UO: Floats, cost_UO: Floats, limit: float, multiplier: float) -> Ints:
    """The best options of one constraint, or `known` where none scores more.

    Partial allocations are extended unit by unit. One is dropped when another costs no more and scores no less
    (Nemhauser and Ullmann 1969), when it leaves too little for the cheapest rest, or when the Lagrangian bound on
    all that it may become, which holds at any multiplier from 0, does not exceed the score of `known`. Beyond
    `_MOST`, which only thousands of near ties reach, the least promising are dropped as well.
    """
    unit = np.arange(len(known))
    worth_UO = score_UO - multiplier * np.where(np.isinf(cost_UO), 0, cost_UO)
    known_score = score_UO[unit, known].sum()
    ahead = _from_here(worth_UO.max(1)) + multiplier * limit - known_score
    least = _from_here(cost_UO.min(1))
    rounding = _CLOSE * np.abs(score_UO[unit, known]).sum() + 1e-14 * multiplier * limit
    cost_P, score_P = np.zeros(1), np.zeros(1)
    steps: list[tuple[Ints, Ints]] = []
    for u in unit:
        cost = (cost_P[:, None] + cost_UO[u]).ravel()
        score = (score_P[:, None] + score_UO[u]).ravel()
        kept = np.flatnonzero(cost + least[u + 1] <= limit)
        more = score[kept] - multiplier * cost[kept] + ahead[u + 1]
        if len(kept) > _MOST:
            rounding = max(rounding, float(np.partition(more, -_MOST)[-_MOST]))
        kept = kept[more > rounding]
        if not len(kept):
            return known
        kept = kept[np.lexsort((-score[kept], cost[kept]))]
        kept = kept[np.append(True, np.diff(np.maximum.accumulate(score[kept])) > 0)]
        cost_P, score_P = cost[kept], score[kept]
        steps.append(np.divmod(kept, score_UO.shape[1]))
    p = len(score_P) - 1  # scores rise with costs
    if score_P[p] <= known_score:
        return known
    best = known.copy()
    for u in unit[::-1]:
        parents, options = steps[u]
        p, best[u] = parents[p], options[p]
    return best


def _from_here(values: Floats) -> Floats:
    """[U] -> [U + 1] sums of the values from each place on."""
    sums: Floats = np.append(values[::-1].cumsum()[::-1], 0)
    return sums


def best_uniform(problem: Problem) -> Ints:
    """For each constraint, the most bits that all its slots can have alike -> [U] options; the fewest always fit."""
    best = problem.options_of([0] * len(problem.slots))
    for candidate in range(1, len(problem.bits)):
        options = problem.options_of([candidate] * len(problem.slots))
        kept = problem.spent(options) <= problem.limits
        best = np.where(kept[problem.constraint], options, best)
    return best
