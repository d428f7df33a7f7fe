from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from precsearch.precision.exact import best_choice
from precsearch.precision.feasible import make_problem
from precsearch.precision.problem import Floats, Problem, Slot

BITS = (2, 3, 4, 6, 8)


def networks_problem(rng: np.random.Generator, coupled: bool) -> Problem:
    """Two budgets: on every second layer each, or both on all layers."""
    layers = int(rng.integers(2, 30))
    sizes = rng.integers(1, 100_000, (2, layers))
    counts = np.ones((2, layers), dtype=bool) if coupled else np.arange(layers) % 2 == np.arange(2)[:, None]
    cost = (sizes * counts)[:, :, None, None] * np.array(BITS, dtype=float)
    limits = np.floor((sizes * counts).sum(1) * rng.uniform(2, 8, 2))
    return make_problem([Slot(((f"layer{s}", "weight"),)) for s in range(layers)], BITS, cost, limits.tolist())


def best_by_milp(scores: Floats, problem: Problem) -> float:
    """The same knapsack by mixed-integer programming, HiGHS at its tightest gap -> highest total score."""
    size = scores.size
    one_each = np.kron(np.eye(len(problem.slots)), np.ones(scores.shape[1]))
    spend = problem.cost[:, :, 0].reshape(len(problem.limits), -1)
    result = milp(
        -scores.ravel(),
        integrality=np.ones(size, dtype=np.int64),
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(spend, -np.inf, problem.limits)],
        options={"mip_rel_gap": 0.0},
    )
    assert result.success
    return float(-result.fun)


@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_the_exact_answer_is_that_of_mixed_integer_programming(seed: int, coupled: bool) -> None:
    rng = np.random.default_rng(seed)
    problem = networks_problem(rng, coupled)
    scores = rng.normal(size=problem.candidates.shape).cumsum(axis=1)
    chosen = best_choice(scores, problem)
    assert problem.keeps_budget(chosen)
    assert problem.total(scores, chosen) == pytest.approx(best_by_milp(scores, problem), rel=1e-6, abs=1e-6)
