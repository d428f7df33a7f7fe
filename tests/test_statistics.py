from __future__ import annotations

import itertools
import math
from fractions import Fraction
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW, ttost_paired

from precsearch.analysis.correlation import rank_correlation
from precsearch.analysis.intervals import Interval, mean_interval
from precsearch.analysis.power import detectable
from precsearch.analysis.statistics import compare, equivalence_p, holm, paired_p, sign_flip_p

# Student's own data (1908): hours of sleep gained with two drugs, the same ten patients
FIRST = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
SECOND = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])

whole = st.integers(-20, 20)
numbers = st.floats(-100, 100).map(lambda x: round(x, 3))
probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(samples=st.lists(numbers, min_size=2, max_size=20).filter(lambda x: np.ptp(x) > 0.01))
@settings(max_examples=50)
def test_t_interval_is_that_of_statsmodels(samples: list[float]) -> None:
    found = mean_interval(samples, "t")
    assert (found.low, found.high) == pytest.approx(DescrStatsW(samples).tconfint_mean(), abs=1e-9)
    assert (found.mean, found.n, found.method) == (pytest.approx(np.mean(samples)), len(samples), "t")


def test_student_s_own_figures() -> None:
    difference = SECOND - FIRST
    found = mean_interval(difference)
    assert (found.low, found.high) == pytest.approx((0.7001, 2.4599), abs=1e-4)  # as R's t.test(sleep) prints them
    assert paired_p(difference) == pytest.approx(0.002833, abs=1e-6)


def test_bca_interval_is_that_of_scipy_and_the_same_every_time() -> None:
    found = mean_interval(FIRST, "bca", seed=3)
    known = stats.bootstrap((FIRST,), np.mean, n_resamples=99_999, random_state=np.random.default_rng(1))
    assert found == mean_interval(FIRST, "bca", seed=3)
    assert found.method == "bca"
    assert found.low == pytest.approx(known.confidence_interval.low, abs=0.05)
    assert found.high == pytest.approx(known.confidence_interval.high, abs=0.05)
    assert found.low != mean_interval(FIRST, "bca", seed=4).low


@pytest.mark.parametrize("method", ["t", "bca"])
@pytest.mark.parametrize("samples", [[0.93], [0.93] * 5, [0.1 + 0.2, 0.3], [0.0, 0.0]])
def test_samples_that_tell_no_spread_have_no_ends(method: str, samples: list[float]) -> None:
    found = mean_interval(samples, method)
    assert found == Interval(pytest.approx(samples[0]), None, None, len(samples), "none")
    assert found.holds(1e9)


@pytest.mark.parametrize("samples", [[], [math.nan], [1.0, math.inf], [[1.0]]])
def test_what_is_no_sample(samples: list[float]) -> None:
    with pytest.raises(ValueError, match="at least one finite number"):
        mean_interval(samples)


def test_an_unknown_method() -> None:
    with pytest.raises(ValueError, match="t, bca must be given as method, but got 'z'"):
        mean_interval([1.0, 2.0], "z")


@given(p=probabilities)
def test_holm_is_that_of_statsmodels(p: list[float]) -> None:
    with patch("gc.collect"):  # theirs collects garbage at every call, a quarter of a second each
        theirs = multipletests(p, method="holm")[1]
    assert holm(p) == pytest.approx(theirs)


@given(differences=st.lists(whole, min_size=2, max_size=9), unit=st.sampled_from([1.0, 1 / 360, 1e-7, 1e4]))
@example(differences=[0, 0, 0, 0, -1, 0, -2, 3], unit=1 / 360)  # their sum is 0, but for rounding
@settings(max_examples=60, deadline=None)
def test_sign_flips_are_all_counted(differences: list[int], unit: float) -> None:
    sums = [sum(s * d for s, d in zip(signs, differences, strict=True))
            for signs in itertools.product((1, -1), repeat=len(differences))]  # fmt: skip
    below = sum(each <= sum(differences) for each in sums)
    above = sum(each >= sum(differences) for each in sums)
    expected = min(Fraction(1), 2 * Fraction(min(below, above), len(sums)))
    assert sign_flip_p([each * unit for each in differences]) == pytest.approx(float(expected))


