"""The same study on Ray as in process: the same trials, states and metrics, whatever goes wrong in a trial."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from fake_trials import Watcher, experiment, left_behind, run_trial
from ray_nodes import children, cluster, environment
from ray_trials import loses_its_worker, notes_its_process, of_all_kinds
from test_kill import COMMAND, Driver, after, everything, make_home

from precsearch.errors import ConfigurationError
from precsearch.experiment import Experiment
from precsearch.experiment.loading import with_overrides
from precsearch.results import RunDirectory, Session, TrialResult
from precsearch.study.driver import run_study

pytestmark = pytest.mark.slow

STUDY = (
    "n_trials: 12, seed: 3, baselines: [uniform], constraints: [{metric: model_size, max: 550}], "
    "pruner: {name: median, n_startup_trials: 2, bands: 1}, enqueue: [{inner.budget.limit: 6.0}]"
)


def on_ray(document: Experiment, **settings: Any) -> Experiment:
    return with_overrides(document, ["executor.name=ray", *(f"executor.{k}={v}" for k, v in settings.items())])


def processes() -> set[int]:
    return set(children(os.getpid()))


def test_in_sequence_it_is_the_study_in_process(tmp_path: Path) -> None:
    document = with_overrides(experiment(STUDY), ["executor.max_failures=1"])
    one, other = Watcher(), Watcher()
    before = processes()
    run_study(document, RunDirectory(tmp_path / "here"), one, of_all_kinds)
    run_study(on_ray(document, max_concurrent=1), RunDirectory(tmp_path / "ray"), other, of_all_kinds)
    here, ray = left_behind(tmp_path / "here"), left_behind(tmp_path / "ray")
    assert ray == here
    assert {record.state for record in here["records"]} == {"complete", "pruned", "failed"}
    assert {record.reason for record in here["records"] if record.state == "failed"} == {
        "ZeroDivisionError: oops",
        "validation_accuracy is nan, not a finite number",
        "BudgetError: too small",
    }
    assert other.fronts == one.fronts and other.steps == one.steps
    assert "On the worker" in (tmp_path / "ray" / "trials" / "0001" / "error.txt").read_text()
    deadline = time.monotonic() + 20
    while processes() - before and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not processes() - before  # the cluster it started is gone


def test_workers_that_die_are_replaced_and_not_for_ever(tmp_path: Path) -> None:
    watcher = Watcher()
    document = on_ray(experiment("n_trials: 4, baselines: []"), max_concurrent=2)
    summary = run_study(document, RunDirectory(tmp_path / "run"), watcher, loses_its_worker)
    assert (summary.complete, summary.failed) == (3, 1)
    (failed,) = (record for record in RunDirectory(tmp_path / "run").records() if record.state == "failed")
    assert failed.number == 1 and failed.reason is not None
    assert failed.reason.startswith("WorkerLostError: lost its worker 4 times; the last time: ")


def test_several_at_a_time_in_few_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    monkeypatch.setenv("PRECSEARCH_TEST_NOTES", str(notes))
    # its points do not depend on the order in which trials end
    sampler = "n_trials: 9, seed: 5, sampler: {name: random}, baselines: [uniform]"
    settings = {"max_concurrent": 3, "resources": "{cpu: 0.5}"}
    run_study(on_ray(experiment(sampler), **settings), RunDirectory(tmp_path / "ray"), Watcher(), notes_its_process)
    run_study(experiment(sampler), RunDirectory(tmp_path / "here"), Watcher(), run_trial)
    assert left_behind(tmp_path / "ray") == left_behind(tmp_path / "here")
    pids = {path.read_text() for path in notes.iterdir()}
    assert len(list(notes.iterdir())) > 9 and 1 < len(pids) <= 4  # trials and baselines share them


def raises_what_ends_the_study(experiment: Experiment, session: Session) -> TrialResult:
    raise ConfigurationError("bad for all")


def test_what_every_trial_would_raise_ends_the_study(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    with pytest.raises(ConfigurationError, match="bad for all"):
        run_study(on_ray(experiment("n_trials: 3")), directory, Watcher(), raises_what_ends_the_study)
    summary = run_study(on_ray(experiment("n_trials: 3")), directory, Watcher(), run_trial)
    assert (summary.complete, summary.failed) == (3, 0)


@pytest.fixture(scope="module")
def through(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run in process."""
    home = make_home(tmp_path_factory.mktemp("through"))
    status, _, err = Driver(home, *COMMAND, "--output", "run").end()
    assert status == 0, err
    return home / "run"


def assert_same(run: Path, through: Path) -> None:
    left, right = everything(run), everything(through)
    assert left.pop("experiment.yaml") != right.pop("experiment.yaml")  # it says who ran the trials
    assert left == right


def test_the_command_line_killed_and_interrupted(tmp_path: Path, through: Path) -> None:
    home = make_home(tmp_path)
    run = home / "run"
    command = [*COMMAND, "--executor", "ray", "--set", "executor.max_concurrent=1", "--output", "run"]
    driver = Driver(home, *command)
    driver.until(after(run / "trials" / "0000", 2))
    assert driver.kill()[0] == -signal.SIGKILL
    driver = Driver(home, *command, "--json")
    driver.until(after(run / "trials" / "0001", 2))
    tree = children(driver.process.pid)
    status, out, err = driver.kill(signal.SIGINT)
    assert status == 130 and json.loads(out)["exit_status"] == 130
    assert err.splitlines()[-1].endswith("continue with `precsearch resume run`")
    assert "Traceback" not in err and "ray" not in err.replace("--executor ray", "").lower(), err
    deadline = time.monotonic() + 30
    while (left := [pid for pid in tree if Path(f"/proc/{pid}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left
    status, out, err = Driver(home, "resume", "run", "--json").end()
    assert status == 0 and json.loads(out)["finished"], err
    assert all(line.startswith(("digits", "trial", "uniform", "front")) for line in err.splitlines()[:8]), err
    assert_same(run, through)


def temporary_folders() -> set[Path]:
    """Of runs on this machine, beside their run directories."""
    return {path for kind in ("ray", "data") for path in Path(tempfile.gettempdir()).glob(f"precsearch-{kind}-*")}


def test_from_afar(tmp_path: Path, through: Path) -> None:
    """Over ray:// Tune runs on the head node, and the study stays here."""
    home = make_home(tmp_path)
    before = temporary_folders()
    with cluster(tmp_path) as nodes:
        process = subprocess.run(
            [
                sys.executable, "-m", "precsearch", *COMMAND, "--output", "run",
                "--address", f"ray://127.0.0.1:{nodes.client_port}",
                "--set", f"executor.storage_path={tmp_path / 'store'}",
            ],
            check=False, cwd=home, capture_output=True, text=True, timeout=240,
            env=environment() | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent.parent)},
        )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert temporary_folders() <= before
    assert_same(home / "run", through)
