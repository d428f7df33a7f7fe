"""Arms on the command line: plans, tables, exit statuses, and what it refuses; nothing is trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_trials import run_trial
from made_arms import make_compare, make_grid
from made_runs import listing
from test_arms import COMPARE, GRID, TUNED

from precsearch.cli import main
from precsearch.errors import DivergedError
from precsearch.experiment import Experiment
from precsearch.report.arms_view import read_arms
from precsearch.report.console import console
from precsearch.report.training import ArmsLines, ArmsLive, OneOfArms
from precsearch.results import Progress, RunDirectory, Session, TrialResult

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """The command line in this process and an empty folder, its trainings replaced and the page left out."""

    def train(experiment: Experiment, session: Session, evaluated: str = "validation") -> TrialResult:
        if session.directory.name == "0001-learned-01" and (tmp_path / "fail").exists():
            raise DivergedError("the loss is nan")
        if session.directory.name == "0001-learned-01" and (tmp_path / "interrupt").exists():
            raise KeyboardInterrupt
        (session.directory / "weights.safetensors").write_text("")
        return run_trial(experiment, session, evaluated)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.fsync", lambda file: None)
    monkeypatch.setattr("precsearch.trial.run_trial", train)
    monkeypatch.setattr("precsearch.report.redraw.closing_report", lambda run, tell: None)
    (tmp_path / "compare.yaml").write_text(COMPARE)
    (tmp_path / "tuned.yaml").write_text(TUNED)
    (tmp_path / "grid.yaml").write_text(GRID)

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            main([str(each) for each in arguments])
        return int(exit_.value.code or 0), *capsys.readouterr()

    return run


def test_a_plan_says_how_many_trainings_and_what_arms_cost(call: Call, tmp_path: Path) -> None:
    before = listing(tmp_path)
    status, out, _ = call("run", "compare.yaml", "--dry-run")
    assert status == 0 and "6 arms in them x 2 seeds = 12 trainings, 2 of them" in " ".join(out.split())
    assert "average_bits 2.5" in out and "budget.limit=4" in out
    told = json.loads(call("run", "compare.yaml", "--dry-run", "--json")[1])
    assert (told["trainings"], told["shared"], told["tuning"], told["seeds"]) == (10, 2, 0, 2)
    costs = {(arm["cell"], arm["label"]): arm["costs"].get("average_bits") for arm in told["arms"]}
    assert costs[0, "uniform"] == 2.0 and costs[1, "uniform"] == 4.0 and costs[0, "learned"] is None
    assert costs[0, "float"] == 32.0
    told = json.loads(call("run", "tuned.yaml", "--dry-run", "--json")[1])
    assert told["tuning"] == 12 and "12 trainings more" in call("run", "tuned.yaml", "--dry-run")[1]
    told = json.loads(call("run", "grid.yaml", "--dry-run", "--json")[1])
    assert told["trainings"] == 36 and sum(arm["layer"] is not None for arm in told["arms"]) == 8
    assert listing(tmp_path) == before


def test_run_list_and_resume(call: Call) -> None:
    status, out, err = call("run", "compare.yaml", "--json")
    told = json.loads(out)
    assert status == told["exit_status"] == 0 and told["finished"] and told["wanted"] == 12 and told["report"] is None
    assert "cell 1, learned, seed 1: complete" in err and "10 of 10 trainings done" in err
    assert [(arm["cell"], arm["label"], arm["complete"]) for arm in told["arms"]] == [
        (cell, label, 2) for cell in (0, 1) for label in ("float", "uniform", "learned")
    ]
    for arm in told["arms"]:
        own = [r["metrics"] for r in told["trainings"] if (r["number"], r["baseline"]) == (arm["cell"], arm["label"])]
        assert arm["metrics"]["test_accuracy"] == pytest.approx(sum(m["test_accuracy"] for m in own) / 2)
    listed = json.loads(call("list", "runs/fake", "--json")[1])
    assert {key: told[key] for key in listed} == listed
    status, out, _ = call("list", "runs/fake")
    assert status == 0 and "12 trainings, 12 complete" in out and "uniform" in out and "budget.limit=2.5" in out
    status, out, _ = call("resume", "runs/fake")
    assert status == 0 and "finished already: nothing was trained" in out
    status, out, _ = call("run", "compare.yaml", "--set", "compare.seeds=3", "--json")
    assert status == 0 and json.loads(out)["wanted"] == 18 and len(json.loads(out)["trainings"]) == 18
    status, _, err = call("run", "compare.yaml", "--set", "compare.margin=0.2")
    assert status == 1 and "which is not" in err


def test_failed_trainings_are_told_by_the_exit_status(call: Call, tmp_path: Path) -> None:
    (tmp_path / "fail").touch()
    status, out, _ = call("run", "compare.yaml")
    assert status == 3 and "failed: 0001-learned-01: DivergedError: the loss is nan" in " ".join(out.split())
    assert "1/2 (1 failed)" in out


def test_interrupted_it_says_how_to_go_on(call: Call, tmp_path: Path) -> None:
    (tmp_path / "interrupt").touch()
    status, out, err = call("run", "compare.yaml", "--output", "half done", "--json")
    assert status == 130 and err.splitlines()[-1].endswith("continue with `precsearch resume 'half done'`")
    assert json.loads(out)["exit_status"] == 130
    (tmp_path / "interrupt").unlink()
    listed = json.loads(call("list", "half done", "--json")[1])
    assert not listed["finished"] and 0 < len(listed["trainings"]) < 12
    status, out, _ = call("resume", "half done", "--json")
    assert status == 0 and json.loads(out)["finished"]


def test_one_training_is_shown_and_exported(call: Call, tmp_path: Path) -> None:
    make_compare(tmp_path / "made", seeds=1)
    before = listing(tmp_path)
    status, out, _ = call("show", "made", "--training", "0001-learned-00")
    assert status == 0 and "training 0001-learned-00: complete" in out and "conv1" in out
    told = json.loads(call("show", "made", "--training", "0001-learned-00", "--json")[1])
    assert (told["trial"], told["baseline"], told["record"]["arm"]) == (1, "learned", "learned")
    status, out, _ = call("export", "made", "--training", "0001-learned-00")
    assert status == 0 and json.loads(out) == json.loads(
        (tmp_path / "made" / "trainings" / "0001-learned-00" / "allocation.json").read_text()
    )
    assert listing(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["show", "made"], 2, "name one with --training"),
        (["show", "made", "--training", "0000-unifrom-00"], 2, "did you mean '0000-uniform-00'"),
        (["show", "made", "--training", "0000-uniform-00", "--trial", "1"], 2, "--training goes with no other choice"),
        (["export", "made"], 2, "name a training with --training"),
        (["export", "made", "--training", "0000-uniform-00", "--knee"], 2, "--training goes with no other choice"),
        (["confirm", "made", "--seeds", "2"], 2, "`confirm` like this is for searches, but made is of kind compare"),
        (["resume", "made", "--trials", "9"], 2, "`compare.seeds` says how many trainings there are"),
        (["run", "compare.yaml", "--trials", "20"], 2, "--trials is for searches"),
        (["run", "compare.yaml", "--trials", "7"], 2, "has no outer search"),
        (["run", "compare.yaml", "--set", "compare.arms.uniform.kind=unifrom"], 2, "did you mean 'uniform'"),
    ],
)
def test_what_is_for_searches_only_says_so(
    call: Call, tmp_path: Path, arguments: list[str], status: int, told: str
) -> None:
    make_compare(tmp_path / "made", seeds=1)
    before = listing(tmp_path)
    got, _, err = call(*arguments)
    assert got == status and told in err and len(err.splitlines()) == 1 and listing(tmp_path) == before


def test_a_run_that_is_not_finished_says_so(tmp_path: Path) -> None:
    view = read_arms(make_grid(tmp_path / "half", seeds=2))
    assert not view.finished and len(view.trainings) == len(view.asked_for) == 172 and view.wanted == 430
    assert read_arms(make_grid(tmp_path / "whole")).finished
    failed = read_arms(make_compare(tmp_path / "failed", failed=((0, "uniform", 1),)))
    assert failed.exit_status == 3 and next(row for row in failed.rows if row.failed).complete == 5


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("uniform-02", "cell 3, uniform, seed 2"),
        ("retrained-2-fc1-100", "cell 3, retrained-2-fc1, seed 100"),
        ("tuning/learned-01-00", "cell 3, tuning learned, try 1, seed 0"),
    ],
)
def test_trainings_have_titles(name: str, title: str) -> None:
    assert OneOfArms(3, name, {}, False).title == title


def test_the_live_view_draws_what_is_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from precsearch.experiment.loading import load_experiment_text

    document: Any = load_experiment_text(COMPARE)
    for view in (ArmsLive, ArmsLines):
        with view(document, RunDirectory(tmp_path), console()) as watch:
            watch.study_started(12, [])
            watch.trial_started(1, {}, True, "uniform-00")
            watch.trial_progressed(1, Progress(phase="search", epoch=1, step=1, steps=3, metrics={}), "uniform-00")
            if isinstance(watch, ArmsLive):
                console().print(watch.picture())
    out = capsys.readouterr().out
    assert "0 of 12 trainings done" in out and "cell 1, uniform, seed 0" in out and "fake: 12 trainings of arms" in out


def test_tensorboard_has_every_training(call: Call, tmp_path: Path) -> None:
    assert call("run", "tuned.yaml", "--set", "study.viewers=[tensorboard]")[0] == 0
    logs = {path.parent.name for path in (tmp_path / "runs" / "fake" / "tensorboard").glob("*/events*")}
    assert "0000-uniform-01" in logs and "0001-float-00" not in logs  # which is another's
    tuned = {path.parent.name for path in (tmp_path / "runs" / "fake" / "tensorboard" / "tuning").glob("*/events*")}
    assert len(tuned) == 12
