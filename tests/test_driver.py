from __future__ import annotations

import json
import logging
import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import optuna
import pytest
from fake_trials import Watcher, experiment, failing, finish, left_behind, open_study, run_trial

from precsearch.allocation import Allocation
from precsearch.errors import (
    BudgetError,
    ConfigurationError,
    DataError,
    DivergedError,
    ModelError,
    RunDirectoryError,
)
from precsearch.experiment import Experiment
from precsearch.results import RunDirectory, Session, TrialResult, read_record
from precsearch.study.driver import check_study, run_study
from precsearch.study.seeds import trial_seed


def test_a_new_run_directory_holds_everything(tmp_path: Path) -> None:
    document, directory, watcher = (
        experiment("n_trials: 4, seed: 7"),
        RunDirectory(tmp_path / "run"),
        Watcher(),
    )
    summary = run_study(document, directory, watcher, run_trial)
    assert (summary.complete, summary.pruned, summary.failed) == (4, 0, 0)
    records = directory.records()
    assert [record.number for record in records] == [0, 1, 2, 3]
    assert [record.seed for record in records] == [trial_seed(7, number) for number in range(4)]
    assert len({record.seed for record in records}) == 4
    assert all(record.limit == record.params["inner.budget.limit"] for record in records)
    assert summary.best in summary.front
    assert summary.front == tuple(watcher.fronts[-1])
    environment = json.loads(directory.environment.read_text())
    assert environment["packages"]["optuna"] == optuna.__version__
    assert environment["seed"] == 7
    pareto = json.loads(directory.pareto.read_text())
    assert (pareto["format"], pareto["version"], pareto["best"]) == ("precsearch-pareto", 1, summary.best)
    for member in pareto["front"]:
        assert (directory.path / member["allocation"]).is_file()
        once = {"float"} if member["trial"] == summary.best else set()
        assert set(member["baselines"]) == {"uniform", "random"} | once
        for beside in member["baselines"].values():
            assert (directory.path / beside["allocation"]).is_file()
    best = Allocation.from_json(directory.best)
    assert best.provenance["seed"] == trial_seed(7, summary.best or 0)
    assert not list(directory.path.rglob("checkpoint"))


def test_two_runs_are_the_same_and_another_seed_is_not(tmp_path: Path) -> None:
    left = [
        left_behind(tmp_path / name)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
        if run_study(experiment(f"n_trials: 3, seed: {seed}"), RunDirectory(tmp_path / name), Watcher(), run_trial)
    ]
    assert left[0] == left[1] != left[2]


def test_baselines_train_the_members_point_at_equal_cost(tmp_path: Path) -> None:
    seen: dict[str, tuple[Experiment, int]] = {}

    def run(experiment: Experiment, session: Session) -> TrialResult:
        seen[session.directory.name] = experiment, session.seed
        return run_trial(experiment, session)

    summary = run_study(experiment("n_trials: 3"), RunDirectory(tmp_path), Watcher(), run)
    for number in summary.front:
        searched, seed = seen[f"{number:04d}"]
        for kind in ("uniform", "random"):
            beside, same_seed = seen[f"{number:04d}-{kind}"]
            inner = beside.inner.model_copy(update={"sampler": searched.inner.sampler})
            assert (beside.inner.sampler, inner, same_seed) == (kind, searched.inner, seed)
    assert len(seen) == 3 + 2 * len(summary.front) + 1  # and one float


def test_a_baseline_that_fails_is_recorded_and_not_tried_again(tmp_path: Path) -> None:
    def run(experiment: Experiment, session: Session) -> TrialResult:
        if experiment.inner.sampler == "random":
            raise BudgetError("no such bits")
        return run_trial(experiment, session)

    directory = RunDirectory(tmp_path)
    summary = run_study(experiment("n_trials: 2"), directory, Watcher(), run)
    states = {(record.number, record.baseline): record.state for record in directory.baselines()}
    assert set(states.values()) == {"complete", "failed"}
    assert all(state == "failed" for (_, kind), state in states.items() if kind == "random")
    again = Watcher()
    assert run_study(experiment("n_trials: 2"), directory, again, run).front == summary.front
    assert again.started == []
    front = json.loads(directory.pareto.read_text())["front"]
    assert all(set(member["baselines"]) - {"float"} == {"uniform"} for member in front)


