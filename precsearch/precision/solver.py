"""The best allocation under the budget: fast and feasible for every draw, exact for the final answer.

Legend: U units, O options of a unit, C constraints.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from precsearch.precision.problem import Flags, Floats, Ints, Problem

_BISECTIONS = 30
_GROWTH = 60


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
    price = problem.cost / np.maximum(problem.limits, 1e-300)[problem.constraint, None]
    count = len(problem.limits)
    options: Ints = scores.argmax(1).astype(np.int64)
    over = problem.spent(options) > problem.limits
    if not over.any():
        return options
    low, high = np.zeros(count), np.where(over, 1.0, 0.0)
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
        kept_units = kept[problem.constraint]
        best = np.where(kept_units, options, best)

    def worth(current: Ints, extra: Floats) -> Floats:
        gained = scores - scores[unit, current][:, None]
        return np.where(gained > 0, _rate(gained, extra), -np.inf)

    return _spend(best, problem, worth)


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
    """The options of highest total score within the budget, by mixed-integer programming, with slack filled.

    Args:
        scores: [U, O], -inf where there is no option.
        problem: a problem whose cheapest allocation keeps the budget.

    Returns:
        [U] options that keep every limit.
    """
    feasible = maximize(scores, problem)
    exact = _milp(scores, problem)
    unit = np.arange(problem.units)
    if exact is not None and scores[unit, exact].sum() >= scores[unit, feasible].sum():
        feasible = exact
    return fill_slack(feasible, scores, problem)


def _milp(scores: Floats, problem: Problem) -> Ints | None:
    """The exact solution, or None where the solver's tolerance let it overstep a limit."""
    rows, columns = np.nonzero(problem.valid)
    entries = np.arange(len(rows))
    one_each = csr_array((np.ones(len(rows)), (rows, entries)), shape=(problem.units, len(rows)))
    scale = np.maximum(problem.limits, 1e-300)
    of_entry = problem.constraint[rows]
    spend = csr_array(
        (problem.cost[rows, columns] / scale[of_entry], (of_entry, entries)),
        shape=(len(scale), len(rows)),
    )
    result = milp(
        -scores[rows, columns],
        integrality=np.ones(len(rows), dtype=np.int64),
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(spend, -np.inf, 1)],
        options={"presolve": False},  # with it, HiGHS now and then prints to stdout, which belongs to --json
    )
    if result.x is None:
        return None
    options = np.zeros(problem.units, dtype=np.int64)
    taken = result.x > 0.5  # noqa: PLR2004 -- binary variables within the solver's tolerance
    options[rows[taken]] = columns[taken]
    return options if problem.keeps_budget(options) else None


def best_uniform(problem: Problem) -> Ints:
    """For each constraint, the most bits that all its slots can have alike -> [U] options; the fewest always fit."""
    best = problem.options_of([0] * len(problem.slots))
    for candidate in range(1, len(problem.bits)):
        options = problem.options_of([candidate] * len(problem.slots))
        kept = problem.spent(options) <= problem.limits
        best = np.where(kept[problem.constraint], options, best)
    return best
