from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from precsearch.precision.problem import Floats, Problem, Slot, make_problem
from precsearch.precision.solver import best_options

BITS = (2, 3, 4, 6, 8)


def networks_problem(rng: np.random.Generator) -> Problem:
    layers = int(rng.integers(2, 30))
    sizes = rng.integers(1, 100_000, layers)
    units = [((s,), sizes[s] * np.array(BITS, dtype=float), int(s % 2)) for s in range(layers)]
    limits = [np.floor(sizes[c::2].sum() * rng.uniform(2, 8)) for c in (0, 1)]
    return make_problem([Slot(((f"layer{s}", "weight"),)) for s in range(layers)], BITS, units, limits)


def best_by_milp(scores: Floats, problem: Problem) -> float:
    """The same knapsack by mixed-integer programming, HiGHS at its tightest gap -> highest total score."""
    size = scores.size
    one_each = np.kron(np.eye(problem.units), np.ones(scores.shape[1]))
    spend = np.zeros((len(problem.limits), size))
    spend[np.repeat(problem.constraint, scores.shape[1]), np.arange(size)] = problem.cost.ravel()
    result = milp(
        -scores.ravel(),
        integrality=np.ones(size, dtype=np.int64),
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(spend, -np.inf, problem.limits)],
        options={"mip_rel_gap": 0.0},
    )
    assert result.success
    return float(-result.fun)


@pytest.mark.parametrize("seed", range(12))
def test_the_exact_answer_is_that_of_mixed_integer_programming(seed: int) -> None:
    rng = np.random.default_rng(seed)
    problem = networks_problem(rng)
    scores = rng.normal(size=problem.cost.shape).cumsum(axis=1)
    options = best_options(scores, problem)
    assert problem.keeps_budget(options)
    found = scores[np.arange(problem.units), options].sum()
    assert found == pytest.approx(best_by_milp(scores, problem), rel=1e-6, abs=1e-6)
