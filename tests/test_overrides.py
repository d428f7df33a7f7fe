"""`--set PATH=VALUE`: what it changes, and how its mistakes are told."""

from __future__ import annotations

from typing import Any

import pytest

from precsearch.errors import ConfigurationError
from precsearch.experiment import Experiment, load_experiment_text, with_overrides

SEARCHED = """
inner: {budget: {limit: 3}}
space:
  inner.budget.limit: {type: float, low: 2, high: 6, step: 0.5}
  inner.logits.lr: {type: float, low: 1e-3, high: 1e-1, log: true, when: {inner.budget.limit: [3.0]}}
study: {enqueue: [{inner.budget.limit: 3.0, inner.logits.lr: 0.01}, {inner.budget.limit: 4.0}]}
"""


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("inner.bits=[2, 4]", "inner.bits", (2, 4)),
        ("inner.optimizer.lr=1e-4", "inner.optimizer.lr", 1e-4),
        (" data.batch_size = 32 ", "data.batch_size", 32),
        ("data.root=a=b", "data.root", "a=b"),
        ("inner.budget={kind: bitops, limit: 1e6}", "inner.budget.limit", 1e6),
        ("inner.optimizer.finetune_lr=null", "inner.optimizer.finetune_lr", None),
        ("inner.budget.limit.weight=2", "inner.budget.limit", {"weight": 2.0}),
        ("model.hidden=[8, 8]", "model.hidden", [8, 8]),
        ("inner.pin.layer1.0.conv=8", "inner.pin", {"layer1.0.conv": 8}),
    ],
)
def test_override_sets_its_path(override: str, path: str, value: Any) -> None:
    for experiment in (
        load_experiment_text("name: x", overrides=[override]),
        with_overrides(Experiment(), [override]),
    ):
        here: Any = experiment
        for part in path.split("."):
            here = getattr(here, part)
        assert here == value


def test_the_later_override_wins() -> None:
    assert with_overrides(Experiment(), ["study.seed=1", "study.seed=2"]).study.seed == 2


def test_override_of_a_key_of_a_dimension() -> None:
    space = with_overrides(load_experiment_text(SEARCHED), ["space.inner.budget.limit.high=4"]).space
    assert space["inner.budget.limit"].high == 4.0
    assert space["inner.budget.limit"].low == 2.0


def test_removing_a_dimension_lets_its_value_be_set_and_forgets_its_points() -> None:
    remove = ["space.inner.logits.lr=null", "space.inner.budget.limit=null"]
    changed = with_overrides(load_experiment_text(SEARCHED), [*remove, "inner.budget.limit=5"])
    assert changed.space == {}
    assert changed.study.enqueue == ()
    assert changed.inner.budget.limit == 5.0
    kept = with_overrides(load_experiment_text(SEARCHED), remove[:1])
    assert list(kept.space) == ["inner.budget.limit"]
    assert kept.study.enqueue == ({"inner.budget.limit": 3.0}, {"inner.budget.limit": 4.0})


def test_overriding_beside_a_searched_path_is_allowed() -> None:
    assert (
        with_overrides(load_experiment_text(SEARCHED), ["inner.budget={kind: layer_bits}"]).inner.budget.kind
        == "layer_bits"
    )


def test_override_adds_a_dimension() -> None:
    added = with_overrides(Experiment(), ["space.inner.logits.lr={type: float, low: 0.1, high: 1}"])
    assert list(added.space) == ["inner.logits.lr"]


SPACE = """
space:
  inner.budget.limit: {type: float, low: 2, high: 6, step: 0.5}
study: {enqueue: [{inner.budget.limit: 3.0}]}
"""
BAD_OVERRIDES = {
    "inner.sampler=abc": ["one of", "'abc'"],
    "inner.logits.lr='1e-4'": ["drop the quotes"],
    "inner.budget.limt=3": ["did you mean 'inner.budget.limit'?"],
    "budget.kind=bitops": ["did you mean 'inner.budget.kind'?"],
    "inner.budget.limit=3": ["searched in `space`", "--set space.inner.budget.limit=null"],
    "inner.budget.limit.weight=3": ["searched in `space`"],
    "inner.budget={limit: 3}": ["searched in `space`"],
    "inner.bits": ["PATH=VALUE"],
    "=3": ["PATH=VALUE"],
    "inner.bits=[2,": ["never closed"],
    "inner.epochs=3": ["mapping"],
    "study.n_trials.x=3": ["`study.n_trials` has no keys"],
    "study.objectives.0.metric=bitops": ["`study.objectives` has no keys", "whole"],
    "space.inner.budget.lmit.low=3": ["not searched", "did you mean 'inner.budget.limit.low'?"],
    "space.inner.logits.lr=null": ["not searched", "searched are inner.budget.limit"],
    "space.inner.budget.limit.low=a": ["a number must be given"],
    "space.inner.budget.limit.low=-2": ["`limit > 0`"],
    "space.inner.nothing={type: int, low: 1, high: 2}": ["there is no `inner.nothing`"],
}


@pytest.mark.parametrize("override", BAD_OVERRIDES)
def test_bad_override_is_told_at_the_override(override: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_experiment_text(SPACE, "good.yaml", [override])
    message = str(caught.value)
    assert message.startswith(f"--set {override}: ")
    assert "\n" not in message
    for word in BAD_OVERRIDES[override]:
        assert word in message


def test_bad_override_of_a_loaded_experiment_is_told_the_same() -> None:
    experiment = load_experiment_text(SPACE)
    with pytest.raises(ConfigurationError, match=r"--set inner\.sampler=abc: one of"):
        with_overrides(experiment, ["inner.sampler=abc"])


def test_override_that_breaks_its_block_is_named() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_experiment_text(SPACE, "good.yaml", ["space.inner.budget.limit.low=9"])
    assert str(caught.value).startswith("good.yaml:3:23: space.inner.budget.limit: `low <= high`")
    assert "(after --set space.inner.budget.limit.low=9)" in str(caught.value)
