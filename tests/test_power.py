from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.power import TTestIndPower, TTestPower

from precsearch.analysis.power import detectable, luck, power, runs_needed

ORACLES = {"paired": TTestPower(), "two-sample": TTestIndPower()}


@given(
    design=st.sampled_from(["paired", "two-sample"]),
    n=st.integers(4, 60),
    sd=st.floats(0.01, 10),
    alpha=st.sampled_from([0.05, 0.01]),
)
@settings(max_examples=30, deadline=None)
def test_the_smallest_detectable_difference_is_that_of_statsmodels(
    design: str, n: int, sd: float, alpha: float
) -> None:
    size = {"paired": "nobs", "two-sample": "nobs1"}[design]
    known = ORACLES[design].solve_power(power=0.8, alpha=alpha, **{size: n})
    assert detectable(sd, n, design, alpha) == pytest.approx(known * sd, rel=1e-4)


@pytest.mark.parametrize("design", ["paired", "two-sample"])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 300])
@pytest.mark.parametrize("n", [2, 3, 30])
def test_what_is_detectable_has_the_power_wanted(design: str, alpha: float, n: int) -> None:
    assert power(detectable(2.0, n, design, alpha), 2.0, n, design, alpha) == pytest.approx(0.8, abs=1e-6)
    assert power(0.0, 2.0, n, design, alpha) == pytest.approx(alpha, rel=1e-6)


@pytest.mark.parametrize(
    ("gap", "expected"),
    [(0.20, (3, 4, 6)), (0.10, (7, 12, 18)), (0.05, (24, 42, 64)), (0.03, (64, 113, 174)), (0.02, (143, 253, 390))],
)
def test_runs_needed_on_mnist(gap: float, expected: tuple[int, int, int]) -> None:
    plain = [runs_needed(gap, sd) for sd in (0.06, 0.08)]
    assert (*plain, runs_needed(gap, 0.08, alpha=0.05 / 6)) == expected


def test_what_a_number_of_seeds_can_show_on_mnist() -> None:
    shown = [round(detectable(0.08, n), 2) for n in (3, 5, 10, 30)]
    assert shown == [0.25, 0.16, 0.11, 0.06]


def test_runs_needed_are_the_fewest() -> None:
    n = runs_needed(0.07, 0.1, "paired")
    assert power(0.07, 0.1, n, "paired") >= 0.8 > power(0.07, 0.1, n - 1, "paired")
    with pytest.raises(ValueError, match="no number of runs shows that"):
        runs_needed(0, 1)


def test_luck_of_the_best() -> None:
    assert luck(1) == pytest.approx(0, abs=1e-12)
    assert luck(2) == pytest.approx(1 / math.sqrt(math.pi))
    assert luck(3) == pytest.approx(1.5 / math.sqrt(math.pi))
    draws = np.random.default_rng(0).normal(size=(40_000, 20)).max(axis=1)
    assert luck(20) == pytest.approx(draws.mean(), abs=4 * draws.std() / 200)
    assert [round(0.08 * luck(k), 2) for k in (20, 50)] == [0.15, 0.18]
    assert luck(10_000) == pytest.approx(3.852, abs=1e-3)
    with pytest.raises(ValueError, match="trials >= 1"):
        luck(0)


@pytest.mark.parametrize(("sd", "n"), [(0.0, 5), (-1.0, 5), (1.0, 1), (math.nan, 5)])
def test_no_spread_no_power(sd: float, n: int) -> None:
    with pytest.raises(ValueError, match="`sd > 0` and `n >= 2` must hold"):
        detectable(sd, n)