@pytest.mark.parametrize(
    "error",
    [
        DivergedError("loss is nan"),
        ZeroDivisionError("oops"),
        BudgetError("too small"),
        ModelError("no model"),
    ],
)
def test_a_trial_that_raises_fails_alone(tmp_path: Path, error: Exception) -> None:
    directory = RunDirectory(tmp_path)
    summary = run_study(experiment("n_trials: 3, baselines: []"), directory, Watcher(), failing(error))
    assert (summary.complete, summary.failed) == (2, 1)
    record = read_record(directory.trial(1))
    assert record is not None
    assert (record.state, record.reason, record.metrics) == ("failed", f"{type(error).__name__}: {error}", {})
    assert "Traceback" in (directory.trial(1) / "error.txt").read_text()
    told = open_study(directory).trials[1]
    assert (told.state.name, told.user_attrs["fail_reason"]) == ("FAIL", record.reason)


@pytest.mark.parametrize("error", [ConfigurationError("bad"), DataError("gone"), RunDirectoryError("full")])
def test_what_every_trial_would_raise_ends_the_study_and_stays_resumable(tmp_path: Path, error: Exception) -> None:
    document, directory = experiment("n_trials: 3, baselines: []"), RunDirectory(tmp_path)
    with pytest.raises(type(error), match=str(error)):
        run_study(document, directory, Watcher(), failing(error))
    assert json.loads(directory.pareto.read_text())["front"]  # the front so far
    assert run_study(document, directory, Watcher(), run_trial).complete == 3


def test_a_budget_that_is_not_searched_ends_the_study(tmp_path: Path) -> None:
    with pytest.raises(BudgetError):
        run_study(experiment("n_trials: 2", ""), RunDirectory(tmp_path), Watcher(), failing(BudgetError("no"), 0))


def test_a_trial_is_tried_again_as_often_as_asked(tmp_path: Path) -> None:
    tries: list[int] = []

    def run(experiment: Experiment, session: Session) -> TrialResult:
        tries.append(len(tries))
        if len(tries) < 3:
            raise OSError("flaky")
        return finish(experiment, session)

    document = experiment("n_trials: 1, baselines: []", more="executor: {max_failures: 2}\n")
    assert run_study(document, RunDirectory(tmp_path), Watcher(), run).complete == 1
    tries.clear()
    document = experiment("n_trials: 1, baselines: []", more="executor: {max_failures: 1}\n")
    assert run_study(document, RunDirectory(tmp_path / "less"), Watcher(), run).failed == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_objective_that_is_not_finite_fails_the_trial(tmp_path: Path, value: float) -> None:
    def run(experiment: Experiment, session: Session) -> TrialResult:
        odd = {"bitops": value} if session.directory.name == "0000" else {"train_loss": value}
        return finish(experiment, session, **odd)

    directory = RunDirectory(tmp_path)
    summary = run_study(experiment("n_trials: 2, baselines: []"), directory, Watcher(), run)
    assert (summary.complete, summary.failed, summary.front) == (1, 1, (1,))
    first, second = directory.records()
    assert first.reason == f"bitops is {value}, not a finite number"
    assert "train_loss" not in second.metrics
    assert [trial.state.name for trial in open_study(directory).trials] == ["FAIL", "COMPLETE"]


def test_an_objective_that_no_trial_measures_is_an_error(tmp_path: Path) -> None:
    document = experiment("objectives: [{metric: generalization_gap, direction: minimize}]")
    with pytest.raises(ConfigurationError, match="'generalization_gap'; this one measures bitops, model_size"):
        run_study(document, RunDirectory(tmp_path), Watcher(), run_trial)


def test_constraints_are_told_and_kept(tmp_path: Path) -> None:
    study = "n_trials: 6, baselines: [], constraints: [{metric: model_size, min: 300, max: 450}]"
    directory = RunDirectory(tmp_path)
    summary = run_study(experiment(study), directory, Watcher(), run_trial)
    for trial, record in zip(open_study(directory).trials, directory.records(), strict=True):
        size = record.metrics["model_size"]
        assert trial.constraints == {"model_size <= 450.0": size - 450, "model_size >= 300.0": 300 - size}
        assert record.number not in summary.front or 300 <= size <= 450
    assert summary.front


def test_no_feasible_trial_leaves_no_best(tmp_path: Path) -> None:
    study = "n_trials: 2, constraints: [{metric: model_size, max: 1}]"
    directory = RunDirectory(tmp_path)
    summary = run_study(experiment(study), directory, Watcher(), run_trial)
    assert (summary.best, summary.front, directory.best.exists()) == (None, (), False)
    assert json.loads(directory.pareto.read_text())["best"] is None


