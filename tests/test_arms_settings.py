"""What the YAML of a `compare` or a `grid` may say, and what its cells and arms are."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from made_arms import COMPARE, GRID, make_compare, make_grid

from precsearch.errors import ConfigurationError
from precsearch.experiment import ARM_KINDS
from precsearch.experiment.cells import arms_of, cells_of, joined
from precsearch.experiment.compare import ArmKind
from precsearch.experiment.loading import dump_experiment, fingerprint, load_experiment, load_experiment_text


@pytest.mark.parametrize("text", [COMPARE, GRID])
def test_written_out_and_read_again_it_is_the_same(text: str) -> None:
    experiment = load_experiment_text(text)
    assert load_experiment_text(dump_experiment(experiment)) == experiment


def test_every_kind_of_arm_is_registered() -> None:
    assert list(ARM_KINDS) == list(get_args(ArmKind))


def test_made_runs_are_read(tmp_path: Path) -> None:
    run = make_compare(tmp_path / "compare", failed=((0, "learned", 2),))
    read = run.trainings()
    assert len(read) == 2 * 4 * 6 and [folder.name for folder, r in read if r.state == "failed"] == ["0000-learned-02"]
    assert {r.label for _, r in read} == set(load_experiment(run.experiment).compare.arms)  # type: ignore[union-attr]
    run = make_grid(tmp_path / "grid", seeds=2)
    assert len(run.trainings()) == 2 * (8 * 7 + 2 * 3 * 5)
    for folder, record in run.trainings():
        assert folder == run.training(record.number, record.label, record.index)


def told(text: str, *sets: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_experiment_text(text, "x.yaml", sets)
    return str(caught.value).splitlines()


ARMS = """version: 1
kind: compare
compare:
  seeds: 3
  at: {inner.budget.limit: [2.5, 4.0]}
  arms:
    float: {kind: float}
    uniform: {kind: uniform}
"""
SIZES = """version: 1
kind: grid
grid:
  axes: {model.hidden: [[8], [16, 16]]}
  layers: true
