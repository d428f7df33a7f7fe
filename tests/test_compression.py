from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_grids import DEPTH, WIDTH, network, plane, row_of_widths

from precsearch.analysis.compression import (
    ALL_CELLS,
    CompressionRow,
    Ratio,
    compression_rows,
    equal_size,
    float_curve,
    ratio_text,
)
from precsearch.analysis.grid import Grid
from precsearch.analysis.intervals import mean_interval
from precsearch.analysis.resampling import percentile_ends, resampled_means, seed_resamples, student_ends

SHARES = st.floats(0.001, 0.9)
SIZES = st.lists(st.floats(10.0, 1e9), min_size=2, max_size=7, unique_by=lambda size: round(math.log(size), 1)).map(
    sorted
)


@st.composite
def falling(draw: st.DrawFn) -> tuple[list[float], list[float]]:
    """Sizes that rise, and errors that fall by a thousandth at least."""
    sizes = draw(SIZES)
    steps = draw(st.lists(st.integers(1, 100), min_size=len(sizes), max_size=len(sizes)))
    return sizes, [(1 + sum(steps[at:])) / 1000 for at in range(len(sizes))]


def order(found: tuple[float, str]) -> float:
    """A size for comparison; beyond the curve is beyond every size."""
    size, bound = found
    return {"exact": size, "at least": math.inf, "at most": 0.0}[bound]


# ---- the size of equal error


def test_halfway_between_two_errors_is_halfway_between_the_logarithms() -> None:
    curve = float_curve([0.2, 0.1])
    assert equal_size([100, 400], curve, 0.15) == (pytest.approx(200), "exact")
    assert equal_size([100, 400], curve, 0.2) == (pytest.approx(100), "exact")
    assert equal_size([100, 400], curve, 0.1) == (pytest.approx(400), "exact")


def test_beyond_the_curve_is_a_bound() -> None:
    curve = float_curve([0.2, 0.1])
    assert equal_size([100, 400], curve, 0.21) == (100, "at most")
    assert equal_size([100, 400], curve, 0.09) == (400, "at least")


def test_of_sizes_with_one_error_the_smallest_counts() -> None:
    curve = float_curve([0.3, 0.2, 0.2, 0.1])
    assert equal_size([10, 20, 40, 80], curve, 0.2) == (pytest.approx(20), "exact")
    size, _ = equal_size([10, 20, 40, 80], curve, 0.2 - 1e-6)
    assert size == pytest.approx(40, rel=1e-4)


@given(falling())
def test_every_float_network_is_its_own_equal(made: tuple[list[float], list[float]]) -> None:
    sizes, errors = made
    for size, error in zip(sizes, errors, strict=True):
        assert equal_size(sizes, float_curve(errors), error) == (pytest.approx(size), "exact")


@given(falling(), st.lists(SHARES, min_size=2, max_size=6))
def test_who_errs_more_equals_a_smaller_network(made: tuple[list[float], list[float]], errors: list[float]) -> None:
    sizes, floats = made
    found = [order(equal_size(sizes, float_curve(floats), error)) for error in sorted(errors)]
    assert all(one >= two * (1 - 1e-9) for one, two in pairwise(found))


@given(falling(), SHARES, st.floats(1e-3, 1e3))
def test_sizes_in_another_unit_scale_the_answer(
    made: tuple[list[float], list[float]], error: float, unit: float
) -> None:
    sizes, errors = made
    curve = float_curve(errors)
    size, bound = equal_size(sizes, curve, error)
    assert equal_size([unit * each for each in sizes], curve, error) == (pytest.approx(unit * size), bound)


# ---- the curve


@given(st.lists(SHARES, min_size=1, max_size=8))
def test_isotonic_is_the_nearest_curve_that_never_rises(errors: list[float]) -> None:
    curve = float_curve(errors)
    assert (np.diff(curve) <= 1e-12).all()
    assert curve.mean() == pytest.approx(np.mean(errors))
    # Robertson, Wright, Dykstra, 1988: the max-min formula, of which the curve is the solution
    n = len(errors)
    formula = [max(min(np.mean(errors[i : k + 1]) for i in range(at + 1)) for k in range(at, n)) for at in range(n)]
    np.testing.assert_allclose(curve, formula, atol=1e-9)


@given(st.lists(SHARES, min_size=1, max_size=8))
def test_running_minimum_lies_on_or_below_every_network(errors: list[float]) -> None:
    curve = float_curve(errors, "running-minimum")
    assert (curve <= np.array(errors)).all()
    assert set(curve) <= set(errors)
    assert (np.diff(curve) <= 0).all()