def test_sign_flips_cannot_show_anything_with_five_pairs() -> None:
    assert sign_flip_p([5.0, 6, 7, 8, 9]) == 2 / 2**5
    assert sign_flip_p([5.0, 6, 7, 8, 9, 10]) == 2 / 2**6
    assert sign_flip_p([0.0, 0.0]) == 1
    assert sign_flip_p([1.0]) is None


def test_many_sign_flips_are_drawn_and_agree_with_all() -> None:
    differences = np.random.default_rng(0).normal(0.4, 1, 16)
    signs = np.array(list(itertools.product((1, -1), repeat=16)))
    sums = signs @ differences
    exact = 2 * float(np.mean(sums >= differences.sum()))
    assert sign_flip_p(differences) == pytest.approx(exact, abs=0.02)
    assert sign_flip_p(differences) == sign_flip_p(differences)


@given(seed=st.integers(0, 99), n=st.integers(2, 30), margin=st.floats(0.01, 2))
@settings(max_examples=40)
def test_equivalence_is_that_of_statsmodels(seed: int, n: int, margin: float) -> None:
    first, second = np.random.default_rng(seed).normal(size=(2, n))
    known = ttost_paired(first, second, -margin, margin)[0]
    assert equivalence_p(first - second, margin) == pytest.approx(known, abs=1e-12)


def test_a_family_is_corrected_together() -> None:
    draws = np.random.default_rng(1)
    differences = {"a": draws.normal(0.5, 0.3, 8), "b": draws.normal(0, 0.02, 8), "c": draws.normal(0, 3, 8)}
    found = {each.name: each for each in compare({**differences, "alone": [0.4]}, margin=0.1)}
    p = [stats.ttest_1samp(values, 0).pvalue for values in differences.values()]
    tost = [equivalence_p(values, 0.1) for values in differences.values()]
    corrected = dict(zip(differences, multipletests(p, method="holm")[1], strict=True))
    assert {name: found[name].p_holm for name in differences} == pytest.approx(corrected)
    assert [found[name].p_equivalent for name in differences] == pytest.approx(multipletests(tost, method="holm")[1])
    assert [found[name].equivalent for name in differences] == [False, True, False]
    assert {each.family for each in found.values()} == {3}
    assert found["a"].detectable == pytest.approx(detectable(differences["a"].std(ddof=1), 8, "paired", 0.05 / 3))
    alone = found["alone"]
    assert (alone.p, alone.p_holm, alone.p_signs, alone.equivalent, alone.detectable) == (None,) * 5


def test_equal_differences_are_judged_by_their_signs() -> None:
    five, six = compare({"five": [1 / 360] * 5, "six": [1 / 360] * 6}, margin=0.1)
    assert (five.p, six.p) == (2 / 2**5, 2 / 2**6)
    assert (six.difference.low, six.detectable, six.equivalent) == (None, None, None)


def test_no_comparisons_and_a_bad_margin() -> None:
    assert compare({}) == []
    with pytest.raises(ValueError, match="`margin > 0` must hold, but got 0"):
        compare({"a": [1.0, 2.0]}, margin=0)


@given(seed=st.integers(0, 50), n=st.integers(10, 30))
@settings(max_examples=20)
def test_rank_correlation_is_that_of_scipy(seed: int, n: int) -> None:
    x, y = np.random.default_rng(seed).normal(size=(2, n))
    found = rank_correlation(x.tolist(), y.tolist())
    assert found.value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.low is not None
    assert found.high is not None
    assert -1 < found.low < found.value < found.high < 1


def test_correlations_that_cannot_be_told() -> None:
    assert rank_correlation([1, 2], [1, 2]).value is None
    assert rank_correlation([1, 1, 1], [1, 2, 3]).value is None
    few = rank_correlation([1, 2, 3, 4], [1, 3, 2, 4])
    assert (few.value, few.low) == (pytest.approx(0.8), None)
    assert rank_correlation(list(range(12)), list(range(12))).low is None
    with pytest.raises(ValueError, match="as many x as y"):
        rank_correlation([1], [])
