"""Knapsacks with one allocation that keeps every budget, or the proof that there is none; at plan time only.

Legend: S slots, K candidates, H candidates of a slot's hub, C constraints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from precsearch.precision.problem import Flags, Floats, Ints, Problem, Slot
from precsearch.precision.relaxation import repair

_TIGHTER = (0.0, 1e-9, 1e-6)  # parts of the limits: integer programming keeps its constraints only nearly


def make_problem(
    slots: Sequence[Slot],
    bits: Sequence[int],
    cost: Floats,
    limits: Sequence[float],
    *,
    candidates: Flags | None = None,
    hub: Ints | None = None,
) -> Problem:
    """Assemble a problem; `feasible` is the cheapest of all constraints together, which keeps single ones.

    Args:
        slots: S bit-widths to choose.
        bits: K candidate bit-widths, ascending.
        cost: [C, S, H, K].
        limits: [C].
        candidates: [S, K]; all where None.
        hub: [S]; none where None.
    """
    shape = (len(slots), len(bits))
    flags = np.ones(shape, dtype=bool) if candidates is None else candidates
    problem = Problem(
        slots=tuple(slots),
        bits=tuple(bits),
        candidates=flags,
        hub=np.full(len(slots), len(slots), dtype=np.int64) if hub is None else hub,
        cost=np.where(flags[None, :, None, :], cost, 0.0),
        limits=np.asarray(limits, dtype=np.float64),
        feasible=np.zeros(len(slots), dtype=np.int64),
    )
    total = problem.price.sum(0) if not problem.separable else problem.cost.sum(0)
    return replace(problem, feasible=problem.best(np.where(flags[:, None, :], -total, -np.inf)))


def with_feasible(problem: Problem) -> Problem | None:
    """The problem with a `feasible` allocation that keeps every limit; None where no allocation does."""
    if problem.keeps_budget(problem.feasible):
        return problem
    zero = problem.mask(np.zeros(problem.candidates.shape))
    for start in (problem.lowest, problem.feasible):
        found = repair(start, zero, problem)
        if problem.keeps_budget(found):
            return replace(problem, feasible=found)
    solved = _by_integer_programming(problem)
    return None if solved is None else replace(problem, feasible=solved)


def _by_integer_programming(problem: Problem) -> Ints | None:
    """[S] candidates: one variable for every (slot, hub's candidate, candidate), solved by HiGHS."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    variables = np.argwhere(_possible(problem))
    slot, h, k = variables.T
    rows, values, columns = _one_each(problem, slot, h, k)
    equal = csr_array((values, (rows, columns)), shape=(int(rows.max()) + 1, len(variables)))
    right = (np.arange(equal.shape[0]) < len(problem.slots)).astype(np.float64)
    right[problem.leaves] = 0.0
    spend = problem.cost[:, slot, h, k] / problem.scale[:, None]
    for margin in _TIGHTER:
        upper = problem.limits / problem.scale - margin
        result = milp(
            spend.sum(0),
            integrality=np.ones(len(variables), dtype=np.int64),
            bounds=Bounds(0, 1),
            constraints=[LinearConstraint(equal, right, right), LinearConstraint(spend, -np.inf, upper)],
        )
        if result.x is None:
            return None
        chosen: Ints = np.zeros(len(problem.slots), dtype=np.int64)
        taken = result.x > 0.5  # noqa: PLR2004 -- a variable is 0 or 1
        chosen[slot[taken]] = k[taken]
        if problem.keeps_budget(chosen):
            return chosen
    return None


def _possible(problem: Problem) -> Flags:
    """[S, H, K] which combinations there are: those of the hub's candidates, or ``h = 0``."""
    padded = np.vstack([problem.candidates, np.zeros((1, len(problem.bits)), dtype=bool)])
    of_hub = padded[problem.hub][:, : problem.cost.shape[2]]
    of_hub[problem.hub == len(problem.slots), 0] = True
    possible: Flags = of_hub[:, :, None] & problem.candidates[:, None, :]
    return possible


def _one_each(problem: Problem, slot: Ints, h: Ints, k: Ints) -> tuple[Ints, Floats, Ints]:
    """Entries of the equations: a slot without a hub has one candidate; a leaf has one where its hub is at h."""
    count = len(problem.slots)
    leaf = problem.hub[slot] < count
    column = np.arange(len(slot))
    # The equation of (leaf, h) follows those of the slots: its variables sum to that of the hub's candidate h.
    equation = count + slot * len(problem.bits) + h
    rows, values, columns = [slot[~leaf], equation[leaf]], [np.ones((~leaf).sum()), np.ones(leaf.sum())], [
        column[~leaf], column[leaf],
    ]  # fmt: skip
    for own in problem.leaves:
        of_hub = np.flatnonzero(slot == problem.hub[own])
        rows.append(count + own * len(problem.bits) + k[of_hub])
        values.append(-np.ones(len(of_hub)))
        columns.append(of_hub)
    return np.concatenate(rows), np.concatenate(values), np.concatenate(columns)
