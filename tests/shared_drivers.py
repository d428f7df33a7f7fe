"""Drivers of a shared study: what each run directory and the database say when they have ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
from fake_trials import Watcher, experiment, run_trial
from optuna.storages import RDBStorage

from precsearch.experiment import Experiment
from precsearch.results import RunDirectory, Session, TrialResult
from precsearch.study.driver import StudySummary, run_study
from precsearch.study.seeds import trial_seed

ENQUEUED = "enqueue: [{inner.budget.limit: 3.0}, {inner.budget.limit: 6.0}]"


def document(url: str, study: str = "n_trials: 5, baselines: [uniform]", **more: str) -> Experiment:
    return experiment(f"storage: '{url}', sampler: {{name: random}}, {study}", **more)


def drive(path: Path, made: Experiment, run: Any = run_trial) -> tuple[StudySummary, Watcher]:
    watcher = Watcher()
    return run_study(made, RunDirectory(path), watcher, run), watcher


def during(number: int, act: Any) -> Any:
    """A training in whose first epoch something else happens, once."""
    done: list[int] = []

    def run(experiment: Experiment, session: Session) -> TrialResult:
        if session.directory.name == f"{number:04d}" and not done:
            done.append(number)
            act()
        return run_trial(experiment, session)

    return run


def interrupt() -> None:
    raise KeyboardInterrupt


def told(url: str, name: str = "fake") -> list[optuna.trial.FrozenTrial]:
    storage = RDBStorage(url)
    try:
        return optuna.load_study(study_name=name, storage=storage).trials
    finally:
        storage.remove_session()
        storage.engine.dispose()


def check_whole(url: str, *paths: Path, n_trials: int, enqueued: tuple[float, ...] = ()) -> None:
    """No trial lost, none doubled, and every run directory tells the same."""
    trials = told(url)
    lost = {trial.user_attrs["retry_of"]: trial.number for trial in trials if "retry_of" in trial.user_attrs}
    for number, retry in lost.items():
        first, again = trials[number], trials[retry]
        assert first.state.name == "FAIL"
        assert first.user_attrs["fail_reason"] == f"its driver disappeared; tried again as trial {retry}"
        assert first.params.items() <= again.params.items()
        assert first.user_attrs["place"] == again.user_attrs["place"]
    counted = [trial for trial in trials if trial.number not in lost]
    assert sorted(trial.user_attrs["place"] for trial in counted) == list(range(n_trials))
    records = [RunDirectory(path).records() for path in paths]
    assert [record.number for record in records[0]] == [trial.number for trial in counted]
    assert all(each == records[0] for each in records[1:])
    for trial, record in zip(counted, records[0], strict=True):
        assert record.params == trial.params
        assert record.seed == trial_seed(0, trial.user_attrs["place"])
    points = Counter(tuple(sorted(record.params.items())) for record in records[0])
    assert max(points.values()) == 1
    by_place = sorted(counted, key=lambda trial: int(trial.user_attrs["place"]))
    limits = tuple(trial.params["inner.budget.limit"] for trial in by_place)
    assert limits[: len(enqueued)] == enqueued
    for number in [record.number for record in records[0] if record.state == "complete"]:
        files = {(RunDirectory(path).trial(number) / "allocation.json").read_bytes() for path in paths}
        assert len(files) == 1


class Process:
    """A driver in a process of its own, whose trials take a while."""

    def __init__(self, path: Path, url: str, n_trials: int, pause: float) -> None:
        script = f"""
            import signal, sys, time
            signal.signal(signal.SIGINT, signal.default_int_handler)
            sys.path.insert(0, {str(Path(__file__).parent)!r})
            from fake_trials import Watcher, run_trial
            from shared_drivers import ENQUEUED, document
            from precsearch.results import RunDirectory
            from precsearch.study.driver import run_study
            from precsearch.study.shared import joining

            class Teller(Watcher):
                def trial_started(self, number, params, resumed, baseline):
                    print("started", number, baseline, flush=True)

                def trial_progressed(self, number, progress, baseline):
                    time.sleep({pause})

                def trial_dropped(self, number, reason):
                    print("dropped", number, reason, flush=True)

            joining.HEARTBEAT_SECONDS, joining.GRACE_SECONDS = 0.2, 1.5
            made = document({url!r}, "n_trials: {n_trials}, baselines: [uniform], " + ENQUEUED)
            try:
                run_study(made, RunDirectory({str(path)!r}), Teller(), run_trial)
            except KeyboardInterrupt:
                sys.exit(130)
        """
        self.path = path
        self._log = path.with_name(f"{path.name}.{time.monotonic_ns()}.log")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", "-c", textwrap.dedent(script)], stdout=log, stderr=log
            )

    @property
    def said(self) -> str:
        return self._log.read_text()

    def wait_for(self, words: str) -> None:
        deadline = time.monotonic() + 120
        while words not in self.said:
            assert self._process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        os.kill(self._process.pid, number)

    def end(self) -> int:
        return self._process.wait(timeout=180)
