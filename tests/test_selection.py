from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precsearch.experiment import ConstraintSettings, ObjectiveSettings
from precsearch.results import TrialRecord
from precsearch.selection import GrowingFront, best, feasible, front, knee, within_budget

ACCURACY = ObjectiveSettings(metric="validation_accuracy", direction="maximize")
BITOPS = ObjectiveSettings(metric="bitops", direction="minimize")
SIZE = ObjectiveSettings(metric="model_size", direction="minimize")
THREE = (ACCURACY, BITOPS, SIZE)


def made(number: int, accuracy: float, bitops: float = 0.0, size: float = 0.0, **fields: object) -> TrialRecord:
    metrics = {"validation_accuracy": accuracy, "bitops": bitops, "model_size": size}
    return TrialRecord.model_validate({"number": number, "state": "complete", "seed": 0, "metrics": metrics, **fields})


def dominates(left: TrialRecord, right: TrialRecord, objectives: tuple[ObjectiveSettings, ...]) -> bool:
    gains = [
        (left.metrics[o.metric] - right.metrics[o.metric]) * (1 if o.direction == "maximize" else -1)
        for o in objectives
    ]
    return all(gain >= 0 for gain in gains) and any(gain > 0 for gain in gains)


few = st.integers(0, 4).map(float)  # few values, so that ties and doubles are common


@given(points=st.lists(st.tuples(few, few, few), max_size=12), count=st.integers(1, 3))
def test_front_is_what_no_other_trial_dominates(points: list[tuple[float, ...]], count: int) -> None:
    objectives = THREE[:count]
    records = [made(number, *point) for number, point in enumerate(points)]
    members = front(records[::-1], objectives)
    numbers = [member.number for member in members]
    assert numbers == sorted(numbers)
    values = [tuple(member.metrics[o.metric] for o in objectives) for member in members]
    assert len(set(values)) == len(values)
    open_ones = [r for r in records if not any(dominates(other, r, objectives) for other in records)]
    assert {tuple(r.metrics[o.metric] for o in objectives) for r in open_ones} == set(values)
    for member in members:  # of equals the first
        equals = [r for r in open_ones if all(r.metrics[o.metric] == member.metrics[o.metric] for o in objectives)]
        assert member.number == equals[0].number


@given(
    points=st.lists(st.tuples(few, few, few), max_size=12),
    count=st.integers(1, 3),
    limit=st.none() | st.integers(0, 4),
    order=st.randoms(),
)
def test_a_front_that_grows_is_the_front_of_all(
    points: list[tuple[float, ...]], count: int, limit: int | None, order: random.Random
) -> None:
    constraints = () if limit is None else (ConstraintSettings(metric="model_size", max=limit),)
    growing = GrowingFront(THREE[:count], constraints)
    records = [made(number, *point) for number, point in enumerate(points)]
    order.shuffle(records)
    for i, record in enumerate(records):
        before = growing.members
        changed = growing.add(record)
        assert growing.members == front(records[: i + 1], THREE[:count], constraints)
        assert changed == (growing.members != before)


def test_failed_pruned_and_infeasible_trials_are_never_on_the_front() -> None:
    limits = (ConstraintSettings(metric="model_size", max=100), ConstraintSettings(metric="bitops", min=10))
    records = [
        made(0, 0.9, 50, 100),
        made(1, 0.99, 50, 101),
        made(2, 0.99, 9, 50),
        TrialRecord(number=3, state="pruned", seed=0),
        TrialRecord(number=4, state="failed", seed=0),
    ]
    assert [feasible(record, limits) for record in records] == [True, False, False, False, False]
    assert [record.number for record in front(records, (ACCURACY, BITOPS), limits)] == [0]
    assert best(records[1:], (ACCURACY,), limits) is None


def test_an_absent_metric_keeps_no_constraint() -> None:
    assert not feasible(made(0, 0.5), (ConstraintSettings(metric="train_loss", max=1),))


def test_best_of_one_objective_is_the_extreme_and_of_equals_the_first() -> None:
    records = [made(3, 0.9), made(1, 0.9), made(2, 0.5)]
    chosen = best(records, (ACCURACY,))
    assert chosen is not None
    assert chosen.number == 1


def test_knee_is_farthest_below_the_line_between_the_ends() -> None:
    # accuracy rises fast to trial 2, then bits buy next to nothing; bitops in units a million times larger
    members = [made(0, 0.50, 1e6), made(1, 0.60, 2e6), made(2, 0.90, 3e6), made(3, 0.92, 9e6)]
    assert knee(members, (ACCURACY, BITOPS)).number == 2


def test_knee_of_a_straight_front_is_its_lowest_number() -> None:
    members = [made(7, 0.5, 1), made(5, 0.6, 2), made(6, 0.7, 3)]
    assert knee(members, (ACCURACY, BITOPS)).number == 5


def test_knee_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        knee([], (ACCURACY,))


@given(points=st.lists(st.tuples(few, few, few), min_size=1, max_size=10), scale=st.floats(1e-3, 1e6))
def test_knee_does_not_depend_on_units(points: list[tuple[float, ...]], scale: float) -> None:
    members = front([made(n, *point) for n, point in enumerate(points)], THREE)
    scaled = [made(r.number, r.metrics["validation_accuracy"], r.metrics["bitops"] * scale,
                   r.metrics["model_size"]) for r in members]  # fmt: skip
    chosen = knee(members, THREE)
    assert knee(scaled, THREE).number == chosen.number
    values = np.array(
        [[-r.metrics["validation_accuracy"], r.metrics["bitops"], r.metrics["model_size"]] for r in members]
    )
    spread = np.ptp(values, axis=0)
    sums = ((values - values.min(axis=0)) / np.where(spread == 0, 1, spread)).sum(axis=1)
    assert sums[members.index(chosen)] == pytest.approx(sums.min())


def test_within_budget_takes_the_most_accurate_that_was_searched_under_the_limit() -> None:
    records = [made(0, 0.8, limit=2.0), made(1, 0.9, limit=3.0), made(2, 0.99, limit=3.5), made(3, 1.0)]
    objectives = (ACCURACY, BITOPS)
    chosen = within_budget(records, 3.0, objectives)
    assert chosen is not None
    assert chosen.number == 1
    assert within_budget(records, 1.9, objectives) is None


def test_within_budget_binds_every_target() -> None:
    both = made(0, 0.8, limit={"weight": 2.0, "activation": 4.0})
    assert within_budget([both], 3.0, (ACCURACY,)) is None
    assert within_budget([both], 4.0, (ACCURACY,)) == both
    assert within_budget([both], {"weight": 2.0, "activation": 4.0}, (ACCURACY,)) == both
    assert within_budget([both], {"weight": 1.5, "activation": 4.0}, (ACCURACY,)) is None
