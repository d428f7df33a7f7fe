"""A study without training: a trial whose numbers follow from its point, and what a study leaves behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from precsearch.allocation import Allocation, Cost, LayerPrecision, ModelIdentity, TargetPrecision
from precsearch.experiment import Experiment
from precsearch.experiment.loading import load_experiment_text
from precsearch.results import Progress, RunDirectory, Session, TrialRecord, TrialResult

SPACE = """
space:
  inner.budget.limit: {type: float, low: 2.0, high: 6.0, step: 0.5}
  inner.temperature.schedule: {type: categorical, choices: [constant, linear]}
  inner.temperature.start:
    {type: float, low: 0.5, high: 5.0, log: true, when: {inner.temperature.schedule: [linear]}}
  inner.regularization.strength: {type: float, low: 0.001, high: 1.0, log: true}
"""


def experiment(study: str = "n_trials: 3", space: str = SPACE, more: str = "") -> Experiment:
    epochs = "inner: {epochs: {warmup: 1, search: 1, finetune: 1}}"
    return load_experiment_text(f"version: 1\nname: fake\n{epochs}\nstudy: {{{study}}}\n{space}{more}")


def score(experiment: Experiment) -> float:
    inner = experiment.inner
    assert not isinstance(inner.budget.limit, dict)
    return 1.0 - 1.0 / inner.budget.limit - 0.1 * inner.regularization.strength - 0.01 * inner.temperature.start


def run_trial(experiment: Experiment, session: Session, evaluated: str = "validation") -> TrialResult:
    """Three epochs, a checkpoint after each; a continued trial tells the checkpoint's epoch once more."""
    checkpoint = session.resume()
    done = json.loads((checkpoint / "step.json").read_text()) if checkpoint else 0
    for step in range(max(done, 1), 4):
        folder = session.directory / "checkpoint"
        folder.mkdir(exist_ok=True)
        (folder / "step.json").write_text(json.dumps(step))
        session.report(progress(step, score(experiment) * step / 3), folder)
    tested = {"test_accuracy": score(experiment) + session.seed % 100 / 1e4} if evaluated == "test" else {}
    return finish(experiment, session, **tested)


def failing(error: BaseException, number: int = 1) -> Callable[[Experiment, Session], TrialResult]:
    """Trains, but raises in one trial."""

    def run(experiment: Experiment, session: Session) -> TrialResult:
        if session.directory.name == f"{number:04d}":
            raise error
        return run_trial(experiment, session)

    return run


def progress(step: int, accuracy: float) -> Progress:
    metrics = {
        "validation_accuracy": accuracy,
        "validation_loss": 1.0 - accuracy,
        "train_loss": 1.0 - accuracy,
    }
    return Progress(phase="search", epoch=step, step=step, steps=3, metrics=metrics)


def finish(experiment: Experiment, session: Session, **metrics: float) -> TrialResult:
    limit = experiment.inner.budget.limit
    assert not isinstance(limit, dict)
    found = allocation(int(limit), session.seed)
    found.to_json(session.directory / "allocation.json")
    measured = {
        "validation_accuracy": score(experiment) - 0.05 * (experiment.inner.sampler == "random"),
        "bitops": round(1000 * limit) + session.seed % 7,
        "model_size": 100 * limit,
    }
    return TrialResult(metrics=measured | metrics, allocation=found, seconds=0.5)


def allocation(bits: int, seed: int) -> Allocation:
    layer = LayerPrecision(
        name="fc", type="Linear", numel=10, inputs=5, macs=10, targets={"weight": TargetPrecision(bits=bits)}
    )
    return Allocation(
        model=ModelIdentity(name="fake", fingerprint="0"),
        layers=(layer,),
        cost=Cost(average_bits={"weight": bits}, model_size=bits, bitops=bits),
        provenance={"seed": seed},
    )


class Watcher:
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.before: list[TrialRecord] = []
        self.started: list[tuple[int, bool, str | None]] = []
        self.steps: list[tuple[int, int, str | None]] = []
        self.finished: list[TrialRecord] = []
        self.fronts: list[list[int]] = []
        self.dropped: list[tuple[int, str]] = []
        self.notes: list[str] = []

    def study_started(self, n_trials: int, finished: list[TrialRecord]) -> None:
        self.before = finished

    def trial_started(self, number: int, params: dict[str, Any], resumed: bool, baseline: str | None) -> None:
        self.started.append((number, resumed, baseline))

    def trial_progressed(self, number: int, progress: Progress, baseline: str | None) -> None:
        self.steps.append((number, progress.step, baseline))

    def trial_finished(self, record: TrialRecord, front: list[TrialRecord]) -> None:
        self.finished.append(record)
        self.fronts.append([member.number for member in front])

    def trial_dropped(self, number: int, reason: str) -> None:
        self.dropped.append((number, reason))

    def noted(self, text: str) -> None:
        self.notes.append(text)


def open_study(directory: RunDirectory) -> optuna.Study:
    path = str(directory.journal)
    storage = JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path)))
    (name,) = [study.study_name for study in storage.get_all_studies()]
    return optuna.load_study(study_name=name, storage=storage)


def left_behind(path: Path) -> dict[str, Any]:
    """Everything a study decided, without the times it took and the places it was at."""
    directory = RunDirectory(path)
    trials = [
        (
            trial.number, trial.state.name, trial.params, trial.values, trial.user_attrs, trial.constraints,
            trial.intermediate_values,
        )
        for trial in open_study(directory).trials
    ]  # fmt: skip
    elsewhere = {"seconds": 0.0, "node": None}
    records = [record.model_copy(update=elsewhere) for record in directory.records() + directory.baselines()]
    return {
        "trials": trials,
        "records": records,
        "pareto": json.loads(directory.pareto.read_text()),
        "best": directory.best.read_text() if directory.best.is_file() else None,
        "checkpoints": [str(each) for each in path.rglob("checkpoint")],
    }