"""


@pytest.mark.parametrize(
    ("text", "change", "place", "message"),
    [
        (ARMS, ("{kind: uniform}", "{kind: unifrom}"), "8:21: compare.arms.uniform.kind", "did you mean 'uniform'?"),
        (ARMS, ("    uniform:", "    a/b:"), "6:3: compare.arms", "may stand in the name of an arm"),
        (ARMS, ("    uniform: {kind: uniform}\n", ""), "6:3: compare.arms", "at least two arms must be given"),
        (ARMS, ("[2.5, 4.0]", "[2.5, -1]"), "5:34: compare.at.inner.budget.limit[1]", "cannot be -1: `limit > 0`"),
        (ARMS, ("[2.5, 4.0]", "2.5"), "5:28: compare.at.inner.budget.limit", "write [2.5]"),
        (
            ARMS,
            ("budget.limit:", "budget.limt:"),
            "5:8: compare.at.inner.budget.limt",
            "did you mean 'inner.budget.limit'?",
        ),
        (
            ARMS,
            ("inner.budget.limit:", "study.seed:"),
            "5:8: compare.at.study.seed",
            "a path of `data`, `model` or `inner`",
        ),
        (
            ARMS,
            ("  at: {", "  at: {inner.budget: [{}], "),
            "5:28: compare.at.inner.budget.limit",
            "is a part of it; drop one",
        ),
        (
            ARMS,
            ("{kind: uniform}", "{kind: uniform, set: {inner.optimizer.lr: -1}}"),
            "8:56: compare.arms.uniform.set.inner.optimizer.lr",
            "cannot be -1",
        ),
        (
            ARMS,
            ("{kind: uniform}", "{kind: fixed}"),
            "8:14: compare.arms.uniform",
            "'uniform' cannot be trained: `inner`: `allocation` goes with",
        ),
        (ARMS, ("  seeds: 3", "  reference: unform"), "3:1: compare", "`reference` must name an arm"),
        (ARMS, ("  seeds: 3", "  sedes: 3"), "4:3: compare.sedes", "did you mean 'seeds'?"),
        (
            ARMS,
            ("  seeds: 3", "  tune: {over: {inner.optimizer.lr: [1.0, -1]}}"),
            "4:43: compare.tune.over.inner.optimizer.lr[1]",
            "cannot be -1",
        ),
        (
            ARMS,
            ("  seeds: 3", "  tune: {over: {inner.budget.limit: [3.0]}}"),
            "4:17: compare.tune.over.inner.budget.limit",
            "may not be set, but `inner.budget.limit` is, by `at`",
        ),
        (
            ARMS,
            ("  seeds: 3", "  tune: {over: {inner.optimizer.lr: [1.0]}, metric: test_loss}"),
            "4:53: compare.tune.metric",
            "use 'validation_loss'",
        ),
        (
            ARMS,
            ("  seeds: 3", "  tune: {over: {inner.optimizer.lr: [1.0]}, metric: bitops}"),
            "4:53: compare.tune.metric",
            "of the validation split",
        ),
        (
            ARMS,
            ("  seeds: 3", "  tune: {over: {inner.optimizer.lr: [1.0]}, metric: validation_pgd_accuracy}"),
            "4:53: compare.tune.metric",
            "`evaluate.attacks`",
        ),
        (
            ARMS,
            ("kind: compare", "kind: search"),
            "3:1: compare",
            "`compare` goes with `kind: compare`, and only with it",
        ),
        (
            ARMS + "study: {n_trials: 3, seed: 4}\n",
            ("", ""),
            "9:9: study.n_trials",
            "drop `n_trials`; `compare.seeds` says",
        ),
        (ARMS + "study: {viewers: [optuna-dashboard]}\n", ("", ""), "9:18: study.viewers", "`kind: compare` has none"),
        (
            ARMS + "space: {inner.optimizer.lr: {type: float, low: 0.1, high: 0.2}}\n",
            ("", ""),
            "9:1: space",
            "write `compare.at`",
        ),
        (SIZES, ("  layers: true", "  bits: [3, 2]"), "5:9: grid.bits", "write [2, 3]"),
        (SIZES, ("  layers: true", "  arms: [direct]"), "5:9: grid.arms", "float among them"),
        (
            SIZES,
            ("  layers: true", "  retrain: {inner.epochs.finetune: -2}"),
            "5:36: grid.retrain.inner.epochs.finetune",
            "cannot be -2",
        ),
        (
            SIZES,
            ("  layers: true", "  retrain: {inner.epochs.fientune: 2}"),
            "5:13: grid.retrain.inner.epochs.fientune",
            "did you mean",
        ),
        (SIZES, ("  layers: true", "  layers_at: {model.hidden: [8]}"), "3:1: grid", "goes with `layers: true`"),
        (
            SIZES,
            ("  layers: true", "  layers: true\n  layers_at: {model.hidden: [9]}"),
            "3:1: grid",
            "must be on the axis model.hidden",
        ),
        (SIZES, ("  layers: true", "  layers: true\n  arms: [float]"), "3:1: grid", "direct or retrained"),
        (SIZES, ("kind: grid", "kind: gird"), "2:7: kind", "did you mean 'grid'?"),
    ],
)
def test_whatever_is_wrong_is_told_at_its_place(text: str, change: tuple[str, str], place: str, message: str) -> None:
    assert change[0] in text
    lines = told(text.replace(*change))
    assert lines[0].startswith(f"x.yaml:{place}") and message in lines[0] and len(lines) == 1, lines


def test_a_kind_without_its_block_and_the_reverse_are_both_told() -> None:
    lines = told(ARMS, "kind=grid")
    assert len(lines) == 2 and "--set kind=grid: `kind: grid` needs a block `grid`" in "".join(lines)
    assert any("3:1: compare: `compare` goes with `kind: compare`" in line for line in lines)


def test_runs_of_searches_go_on() -> None:
    """Their fingerprint is what it was before there were kinds."""
    assert fingerprint(load_experiment_text("version: 1")) == "92fec253f504fc26"
    assert fingerprint(load_experiment_text("version: 1\nkind: search")) == "92fec253f504fc26"


@pytest.mark.parametrize(("text", "kind"), [(ARMS, "compare"), (SIZES, "grid")])
def test_seeds_may_grow_and_nothing_else(text: str, kind: str) -> None:
    own = fingerprint(load_experiment_text(text))
    assert fingerprint(load_experiment_text(text, overrides=[f"{kind}.seeds=9"])) == own
    others = {"compare": ["compare.margin=0.1", "compare.at.inner.budget.limit=[3.0]"], "grid": ["grid.bits=[2]"]}
    for other in (*others[kind], "study.seed=1", "inner.epochs.search=9", "name=else"):
        assert fingerprint(load_experiment_text(text, overrides=[other])) != own


def test_outer_searches_of_ones_own_take_searches_only() -> None:
    from precsearch import OptunaObjective
    from precsearch.study.tune_space import document_of

    experiment = load_experiment_text(ARMS)
    with pytest.raises(
        ConfigurationError, match="OptunaObjective is for searches, but 'experiment' is of kind compare"
    ):
        OptunaObjective(experiment)
    with pytest.raises(ConfigurationError, match="Ray Tune is for searches"):
        document_of(experiment, ())


def test_the_reference_is_the_uniform_arm_unless_named() -> None:
    def against(*sets: str) -> str:
        compare = load_experiment_text(ARMS, overrides=sets).compare
        assert compare is not None
        return compare.against

    assert against() == "uniform" and against("compare.reference=float") == "float"
    assert against("compare.arms={a: {kind: float}, b: {kind: random}}") == "a"


def test_what_arms_set_wins_over_their_cell_and_comes_after_it() -> None:
    assert list(joined({"a": 1, "b.c": 2}, {"b": {}, "a": 3}).items()) == [("b.c", 2), ("b", {}), ("a", 3)]
    experiment = load_experiment_text(ARMS, overrides=["compare.at={inner.bits: [[2], [4]], data.batch_size: [8, 16]}"])
    assert cells_of(experiment)[:2] == [
        {"inner.bits": [2], "data.batch_size": 8}, {"inner.bits": [2], "data.batch_size": 16},
    ]  # fmt: skip
    assert [arm.label for arm in arms_of(experiment)] == ["float", "uniform"]
