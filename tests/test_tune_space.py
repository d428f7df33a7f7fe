"""The searched dimensions as Tune draws them, and a config of Tune's as a point of the experiment."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

import precsearch
from precsearch.errors import ConfigurationError, PrecsearchError
from precsearch.experiment import Experiment, load_experiment_text
from precsearch.space import Dimension
from precsearch.study.tune_space import at_home, point_of, seed_in

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # Ray on how it will count accelerators
    from ray.tune.search.optuna import OptunaSearch
    from ray.tune.search.sample import Categorical, Domain

ADAPTER: TypeAdapter[Dimension] = TypeAdapter(Dimension)
HOME = Path("/home/of/the/driver")
SPACE = """
space:
  inner.budget.limit: {type: float, low: 2.0, high: 6.0, step: 0.5}
  inner.temperature.schedule: {type: categorical, choices: [constant, linear]}
  inner.temperature.end: {type: float, low: 0.1, high: 0.5, log: true, when: {inner.temperature.schedule: [linear]}}
  inner.epochs.search: {type: int, low: 2, high: 9, step: 7}
  inner.epochs.finetune: {type: int, low: 0, high: 2, when: {inner.temperature.end: [0.1]}}
  data.batch_size: {type: int, low: 8, high: 256, log: true}
  inner.bits: {type: categorical, choices: ["2,4,8", "2,3,4,6,8"]}