def test_a_curve_that_falls_is_left_as_it_is() -> None:
    for rule in ("isotonic", "running-minimum"):
        np.testing.assert_array_equal(float_curve([0.3, 0.2, 0.1], rule), [0.3, 0.2, 0.1])  # type: ignore[arg-type]


# ---- the bootstrap


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7])
def test_every_resample_of_few_seeds_is_counted(n: int) -> None:
    weights, probabilities = seed_resamples(n)
    assert len(weights) == math.comb(2 * n - 1, n)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert probabilities.sum() == pytest.approx(1)
    samples = np.random.default_rng(n).normal(size=n)
    means = weights @ samples
    assert probabilities @ means == pytest.approx(samples.mean())
    assert probabilities @ (means - samples.mean()) ** 2 == pytest.approx(samples.var() / n)
    assert n == 1 or probabilities @ np.isclose(weights, np.eye(n)[0]).all(axis=1) == pytest.approx(n**-n)


def test_of_many_seeds_some_resamples_are_drawn() -> None:
    weights, probabilities = seed_resamples(30, seed=1)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    samples = np.random.default_rng(0).normal(size=30)
    spread = math.sqrt(probabilities @ (weights @ samples - samples.mean()) ** 2)
    assert spread == pytest.approx(samples.std() / math.sqrt(30), rel=0.1)
    with pytest.raises(ValueError, match="n >= 1"):
        seed_resamples(0)


def test_a_resample_without_any_of_its_samples_has_no_mean() -> None:
    weights, _ = seed_resamples(2)
    means = resampled_means(np.array([[1.0, np.nan], [1.0, 3.0]]), weights)
    np.testing.assert_array_equal(means, [[1, 1], [1, 2], [np.nan, 3]])


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=6))
def test_percentiles_turn_with_the_sign(samples: list[float]) -> None:
    weights, probabilities = seed_resamples(len(samples))
    values = weights @ np.array(samples)
    low, high = percentile_ends(values, probabilities, len(samples))
    assert percentile_ends(-values, probabilities, len(samples)) == (pytest.approx(-high), pytest.approx(-low))
    assert low <= np.mean(samples) + 1e-9
    assert high >= np.mean(samples) - 1e-9


def test_of_many_samples_the_percentiles_are_those_of_the_t_interval() -> None:
    samples = np.random.default_rng(3).normal(size=200)
    weights, probabilities = seed_resamples(200)
    low, high = percentile_ends(weights @ samples, probabilities, 200)
    student = mean_interval(samples)
    assert student.low is not None
    assert student.high is not None
    half = (student.high - student.low) / 2
    assert abs(low - student.low) < 0.15 * half
    assert abs(high - student.high) < 0.15 * half


# ---- ratios of a grid


def test_two_seeds_by_hand() -> None:
    grid = row_of_widths([100, 400], [[0.40, 0.44], [0.20, 0.24]], {1: [0.30, 0.24]})
    (row,) = compression_rows(grid)
    assert row.nominal == pytest.approx(16)
    assert row.curve == ALL_CELLS
    # means 0.42, 0.22 and 0.27: three quarters of the way down, 100 * 4^0.75
    assert row.float_size == pytest.approx(100 * 4**0.75)
    assert row.ratio.value == pytest.approx(4**0.75 * 4)
    assert (row.ratio.bound, row.ratio.seeds) == ("exact", 2)
    assert row.error.mean == pytest.approx(0.27)


def test_three_seeds_carry_the_t_interval_of_the_logarithm() -> None:
    # between two knots the logarithm of the ratio is a line in the error: log 8 at 0.3, log 4 for each 0.2
    errors = [0.297, 0.301, 0.302]
    row, student = only(errors), mean_interval(errors)
    assert student.low is not None
    assert student.high is not None
    assert row.ratio.value == pytest.approx(8)
    assert row.ratio.low == pytest.approx(8 * 4 ** ((0.3 - student.high) / 0.2))
    assert row.ratio.high == pytest.approx(8 * 4 ** ((0.3 - student.low) / 0.2))


def test_five_seeds_carry_percentiles_between_the_single_seeds() -> None:
    errors = [0.29, 0.295, 0.3, 0.305, 0.31]
    ratio = only(errors, ([0.4] * 5, [0.2] * 5)).ratio
    assert ratio.low is not None
    assert ratio.high is not None
    assert 8 * 4 ** ((0.3 - 0.31) / 0.2) <= ratio.low < 8 < ratio.high <= 8 * 4 ** ((0.3 - 0.29) / 0.2)
    assert ratio.low * ratio.high == pytest.approx(64)  # errors lie evenly around the middle


