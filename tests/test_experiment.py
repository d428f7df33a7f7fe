"""Loading, writing and changing a whole experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from precsearch.errors import ConfigurationError
from precsearch.experiment import (
    Experiment,
    apply_point,
    bundled,
    dump_experiment,
    fingerprint,
    load_experiment,
    load_experiment_text,
    with_overrides,
)

SEARCHED = """
inner: {budget: {limit: 3}}
space:
  inner.budget.limit: {type: float, low: 2, high: 6, step: 0.5}
  inner.logits.lr: {type: float, low: 1e-3, high: 1e-1, log: true, when: {inner.budget.limit: [3.0]}}
study: {enqueue: [{inner.budget.limit: 3.0, inner.logits.lr: 0.01}, {inner.budget.limit: 4.0}]}
"""


def extra(scalar_text: str) -> Any:
    """What a scalar of YAML means, seen through a block that passes keys on."""
    return load_experiment_text(f"model: {{x: {scalar_text}}}").model.arguments["x"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("1e-4", 1e-4), ("1e3", 1000.0), ("1.", 1.0), (".5", 0.5), ("-2.5E+2", -250.0), ("6e+02", 600.0)],
        *[("0o17", 15), ("0x1F", 31), ("017", 17), ("-3", -3), ("+3", 3), ("1_000", "1_000")],
        *[("off", "off"), ("on", "on"), ("yes", "yes"), ("no", "no"), ("y", "y"), ("Off", "Off")],
        *[("true", True), ("False", False), ("~", None), ("null", None), ("", None), ("nil", "nil")],
        *[("12:30:45", "12:30:45"), ("2026-11-21", "2026-11-21"), ("1e", "1e"), ("<<", "<<"), ("=", "=")],
        *[("'1e-4'", "1e-4"), ('"true"', "true"), ("!!str 3", "3"), ("!!float 3", 3.0)],
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: Any) -> None:
    found = extra(text)
    assert found == value
    assert type(found) is type(value)


def test_keys_are_texts() -> None:
    experiment = load_experiment_text("inner: {pin: {0: 8, 1.conv: float, on: 4}}")
    assert experiment.inner.pin == {"0": 8, "1.conv": "float", "on": 4}


def test_whole_numbers_stand_where_real_ones_are_asked_for() -> None:
    limit = load_experiment_text("inner: {budget: {limit: 3}}").inner.budget.limit
    assert limit == 3.0
    assert isinstance(limit, float)


def test_empty_blocks_mean_their_defaults() -> None:
    text = "inner:\n  budget:\n  pin:\nstudy:\nspace:\n  # inner.budget.limit: {}\n"
    assert load_experiment_text(text) == Experiment()


def test_anchors_are_read() -> None:
    experiment = load_experiment_text("inner: {bits: &b [2, 4]}\nmodel: {hidden: *b}")
    assert experiment.model.arguments == {"hidden": [2, 4]}


def test_byte_order_mark_and_windows_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: w\r\ndata:\r\n  batch_size: 3\r\n")
    assert load_experiment(path).data.batch_size == 3


def test_an_experiment_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Experiment().inner.budget.limit = 4  # type: ignore[misc]


# --- bundled search spaces


@pytest.mark.parametrize(("name", "first"), [("digits", 2.5), ("mnist", 3.0), ("imagenet", 3.0)])
def test_bundled_space_loads_tries_a_point_first_and_explains_every_line(name: str, first: float) -> None:
    path = bundled(name)
    experiment = load_experiment(path)
    assert experiment.name == name
    assert experiment.study.enqueue[0]["inner.budget.limit"] == first
    assert experiment.executor.name == ("inprocess" if name == "digits" else "ray")
    assert [(o.metric, o.direction) for o in experiment.study.objectives] == [
        ("validation_accuracy", "maximize"),
        ("bitops", "minimize"),
    ]
    lines = path.read_text(encoding="utf-8").splitlines()
    assert max(map(len, lines)) <= 90
    # `data:`-like heads and the first entries of lists speak for themselves; nothing else may go unexplained
    unexplained = [
        line.strip()
        for before, line in zip(["", *lines], lines, strict=False)
        if line.strip() and "#" not in line and not line.endswith(":") and not before.strip().startswith("#")
    ]
    assert [line for line in unexplained if not line.startswith("inner.")] == []


def test_digits_is_the_quick_default() -> None:
    experiment = load_experiment(bundled("digits.yaml"))
    assert experiment.data.name == "digits"
    assert experiment.study.n_trials >= 8
    assert experiment.space["inner.budget.limit"].model_dump(exclude_defaults=True) == {
        "type": "float",
        "low": 2.5,
        "high": 5.0,
        "step": 0.5,
    }


def test_mnist_searches_what_the_mission_names() -> None:
    assert set(load_experiment(bundled("mnist")).space) == {
        "inner.budget.limit",
        "inner.temperature.start",
        "inner.regularization.strength",
        "inner.optimizer.lr",
        "inner.logits.lr",
    }


def test_bundled_names_the_nearest() -> None:
    with pytest.raises(
        ConfigurationError, match=r"digits, imagenet, .*, mnist, .*; got 'mnits'; did you mean 'mnist'\?"
    ):
        bundled("mnits")


# --- writing


@pytest.mark.parametrize("name", ["digits", "mnist", "imagenet"])
def test_dump_is_compact_complete_and_read_alike_by_yaml_1_1(name: str) -> None:
    experiment = load_experiment(bundled(name))
    text = dump_experiment(experiment)
    assert load_experiment_text(text) == experiment
    assert len(text.splitlines()) < 80
    assert "momentum: 0.9" in text  # defaults are written out
    assert Experiment.model_validate(yaml.safe_load(text)) == experiment


# --- one trial's point


def test_apply_point_sets_what_the_trial_chose_and_nothing_else() -> None:
    experiment = load_experiment_text(SEARCHED)
    changed = apply_point(experiment, {"inner.budget.limit": 4.5, "model.width": 3, "inner.pin.layer1.0": 8})
    assert changed.inner.budget.limit == 4.5
    assert changed.model.arguments == {"width": 3}
    assert changed.inner.pin == {"layer1.0": 8}
    assert experiment.inner.budget.limit == 3.0
    assert changed.inner.logits == experiment.inner.logits
    assert apply_point(experiment, {}) == experiment


def test_apply_point_reads_lists_written_as_text() -> None:
    changed = apply_point(Experiment(), {"inner.bits": "2,4, 8", "inner.targets": "weight"})
    assert changed.inner.bits == (2, 4, 8)
    assert changed.inner.targets == ("weight",)
    assert apply_point(Experiment(), {"inner.bits": [2, 4]}).inner.bits == (2, 4)


def test_apply_point_sets_targets_limits_side_by_side() -> None:
    point = {"inner.budget.limit.weight": 3.0, "inner.budget.limit.activation": 4}
    assert apply_point(Experiment(), point).inner.budget.limit == {"weight": 3.0, "activation": 4.0}


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"inner.budget.limt": 3.0}, "did you mean 'inner.budget.limit'"),
        ({"inner.budget.limit": -3.0}, "inner.budget.limit: `limit > 0`"),
        ({"inner.bits": "2,x"}, r"inner.bits\[1\]: a whole number must be given, but got the text 'x'"),
        ({"inner.bits": "2,4.0"}, r"inner.bits\[1\]: .* write 4"),
    ],
)
def test_apply_point_refuses_what_the_experiment_would(params: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        apply_point(Experiment(), params)


# --- identity


@pytest.mark.parametrize("override", ["study.n_trials=99", "study.viewers=[tensorboard]", "executor.max_failures=3"])
def test_fingerprint_lets_a_run_be_continued_with_other_means(override: str) -> None:
    experiment = load_experiment_text(SEARCHED)
    assert fingerprint(with_overrides(experiment, [override])) == fingerprint(experiment)


@pytest.mark.parametrize(
    "override",
    [
        *["study.seed=9", "inner.quantizer=symmetric", "model.hidden=[9]", "name=other"],
        *["space.inner.budget.limit.high=4", "space.inner.logits.lr=null"],
    ],
)
def test_fingerprint_tells_experiments_apart(override: str) -> None:
    experiment = load_experiment_text(SEARCHED)
    assert fingerprint(with_overrides(experiment, [override])) != fingerprint(experiment)


def test_fingerprint_does_not_depend_on_how_the_file_is_written() -> None:
    one = load_experiment_text("model: {b: 1, a: 2}\ninner: {budget: {limit: 3}}\nname: n")
    two = load_experiment_text("name: n # same\ninner: {budget: {limit: 3.0}}\nmodel: {a: 2, b: 1}\nstudy: {}")
    assert fingerprint(one) == fingerprint(two)


FURTHER = """
inner:
  budgets:
    flash: {kind: model_size, limit: 1e5}
    head: {kind: average_bits, limit: {weight: 3}, layers: ["fc*"]}
