"""The best allocation under the budgets, fast: for every draw, and the baselines.

Legend: S slots, K candidates, C constraints. The final answer is `precsearch.precision.exact`'s.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from precsearch.precision.problem import Floats, Ints, Problem
from precsearch.precision.relaxation import relax

# What a move of every slot to every candidate is worth: of its gain in score and its extra cost, both [S, K].
_Worth = Callable[[Ints, Floats, Floats], Floats]


def maximize(scores_SK: Floats, problem: Problem) -> Ints:
    """Candidates of high total score within the budgets, in about a millisecond.

    Lagrangian relaxation: each slot takes its best candidate of ``score - multiplier * cost``; what is left over is
    then spent where it raises the score most for its cost.

    Args:
        scores_SK: -inf where there is no candidate.
        problem: whose `feasible` keeps every limit.

    Returns:
        [S] candidates that keep every limit.
    """
    best, _ = relax(scores_SK, problem.tight)

    def worth(_: Ints, gain: Floats, extra: Floats) -> Floats:
        return np.where(gain > 0, _rate(gain, extra), -np.inf)

    return _spend(best, scores_SK, problem.tight, worth)


def fill_slack(chosen: Ints, scores_SK: Floats, problem: Problem) -> Ints:
    """Spend what is left where another bit fits, by score, until none fits.

    Args:
        chosen: [S] candidates that keep the budgets.
        scores_SK: -inf where there is no candidate.
        problem: the budgets.

    Returns:
        [S] candidates that keep the budgets, none with fewer bits in any slot.
    """
    candidates = np.arange(len(problem.bits))

    def worth(current: Ints, gain: Floats, _: Floats) -> Floats:
        return np.where(candidates > current[:, None], gain, -np.inf)

    return _spend(chosen, scores_SK, problem.tight, worth)


def _rate(gain: Floats, extra: Floats) -> Floats:
    """Gain for each unit of extra cost; a gain that costs nothing more comes first."""
    return np.where(extra > 0, gain / np.maximum(extra, 1e-300), np.inf)


def _spend(chosen: Ints, scores_SK: Floats, problem: Problem, worth_of: _Worth) -> Ints:
    """Take the single move of most worth that fits, again and again."""
    each, chosen = np.arange(len(chosen)), chosen.copy()
    while True:
        fits, price = problem.moves(chosen)
        gain = scores_SK - scores_SK[each, chosen][:, None]
        worth = np.where(fits, worth_of(chosen, gain, price), -np.inf)
        s, k = np.unravel_index(int(worth.argmax()), worth.shape)
        if worth[s, k] == -np.inf:
            return chosen
        before = chosen[s]
        chosen[s] = k
        if not problem.keeps_budget(chosen):  # sums of fractional costs may round up
            chosen[s] = before
            return chosen


def best_uniform(problem: Problem) -> Ints:
    """The most bits that all slots can have alike, for each group of constraints that share slots.

    Returns:
        [S] candidates; a slot without that bit-width has its largest below, or its fewest.
    """
    tight = problem.tight
    best = problem.start.copy()
    group = np.full(len(best), -1)
    for c in range(len(tight.limits)):
        group[tight.spends[c]] = tight.group[c]
    for candidate in range(len(problem.bits)):
        below = problem.candidates & (np.arange(len(problem.bits)) <= candidate)
        highest = len(problem.bits) - 1 - below[:, ::-1].argmax(1)
        alike = np.where(below.any(1), highest, problem.lowest)
        broken = tight.group[tight.spent(alike) > tight.limits]
        best = np.where(np.isin(group, broken), best, alike)
    return best