def test_enqueued_points_come_first_and_once(tmp_path: Path) -> None:
    study = "n_trials: %d, baselines: [], enqueue: [{inner.budget.limit: 6.0}, {inner.budget.limit: 2.5}]"
    directory = RunDirectory(tmp_path)
    for n_trials in (1, 4):
        run_study(experiment(study % n_trials), directory, Watcher(), run_trial)
    limits = [record.limit for record in directory.records()]
    assert limits[:2] == [6.0, 2.5]
    assert len(limits) == 4


def test_a_grid_is_walked_once_and_inactive_parameters_are_not_counted(tmp_path: Path) -> None:
    space = """
space:
  inner.temperature.schedule: {type: categorical, choices: [constant, linear]}
  inner.temperature.start:
    {type: categorical, choices: [1.0, 2.0, 3.0], when: {inner.temperature.schedule: [linear]}}
"""
    study = "n_trials: 99, baselines: [], sampler: {name: grid}, enqueue: [{inner.temperature.schedule: linear}]"
    directory = RunDirectory(tmp_path)
    assert run_study(experiment(study, space), directory, Watcher(), run_trial).complete == 5
    points = [tuple(sorted(record.params.items())) for record in directory.records()]
    assert len(set(points[1:])) == 4


def test_a_seed_of_the_samplers_own_and_unknown_arguments_are_refused(tmp_path: Path) -> None:
    for arguments, message in [
        ("seed: 3", "no argument 'seed'"),
        ("n_startup: 3", "no argument 'n_startup'.*did you mean 'n_startup_trials'"),
    ]:
        document = experiment(f"sampler: {{name: tpe, {arguments}}}")
        with pytest.raises(ConfigurationError, match=rf"study\.sampler: 'tpe' has {message}"):
            run_study(document, RunDirectory(tmp_path / "run"), Watcher(), run_trial)
    assert not (tmp_path / "run").exists()
    check_study(experiment("sampler: {name: gp, n_startup_trials: 3}"))


def test_another_experiment_is_refused(tmp_path: Path) -> None:
    run_study(experiment("n_trials: 1, baselines: []"), RunDirectory(tmp_path), Watcher(), run_trial)
    with pytest.raises(RunDirectoryError, match=r"holds the experiment 'fake'.*--output OTHER"):
        run_study(experiment("n_trials: 1, seed: 1"), RunDirectory(tmp_path), Watcher(), run_trial)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RunDirectoryError, match=r"not a run directory: it has 'thesis\.tex'"):
        run_study(experiment(), RunDirectory(tmp_path), Watcher(), run_trial)
    assert [each.name for each in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(RunDirectoryError, match="is a file"):
        run_study(experiment(), RunDirectory(tmp_path / "thesis.tex"), Watcher(), run_trial)


def test_one_driver_at_a_time(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)

    def run(experiment_: Experiment, session: Session) -> TrialResult:
        script = f"""
            import sys
            sys.path.insert(0, {str(Path(__file__).parent)!r})
            from fake_trials import Watcher, experiment, run_trial
            from precsearch.errors import RunDirectoryError
            from precsearch.results import RunDirectory
            from precsearch.study.driver import run_study
            document, directory = experiment("n_trials: 1, baselines: []"), RunDirectory({str(tmp_path)!r})
            try:
                run_study(document, directory, Watcher(), run_trial)
            except RunDirectoryError as error:
                print(error)
        """
        found = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
        )
        assert f"another driver (process {os.getpid()})" in found.stdout
        return finish(experiment_, session)

    assert run_study(experiment("n_trials: 1, baselines: []"), directory, Watcher(), run).complete == 1


def test_a_journal_that_was_damaged_is_said_so(tmp_path: Path) -> None:
    document, directory = experiment("n_trials: 2, baselines: []"), RunDirectory(tmp_path)
    run_study(document, directory, Watcher(), run_trial)
    lines = directory.journal.read_text().splitlines(keepends=True)
    directory.journal.write_text("".join([*lines[:2], "{broken\n", *lines[3:]]))
    with pytest.raises(RunDirectoryError, match="cannot read the study's journal"):
        run_study(document, directory, Watcher(), run_trial)


def test_optuna_is_quiet_meanwhile_and_as_before_afterwards(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = optuna.logging.get_verbosity()
    run_study(experiment("n_trials: 1"), RunDirectory(tmp_path), Watcher(), run_trial)
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == before != logging.ERROR


def test_a_finished_study_is_not_trained_again(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    first = run_study(experiment("n_trials: 3"), directory, Watcher(), run_trial)
    watcher = Watcher()
    second = run_study(experiment("n_trials: 3"), directory, watcher, failing(AssertionError("trained"), 0))
    assert watcher.started == []
    assert [record.number for record in watcher.before] == [0, 1, 2]
    assert (first.best, first.front, first.complete) == (second.best, second.front, second.complete)