@given(falling(), st.floats(1.0, 40.0), st.data())
@settings(max_examples=40, deadline=None)
def test_who_errs_as_its_float_network_is_worth_the_bytes_it_saves(
    made: tuple[list[float], list[float]], times: float, data: st.DataObject
) -> None:
    sizes, errors = made
    luck = data.draw(st.lists(st.floats(-0.0004, 0.0004), min_size=3, max_size=3))  # the seed's, in every network
    floats = [[error + each for each in luck] for error in errors]
    cell = data.draw(st.integers(0, len(sizes) - 1))
    (row,) = compression_rows(row_of_widths(sizes, floats, {cell: floats[cell]}, times=times))
    assert row.ratio.bound == "exact"
    assert row.ratio.value == pytest.approx(row.nominal)
    assert row.nominal == pytest.approx(times)
    assert row.ratio.low == pytest.approx(times)
    assert row.ratio.high == pytest.approx(times)


@given(falling(), st.lists(SHARES, min_size=3, max_size=3), st.floats(1e-3, 1e3))
@settings(max_examples=40, deadline=None)
def test_ratios_know_no_unit(made: tuple[list[float], list[float]], errors: list[float], unit: float) -> None:
    sizes, floats = made
    grid = row_of_widths(sizes, [[error] * 3 for error in floats], {0: errors})
    scaled = Grid(grid.axes, tuple(replace(each, size=unit * each.size) for each in grid.networks))
    (one,), (two,) = compression_rows(grid), compression_rows(scaled)
    assert two.ratio.bound == one.ratio.bound
    assert two.ratio.value == pytest.approx(one.ratio.value)
    assert two.nominal == pytest.approx(one.nominal)
    for before, after in ((one.ratio.low, two.ratio.low), (one.ratio.high, two.ratio.high)):
        assert (before is None) == (after is None)
        assert before is None or after == pytest.approx(before)


@given(falling(), st.lists(st.lists(SHARES, min_size=3, max_size=3), min_size=1, max_size=2))
@settings(max_examples=40, deadline=None)
def test_intervals_hold_the_ratio(made: tuple[list[float], list[float]], errors: list[list[float]]) -> None:
    sizes, floats = made
    quantized = dict(enumerate(errors))
    for row in compression_rows(row_of_widths(sizes, [[error] * 3 for error in floats], quantized)):
        assert row.ratio.low is None or row.ratio.low <= row.ratio.value * (1 + 1e-9)
        assert row.ratio.high is None or row.ratio.high >= row.ratio.value * (1 - 1e-9)
        # open only on the side that the curve does not reach
        if row.ratio.bound == "at most":
            assert row.ratio.low is None
        if row.ratio.bound == "at least":
            assert row.ratio.high is None


def only(quantized: list[float], floats: tuple[list[float], list[float]] = ([0.4] * 3, [0.2] * 3)) -> CompressionRow:
    (row,) = compression_rows(row_of_widths([100, 400], list(floats), {1: quantized}))
    return row


def test_bounds_are_told_as_bounds() -> None:
    worse = only([0.5, 0.6, 0.55])
    assert worse.ratio == Ratio(4.0, "at most", None, pytest.approx(4), 3)
    assert worse.ratio.text == "≤ 4.0"
    assert worse.ratio.interval_text == "4.0 or less"
    better = only([0.1, 0.15, 0.12])
    assert better.ratio == Ratio(16.0, "at least", pytest.approx(16), None, 3)
    assert better.ratio.text == "≥ 16"
    assert better.ratio.interval_text == "16 or more"


def test_an_interval_is_open_where_some_resamples_leave_the_curve() -> None:
    ratio = only([0.15, 0.3, 0.3, 0.3, 0.3], ([0.4] * 5, [0.2] * 5)).ratio
    assert ratio.bound == "exact"
    assert ratio.high is None
    assert ratio.low is not None
    assert ratio.interval_text == f"{ratio_text(ratio.low)} or more"


def test_one_seed_has_no_interval() -> None:
    ratio = only([0.3], ([0.4], [0.2])).ratio
    assert (ratio.value, ratio.low, ratio.high, ratio.interval_text) == (pytest.approx(8), None, None, "")


def test_failed_trainings_leave_the_other_seeds() -> None:
    floats = [[0.40, 0.41, 0.42], {0: 0.20, 2: 0.22}]
    (row,) = compression_rows(row_of_widths([100, 400], floats, {1: {1: 0.3, 2: 0.31}}))
    assert row.ratio.seeds == 2
    assert row.error.mean == pytest.approx(0.305)
    assert row.ratio.low is not None
    assert row.ratio.high is not None
    assert row.ratio.low < row.ratio.value < row.ratio.high