space:
  inner.budgets.flash.limit: {type: float, low: 1e4, high: 1e5}
"""


def test_further_budgets_have_names_that_paths_lead_to() -> None:
    experiment = load_experiment_text(FURTHER, overrides=["inner.budgets.head.limit.weight=2.5"])
    assert experiment.inner.budgets["head"].limit == {"weight": 2.5}
    assert experiment.inner.budgets["head"].layers == ("fc*",)
    changed = apply_point(experiment, {"inner.budgets.flash.limit": 2e4})
    assert changed.inner.budgets["flash"].limit == 2e4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (FURTHER.replace("flash.limit", "flash.limt"), r"did you mean 'inner\.budgets\.flash\.limit'"),
        (FURTHER.replace("inner.budgets.flash.limit", "inner.budgets.flush.limit"), "kind"),
        (FURTHER.replace("kind: model_size, ", ""), "inner.budgets.flash"),
        (FURTHER.replace("model_size", "latency"), "`table` goes with"),
        (FURTHER.replace("flash: {", "a.b: {"), "names without dots"),
        (FURTHER.replace("kind: average_bits", "kind: avrage_bits"), "did you mean 'average_bits'"),
        ("study: {objectives: [{metric: latency, direction: minimize}]}", "no budget has its table"),
    ],
)
def test_further_budgets_that_are_wrong(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        load_experiment_text(text)