"""


def document(more: str = SPACE) -> Experiment:
    return load_experiment_text(f"version: 1\n{more}")


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False).map(lambda value: round(value, 6))


@st.composite
def dimensions(draw: st.DrawFn) -> Dimension:
    raw: dict[str, Any]
    match draw(st.sampled_from(["float", "log float", "stepped float", "int", "log int", "stepped int", "choice"])):
        case "float":
            low = draw(numbers(-1e3, 1e3))
            raw = {"type": "float", "low": low, "high": low + abs(draw(numbers(0, 1e3)))}
        case "log float":
            low = draw(st.floats(1e-8, 1e3))
            raw = {"type": "float", "low": low, "high": low * draw(st.floats(1, 1e6)), "log": True}
        case "stepped float":
            step, first, steps = draw(numbers(1e-4, 10)), draw(st.integers(-50, 50)), draw(st.integers(0, 40))
            low = first * step + draw(st.sampled_from([0.0, 0.0, 0.5])) * step
            raw = {"type": "float", "low": low, "high": low + steps * step, "step": step}
        case "int":
            low = draw(st.integers(-1000, 1000))
            raw = {"type": "int", "low": low, "high": low + draw(st.integers(0, 50))}
        case "log int":
            low = draw(st.integers(1, 1000))
            raw = {"type": "int", "low": low, "high": low + draw(st.integers(0, 10000)), "log": True}
        case "stepped int":
            step, low = draw(st.integers(1, 20)), draw(st.integers(-50, 50))
            raw = {"type": "int", "low": low, "high": low + draw(st.integers(0, 9)) * step, "step": step}
        case _:
            scalars = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
            raw = {"type": "categorical", "choices": draw(st.lists(scalars, min_size=1, max_size=5, unique=True))}
    try:
        return ADAPTER.validate_python(raw)
    except ValidationError:  # `low + steps * step` may be no whole number of steps from `low` in floating point
        return ADAPTER.validate_python({"type": "int", "low": 1, "high": 2})


def space_of(dimension: Dimension) -> dict[str, Any]:
    # not validated: the path only has to be one
    return precsearch.tune_space(Experiment.model_construct(space={"inner.budget.limit": dimension}))


@settings(max_examples=400, deadline=None)
@given(dimension=dimensions(), seed=st.integers(0, 2**32 - 1))
def test_what_tune_draws_the_dimension_contains(dimension: Dimension, seed: int) -> None:
    domain = space_of(dimension)["inner.budget.limit"]
    assert isinstance(domain, Domain)
    random = np.random.RandomState(seed)
    for _ in range(20):
        value = domain.sample(random_state=random)
        assert dimension.contains(value), (dimension, value)
        assert type(value).__module__ == "builtins"


@settings(max_examples=150, deadline=None)
@given(dimension=dimensions(), seed=st.integers(0, 1000))
def test_what_optuna_draws_from_tunes_domains_the_dimension_contains(dimension: Dimension, seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        distributions = OptunaSearch.convert_search_space(space_of(dimension))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    value = study.ask(distributions).params["inner.budget.limit"]
    assert dimension.contains(value), (dimension, value)


@pytest.mark.parametrize(
    ("dimension", "reached"),
    [
        ({"type": "int", "low": 2, "high": 4}, {2, 3, 4}),
        ({"type": "int", "low": 2, "high": 4, "step": 1}, {2, 3, 4}),
        ({"type": "int", "low": 2, "high": 4, "log": True}, {2, 3, 4}),
        ({"type": "int", "low": 2, "high": 6, "step": 2}, {2, 4, 6}),
        ({"type": "int", "low": 3, "high": 7, "step": 2}, {3, 5, 7}),
        ({"type": "float", "low": 2.0, "high": 3.0, "step": 0.5}, {2.0, 2.5, 3.0}),
        ({"type": "float", "low": 0.1, "high": 0.3, "step": 0.1}, {0.1, 0.2, 0.3}),  # 3 * 0.1 lies beyond 0.3
        ({"type": "float", "low": 0.05, "high": 0.25, "step": 0.1}, {0.05, 0.15, 0.25}),
        ({"type": "categorical", "choices": [None, True, 1.5, "a"]}, {None, True, 1.5, "a"}),
    ],
)
def test_every_value_is_reached(dimension: dict[str, Any], reached: set[Any]) -> None:
    domain = space_of(ADAPTER.validate_python(dimension))["inner.budget.limit"]
    random = np.random.RandomState(0)
    assert {domain.sample(random_state=random) for _ in range(300)} == reached


def test_the_keys_are_the_paths_and_optuna_is_warned_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    space = precsearch.tune_space(document())
    assert list(space) == list(document().space)
    with caplog.at_level(logging.WARNING):
        assert OptunaSearch.convert_search_space(space).keys() == space.keys()
    assert not caplog.records
    fixed = precsearch.tune_space(document(), overrides=["space.inner.budget.limit={type: float, low: 2, high: 3}"])
    assert (fixed["inner.budget.limit"].lower, fixed["inner.budget.limit"].upper) == (2, 3)
    assert isinstance(space["inner.epochs.search"], Categorical)  # 2 and 9 are no multiples of 7


def point(config: dict[str, Any], more: str = SPACE) -> Experiment:
    return point_of(document(more), config, HOME)


def test_a_config_is_a_point() -> None:
    config = {"inner.budget.limit": np.float64(2.5), "data.batch_size": np.int64(32), "inner.bits": "2,4,8"}
    found = point(config | {"model.name": "lenet5", "inner.optimizer.lr": 0.5, "seed": 3})
    assert (found.inner.budget.limit, found.data.batch_size, found.inner.bits) == (2.5, 32, (2, 4, 8))
    assert (found.model.name, found.inner.optimizer.lr) == ("lenet5", 0.5)


@pytest.mark.parametrize(
    ("config", "end", "finetune"),
    [
        ({"inner.temperature.schedule": "linear"}, 0.1, 1),
        ({"inner.temperature.schedule": "constant"}, 0.2, 3),  # the second hangs on the first, which is left out
        ({}, 0.2, 3),  # the experiment's own schedule is exponential
    ],
)
def test_conditions_are_held_against_what_applies(config: dict[str, Any], end: float, finetune: int) -> None:
    found = point({**config, "inner.temperature.end": 0.1, "inner.epochs.finetune": 1})
    assert (found.inner.temperature.end, found.inner.epochs.finetune) == (end, finetune)


def test_a_parent_that_the_tuner_does_not_search_has_the_experiments_value() -> None:
    found = point({"inner.temperature.end": 0.1}, SPACE + "inner: {temperature: {schedule: linear}}")
    assert found.inner.temperature.end == 0.1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"lr": 0.1}, r"config.*no `lr`; did you mean 'inner\.optimizer\.lr'\?"),
        ({"inner.budget.limt": 3.0}, r"no `inner\.budget\.limt`; did you mean 'inner\.budget\.limit'\?"),
        ({"study.seed": 1}, r"data, model, inner, or `seed`.*got 'study\.seed'"),
        ({"inner.budget.limit": -1.0}, r"inner\.budget\.limit: `limit > 0` must hold"),
    ],
)
def test_a_config_that_is_none_of_ours(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        point(config)


def test_paths_are_those_of_the_driver() -> None:
    assert point({}).data.root == str(HOME / "data")
    assert point({"data.root": "/elsewhere"}).data.root == "/elsewhere"
    fixed = "inner: {sampler: fixed, allocation: best.json}"
    assert at_home(document(fixed), HOME).inner.allocation == str(HOME / "best.json")
    assert at_home(document("inner: {sampler: fixed, allocation: [2, 3]}"), HOME).inner.allocation == (2, 3)


def test_a_seed_in_the_config() -> None:
    assert seed_in({}) is None
    assert seed_in({"seed": np.int64(7)}) == 7
    for wrong in (-1, True, 1.5, "7", 2**32):
        with pytest.raises(ConfigurationError, match=r"`seed` in the config must be a whole number"):
            seed_in({"seed": wrong})


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    for function in (precsearch.tune_space, precsearch.tune_trainable):
        with pytest.raises(PrecsearchError, match=r"needs Ray Tune, but .*; pip install 'ray\[tune\]'"):
            function(document())
