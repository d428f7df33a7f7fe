"""Searched dimensions: what is asked of a trial, what a grid holds, what a dimension contains."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from precsearch.errors import ConfigurationError
from precsearch.experiment import apply_point, bundled, load_experiment, load_experiment_text
from precsearch.space import CategoricalDimension, Dimension, FloatDimension, IntDimension, grid, suggest


def dimensions(**described: dict[str, Any]) -> dict[str, Dimension]:
    return TypeAdapter(dict[str, Dimension]).validate_python({k.replace("__", "."): v for k, v in described.items()})


class FakeTrial:
    """Answers from a table and writes down what it was asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {name.replace("__", "."): value for name, value in answers.items()}
        self.asked: list[tuple[Any, ...]] = []

    def suggest_float(self, name, low, high, *, step=None, log=False):
        self.asked.append(("float", name, low, high, step, log))
        return self.answers[name]

    def suggest_int(self, name, low, high, *, step=1, log=False):
        self.asked.append(("int", name, low, high, step, log))
        return self.answers[name]

    def suggest_categorical(self, name, choices):
        self.asked.append(("categorical", name, choices))
        return self.answers[name]


SPACE = dimensions(
    schedule={"type": "categorical", "choices": ["constant", "exponential"]},
    end={"type": "float", "low": 0.05, "high": 0.5, "log": True, "when": {"schedule": ["exponential"]}},
    depth={"type": "int", "low": 1, "high": 9, "step": 2, "when": {"end": [0.5]}},
    lr={"type": "float", "low": 0.0, "high": 1.0, "step": 0.25},
)


def test_suggest_asks_in_optunas_words_and_in_order() -> None:
    trial = FakeTrial(schedule="exponential", end=0.5, depth=3, lr=0.25)
    assert suggest(trial, SPACE) == {"schedule": "exponential", "end": 0.5, "depth": 3, "lr": 0.25}
    assert trial.asked == [
        ("categorical", "schedule", ["constant", "exponential"]),
        ("float", "end", 0.05, 0.5, None, True),
        ("int", "depth", 1, 9, 2, False),
        ("float", "lr", 0.0, 1.0, 0.25, False),
    ]


def test_suggest_leaves_out_what_depends_on_another_choice() -> None:
    trial = FakeTrial(schedule="constant", lr=0.0)
    assert suggest(trial, SPACE) == {"schedule": "constant", "lr": 0.0}
    # what depends on a dimension that was left out is left out too
    assert [asked[1] for asked in trial.asked] == ["schedule", "lr"]


@pytest.mark.parametrize("name", ["digits", "mnist", "imagenet"])
def test_optuna_samples_the_bundled_spaces_and_every_point_fits(name: str) -> None:
    experiment = load_experiment(bundled(name))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        point = suggest(study.ask(), experiment.space)
        changed = apply_point(experiment, point)
        assert changed.inner.budget.limit == point["inner.budget.limit"]
        assert all(experiment.space[path].contains(value) for path, value in point.items())


def test_grid_lists_every_value() -> None:
    space = dimensions(
        a={"type": "categorical", "choices": ["x", None, True]},
        b={"type": "int", "low": 1, "high": 5, "step": 2},
        c={"type": "int", "low": 1, "high": 3, "log": True},
        d={"type": "float", "low": 0.1, "high": 0.7, "step": 0.1},
    )
    assert grid(space) == {
        "a": ["x", None, True],
        "b": [1, 3, 5],
        "c": [1, 2, 3],
        "d": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
    }


def test_grid_of_a_float_without_step_says_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match=r"lr is a float without `step`; give it a step"):
        grid(dimensions(lr={"type": "float", "low": 0, "high": 1}))


def test_optunas_grid_sampler_visits_the_grid_once() -> None:
    space = dimensions(
        a={"type": "categorical", "choices": ["x", "y"]},
        d={"type": "float", "low": 0.1, "high": 0.3, "step": 0.1},
    )
    study = optuna.create_study(sampler=optuna.samplers.GridSampler(grid(space), seed=0))
    points = []

    def objective(trial: optuna.Trial) -> float:
        points.append(tuple(suggest(trial, space).values()))
        return 0.0

    study.optimize(objective, n_trials=20)
    assert sorted(points) == [(a, d) for a in "xy" for d in (0.1, 0.2, 0.3)]


@given(st.integers(1, 50), st.integers(0, 60), st.sampled_from([0.1, 0.25, 0.3, 1.0, 1e-3]), st.integers(-5, 5))
def test_grid_of_a_float_stays_inside_and_ends_at_high(steps: int, k: int, step: float, low: int) -> None:
    high = float(low + steps * step)
    dimension = FloatDimension(type="float", low=low, high=high, step=step)
    values = dimension.grid("x")
    assert len(values) == steps + 1
    assert values[0] == low
    assert values[-1] == pytest.approx(high)
    assert all(dimension.contains(min(value, high)) for value in values)
    assert dimension.contains(low + k * step) == (low + k * step <= high)
    assert not dimension.contains(low + (k + 0.5) * step)


def test_contains_is_about_values_and_kinds() -> None:
    real = FloatDimension(type="float", low=0, high=2)
    assert real.contains(1)
    assert real.contains(2.0)
    assert not real.contains(True)
    assert not real.contains("1")
    assert not real.contains(2.0001)
    whole = IntDimension(type="int", low=0, high=8, step=4)
    assert whole.contains(4)
    assert not whole.contains(4.0)
    assert not whole.contains(2)
    assert not whole.contains(True)
    choice = CategoricalDimension(type="categorical", choices=[1, "a", None])
    assert choice.contains(None)
    assert choice.contains(1)
    assert not choice.contains(True)


def test_true_and_one_are_two_choices() -> None:
    assert CategoricalDimension(type="categorical", choices=[True, 1]).choices == (True, 1)
    with pytest.raises(ValidationError, match=r"1\.0 twice"):
        CategoricalDimension(type="categorical", choices=[1, 1.0])


def test_bits_are_searched_as_text() -> None:
    experiment = load_experiment_text(
        """
        space:
          inner.bits: {type: categorical, choices: ["2,4,8", "2,3,4,6,8"]}
          inner.targets: {type: categorical, choices: ["weight", "weight,activation"]}
          inner.temperature.end: {type: float, low: 0.1, high: 1, when: {inner.targets: [weight]}}
        study: {enqueue: [{inner.bits: "2,4,8"}]}
        """
    )
    point = suggest(FakeTrial(inner__bits="2,4,8", inner__targets="weight,activation"), experiment.space)
    changed = apply_point(experiment, point)
    assert changed.inner.bits == (2, 4, 8)
    assert changed.inner.targets == ("weight", "activation")
    assert changed.inner.temperature == experiment.inner.temperature


def test_a_builders_arguments_and_ones_own_data_can_be_searched() -> None:
    experiment = load_experiment_text(
        """
        data: {name: "mine:images"}
        space:
          model.width: {type: int, low: 8, high: 64, log: true}
          data.noise: {type: categorical, choices: [off, 0.1]}
          inner.pin.layer1.0: {type: int, low: 2, high: 8}
        """
    )
    changed = apply_point(experiment, {"model.width": 9, "data.noise": "off", "inner.pin.layer1.0": 3})
    assert changed.model.arguments == {"width": 9}
    assert changed.data.model_extra == {"noise": "off"}
    assert changed.inner.pin == {"layer1.0": 3}
