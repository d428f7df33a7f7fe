from __future__ import annotations

import math

import numpy as np
import pytest

from precsearch.analysis.importance import parameter_importances
from precsearch.results import TrialRecord
from precsearch.space import CategoricalDimension, Dimension, FloatDimension, IntDimension

METRIC = "validation_accuracy"
CHOICES = ("x", True, None, 1)
SPACE: dict[str, Dimension] = {
    "rate": FloatDimension(type="float", low=1e-4, high=1, log=True),
    "kind": CategoricalDimension(type="categorical", choices=CHOICES),
    "depth": IntDimension(type="int", low=1, high=9, when={"kind": ("x", True)}),
    "limit": FloatDimension(type="float", low=2, high=6, step=0.5),
}


def trials(n: int, noise: float = 0.05, seed: int = 0) -> list[TrialRecord]:
    """Trials whose metric is the logarithm of the rate, and the depth where it is searched; `limit` does nothing."""
    draws = np.random.default_rng(seed)
    records = []
    for number in range(n):
        kind = CHOICES[draws.integers(4)]
        params = {"rate": float(10 ** draws.uniform(-4, 0)), "kind": kind, "limit": 2 + 0.5 * float(draws.integers(9))}
        if SPACE["depth"].holds(params):
            params["depth"] = int(draws.integers(1, 10))
        value = math.log10(params["rate"]) + params.get("depth", 0) / 3 + draws.normal(0, noise)
        metrics = {METRIC: float(value)}
        records.append(TrialRecord(number=number, state="complete", seed=0, params=params, metrics=metrics))
    return records


def test_what_matters_is_found_with_conditional_and_log_dimensions() -> None:
    records = trials(60)
    found = parameter_importances(records, SPACE, METRIC)
    assert found.believed
    assert found.message == ""
    assert found.r2 == pytest.approx(0.9, abs=0.1)
    drops = {each.param: each.drop for each in found.importances}
    shares = {each.param: each.share for each in found.importances}
    assert min(drops["rate"], drops["depth"]) > 0.2
    assert max(drops["kind"], drops["limit"]) < 0.05
    assert min(shares["rate"], shares["depth"]) > max(shares["kind"], shares["limit"])
    assert sum(shares.values()) == pytest.approx(1)
    assert [each.drop for each in found.importances] == sorted(drops.values(), reverse=True)
    searched = {each.param: each.trials for each in found.importances}
    assert searched == {**dict.fromkeys(SPACE, 60), "depth": sum("depth" in record.params for record in records)}


def test_dependences_follow_the_metric() -> None:
    along = {each.param: each for each in parameter_importances(trials(60), SPACE, METRIC).dependences}
    rate, kind, depth, limit = (along[name] for name in SPACE)
    assert [each.scale for each in (rate, kind, depth, limit)] == ["log", "choices", "linear", "linear"]
    # four decades of the rate are worth 4; the first and the last one blur at the ends
    assert np.all(np.diff(rate.predicted) > -0.3)
    assert rate.predicted[-1] - rate.predicted[0] == pytest.approx(4, abs=1.2)
    assert 1e-4 <= rate.values[0] < rate.values[-1] <= 1
    assert set(depth.values) == {record.params["depth"] for record in trials(60) if "depth" in record.params}
    assert depth.predicted[-1] - depth.predicted[0] == pytest.approx(8 / 3, abs=0.8)
    assert kind.values == CHOICES
    assert np.ptp(limit.predicted) < 0.3


def test_dependences_are_those_of_scikit_learn() -> None:
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import partial_dependence

    records = [record.model_copy(update={"params": {k: v for k, v in record.params.items() if k in {"rate", "limit"}}})
               for record in trials(25)]  # fmt: skip
    space = {name: SPACE[name] for name in ("rate", "limit")}
    ours = next(each for each in parameter_importances(records, space, METRIC).dependences if each.param == "limit")
    x = np.array([[math.log10(record.params["rate"]), record.params["limit"]] for record in records])
    forest = RandomForestRegressor(n_estimators=50, random_state=0).fit(x, [r.metrics[METRIC] for r in records])
    theirs = partial_dependence(forest, x, [1], method="brute", kind="average", percentiles=(0, 1))
    assert ours.values == pytest.approx(theirs["grid_values"][0])
    assert ours.predicted == pytest.approx(theirs["average"][0])


def test_noise_is_not_to_be_believed() -> None:
    records = trials(40, noise=1000)
    found = parameter_importances(records, SPACE, METRIC)
    assert not found.believed
    assert found.r2 is not None
    assert found.r2 < 0.3
    assert found.message.startswith("Of the differences in validation accuracy between trials that it has not seen")
    assert found.message.endswith(f"(R2 {found.r2:.2f}): believe no importance here.")
    assert len(found.importances) == 4


def test_the_better_direction_decides_what_the_best_trials_share() -> None:
    # high values all have one choice, low ones spread over limits
    draws = np.random.default_rng(0)
    records = []
    for number in range(200):
        limit, kind = 2 + 0.5 * float(draws.integers(9)), CHOICES[draws.integers(4)]
        value = (
            float(kind == "x") + 0.01 * draws.normal() if kind == "x" else -float(limit == 2) + 0.01 * draws.normal()
        )
        params = {"limit": limit, "kind": kind}
        records.append(TrialRecord(number=number, state="complete", seed=0, params=params, metrics={METRIC: value}))
    space = {name: SPACE[name] for name in ("kind", "limit")}
    up = {e.param: e.share for e in parameter_importances(records, space, METRIC).importances}
    down = {e.param: e.share for e in parameter_importances(records, space, METRIC, "minimize").importances}
    assert up["kind"] > 0.8
    assert down["limit"] > 0.5


@pytest.mark.parametrize(
    ("records", "space", "message"),
    [
        (trials(9), SPACE, "9 complete trials are too few to tell which parameters matter: it takes 10."),
        ([], SPACE, "0 complete trials are too few to tell which parameters matter: it takes 10."),
        (trials(12), {}, "The experiment searches no parameter."),
        (
            [record.model_copy(update={"params": {}}) for record in trials(12)],
            SPACE,
            "No trial searched a parameter of the experiment.",
        ),
        (
            [record.model_copy(update={"metrics": {METRIC: 0.5}}) for record in trials(12)],
            SPACE,
            "Every trial has the same validation accuracy.",
        ),
    ],
)
def test_a_message_instead_of_figures(records: list[TrialRecord], space: dict[str, Dimension], message: str) -> None:
    found = parameter_importances(records, space, METRIC)
    assert (found.message, found.importances, found.dependences, found.r2) == (message, (), (), None)


def test_trials_without_the_metric_are_left_out_and_one_value_tried_is_fine() -> None:
    records = trials(12)
    records = [record.model_copy(update={"params": {**record.params, "limit": 3.0}}) for record in records]
    bad = [TrialRecord(number=99, state="failed", seed=0, params=records[0].params)]
    found = parameter_importances(records + bad, SPACE, METRIC)
    assert found.trials == 12
    assert next(each for each in found.dependences if each.param == "limit").values == (3.0,)
    assert next(each for each in found.importances if each.param == "limit").drop == 0
