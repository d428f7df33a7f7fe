from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precsearch.analysis.pareto import Box, Goal, box, hypervolume, nondominated, values
from precsearch.results import TrialRecord

TEST = Goal("test_accuracy", "maximize")
BITS = Goal("average_bits", "minimize")
GOALS = (TEST, BITS)
WITHIN = Box(ideal=(1.0, 2.0), reference=(0.5, 6.0))
few = st.integers(0, 4).map(float)


def made(number: int, accuracy: float, bits: float) -> TrialRecord:
    metrics = {"test_accuracy": accuracy, "average_bits": bits}
    return TrialRecord(number=number, state="complete", seed=0, metrics=metrics)


def test_fronts_of_test_metrics() -> None:
    records = [made(0, 0.9, 3), made(1, 0.9, 2), made(2, 0.8, 2), made(3, 0.95, 6), made(4, 0.95, 6)]
    failed = TrialRecord(number=5, state="failed", seed=0)
    assert [each.number for each in nondominated([*records, failed], GOALS)] == [1, 3]


def test_goals_go_where_their_metrics_go() -> None:
    named = ["test_accuracy", "validation_pgd_accuracy", "test_loss", "bitops", "latency", "generalization_gap"]
    assert [Goal.of(metric).direction for metric in named] == ["maximize"] * 2 + ["minimize"] * 4


def test_hypervolume_by_hand() -> None:
    # scaled to 0 .. 1: accuracy 0.9 -> 0.2, 0.75 -> 0.5; bits 4 -> 0.5, 3 -> 0.25
    points = np.array([[0.9, 4.0], [0.75, 3.0]])
    assert hypervolume(points[:1], GOALS, WITHIN) == pytest.approx(0.8 * 0.5)
    assert hypervolume(points, GOALS, WITHIN) == pytest.approx(0.8 * 0.5 + 0.5 * 0.25)
    assert hypervolume(np.array([[1.0, 2.0]]), GOALS, WITHIN) == 1.0
    assert hypervolume(np.array([[1.1, 1.0]]), GOALS, WITHIN) == 1.0
    assert hypervolume(np.array([[0.5, 2.0], [0.4, 1.0]]), GOALS, WITHIN) == 0.0
    assert hypervolume(np.empty((0, 2)), GOALS, WITHIN) == 0.0


def test_the_box_lies_around_every_point() -> None:
    around = box(np.array([[0.9, 4.0], [0.8, 2.0], [0.7, 3.0]]), GOALS)
    assert around.ideal == (0.9, 2.0)
    assert around.reference == pytest.approx((0.68, 4.2))
    with pytest.raises(ValueError, match="at least one point"):
        box(np.empty((0, 2)), GOALS)


def test_a_goal_that_does_not_vary_is_left_out() -> None:
    points = np.array([[0.9, 4.0], [0.8, 4.0]])
    around = box(points, GOALS)
    assert hypervolume(points[1:], GOALS, around) == pytest.approx(0.01 / 0.11)
    assert hypervolume(points[:1], GOALS, box(points[:1], GOALS)) == 1.0


@given(points=st.lists(st.tuples(few, few, few), min_size=1, max_size=6), scale=st.floats(1e-6, 1e6))
def test_hypervolume_counts_the_cells_that_points_dominate(
    points: list[tuple[float, float, float]], scale: float
) -> None:
    goals = (TEST, BITS, Goal("bitops", "minimize"))
    units = np.array([1.0, 1.0, scale])
    within = Box(ideal=(4.0, 0.0, 0.0), reference=(0.0, 4.0, 4.0 * scale))
    cells = itertools.product(range(4), repeat=3)  # of the space turned so that small is good
    turned = [(4 - a, b, c) for a, b, c in points]
    dominated = sum(
        any(all(p <= cell for p, cell in zip(point, each, strict=True)) for point in turned) for each in cells
    )
    assert hypervolume(np.array(points) * units, goals, within) == pytest.approx(dominated / 64)


def test_values_of_records() -> None:
    assert values([made(0, 0.9, 3)], GOALS).tolist() == [[0.9, 3.0]]
    assert values([], GOALS).shape == (0, 2)
    with pytest.raises(KeyError):
        values([made(0, 0.9, 3)], (Goal.of("bitops"),))