def test_few_seeds_that_scatter_leave_the_curve_on_both_sides() -> None:
    ratio = only([0.15, 0.3, 0.36]).ratio
    assert (ratio.bound, ratio.low, ratio.high, ratio.interval_text) == ("exact", None, None, "wider than the curve")


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=6))
def test_student_with_the_error_of_the_bootstrap_is_student(samples: list[float]) -> None:
    weights, probabilities = seed_resamples(len(samples))
    low, high = student_ends(weights @ np.array(samples), probabilities, len(samples), float(np.mean(samples)))
    student = mean_interval(samples)
    if student.low is not None and student.high is not None:
        assert low == pytest.approx(student.low, abs=1e-7)
        assert high == pytest.approx(student.high, abs=1e-7)


def test_student_is_open_where_a_resample_is() -> None:
    values, probabilities = np.array([1.0, 2.0, math.inf]), np.full(3, 1 / 3)
    low, high = student_ends(values, probabilities, 3, 1.5)
    assert high == math.inf
    assert low < 1.5
    assert student_ends(-values, probabilities, 3, -1.5) == (-math.inf, pytest.approx(-low))


def test_more_scatter_between_seeds_makes_wider_intervals() -> None:
    widths = []
    for spread in (0.001, 0.003, 0.01):
        row = only([0.3 - spread, 0.3, 0.3 + spread])
        assert row.ratio.low is not None
        assert row.ratio.high is not None
        widths.append(row.ratio.high / row.ratio.low)
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]


def test_families_and_the_envelope_over_all_cells() -> None:
    # deeper networks err more at their size: the envelope is the shallow family, until that ends
    floats = {(1.0, 1): 0.4, (2.0, 1): 0.2, (4.0, 1): 0.1, (1.0, 2): 0.38, (2.0, 2): 0.19, (4.0, 2): 0.08}
    sizes = {(1.0, 1): 100.0, (2.0, 1): 200.0, (4.0, 1): 400.0, (1.0, 2): 150.0, (2.0, 2): 300.0, (4.0, 2): 600.0}
    errors = {key: {"float": [error] * 3} for key, error in floats.items()}
    errors[2.0, 2]["retrained-2"] = [0.2] * 3
    rows = {row.curve: row for row in compression_rows(plane(errors, sizes))}
    assert list(rows) == ["depth 2", ALL_CELLS]
    assert rows[ALL_CELLS].float_size == pytest.approx(200)
    assert rows["depth 2"].float_size == pytest.approx(150 * 2 ** ((0.38 - 0.2) / (0.38 - 0.19)))
    assert rows["depth 2"].nominal == rows[ALL_CELLS].nominal == pytest.approx(16)


def test_a_worse_shape_of_the_same_size_changes_nothing() -> None:
    sizes = {(1.0, 1): 100.0, (2.0, 1): 400.0, (1.0, 2): 100.0, (2.0, 2): 400.0}
    errors = {(1.0, 1): 0.4, (2.0, 1): 0.2, (1.0, 2): 0.5, (2.0, 2): 0.3}
    made = {key: {"float": [error] * 3} for key, error in errors.items()}
    made[2.0, 1]["retrained-2"] = [0.3] * 3
    rows = compression_rows(plane(made, sizes))
    assert [row.float_size for row in rows if row.curve == ALL_CELLS] == [pytest.approx(200)]


def test_a_grid_without_two_float_networks_has_no_ratios() -> None:
    assert not compression_rows(row_of_widths([100], [[0.1] * 3], {0: [0.2] * 3}))
    assert not compression_rows(Grid((WIDTH, DEPTH), ()))
    lonely = network(0, {WIDTH: 1.0}, 10, [0.2], "retrained", 2)
    assert not compression_rows(Grid((WIDTH,), (lonely,)))


@pytest.mark.parametrize(
    ("value", "text"), [(0.851, "0.85"), (8.13, "8.1"), (14.2, "14"), (9.96, "10"), (0.996, "1.0")]
)
def test_ratios_have_two_figures(value: float, text: str) -> None:
    assert ratio_text(value) == text


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 5, 10])
def test_intervals_hold_the_true_ratio_as_often_as_the_page_says(n: int) -> None:
    from benchmarks.ratio_coverage import covered

    assert covered(n, studies=300) == pytest.approx(0.95, abs=0.04)


def test_names_of_the_curves_differ() -> None:
    errors = {
        (width, depth): {"float": [0.5 / width / depth] * 2, "retrained-2": [0.6 / width / depth] * 2}
        for width, depth in product((1.0, 2.0, 3.0), (1, 2))
    }
    rows = compression_rows(plane(errors, {key: 100.0 * key[0] * key[1] for key in errors}))
    assert list(dict.fromkeys(row.curve for row in rows)) == ["depth 1", "depth 2", ALL_CELLS]
    assert len(rows) == 12
