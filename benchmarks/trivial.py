"""A trial that trains nothing: what is left of a study is the driver, the journal and the executor."""

from __future__ import annotations

import time
from typing import Any

from precsearch.allocation import Allocation, Cost, LayerPrecision, ModelIdentity, TargetPrecision
from precsearch.experiment import Experiment, with_overrides
from precsearch.experiment.loading import load_experiment_text
from precsearch.results import Progress, Session, TrialRecord, TrialResult

REPORTS = 3
DOCUMENT = """
version: 1
name: trivial
study: {baselines: [], seed: 0}
space:
  inner.budget.limit: {type: float, low: 2.0, high: 6.0, step: 0.5}
  inner.temperature.start: {type: float, low: 0.5, high: 5.0, log: true}
  inner.regularization.strength: {type: float, low: 1.0e-3, high: 1.0, log: true}
"""


def experiment(*overrides: str) -> Experiment:
    """A study of two objectives and three parameters."""
    return with_overrides(load_experiment_text(DOCUMENT), overrides)


def score(limit: float, strength: float, temperature: float) -> float:
    """An accuracy that follows from the point."""
    return 1.0 - 1.0 / limit - 0.1 * strength - 0.01 * temperature


def run_trial(experiment: Experiment, session: Session) -> TrialResult:
    """Three reports and one small allocation; `started` is the wall clock when it began, wherever that was."""
    started = time.time()
    inner = experiment.inner
    limit = float(inner.budget.limit)  # type: ignore[arg-type]
    accuracy = score(limit, inner.regularization.strength, inner.temperature.start)
    for step in range(1, REPORTS + 1):
        metrics = {"validation_accuracy": accuracy, "validation_loss": 1 - accuracy, "train_loss": 1 - accuracy}
        session.report(Progress(phase="search", epoch=step, step=step, steps=REPORTS, metrics=metrics), None)
    found = allocation(int(limit))
    found.to_json(session.directory / "allocation.json")
    measured = {"validation_accuracy": accuracy, "bitops": 1000 * limit, "started": started}
    return TrialResult(metrics=measured, allocation=found, seconds=0.0)


def allocation(bits: int) -> Allocation:
    """Of a network with one layer."""
    layer = LayerPrecision(
        name="fc", type="Linear", numel=10, inputs=5, macs=10, targets={"weight": TargetPrecision(bits=bits)}
    )
    return Allocation(
        model=ModelIdentity(name="trivial", fingerprint="0"),
        layers=(layer,),
        cost=Cost(average_bits={"weight": bits}, model_size=bits, bitops=bits),
    )


class Clock:
    """An observer that keeps when trials ended, when the first of them began, and this process's time between."""

    def __init__(self) -> None:
        self.began = float("inf")
        self.ended: list[float] = []
        self.used = 0.0
        self._mark: float | None = None

    def study_started(self, n_trials: int, finished: list[TrialRecord]) -> None:
        """Nothing: a new study."""

    def trial_started(self, number: int, params: dict[str, Any], resumed: bool, baseline: str | None) -> None:
        """Nothing: on Ray the first is handed out before there is a cluster."""

    def trial_progressed(self, number: int, progress: Progress, baseline: str | None) -> None:
        """Look at the processor's clock, the first time."""
        if self._mark is None:
            self._mark = time.process_time()

    def trial_finished(self, record: TrialRecord, front: list[TrialRecord]) -> None:
        """Look at the clocks."""
        self.ended.append(time.time())
        self.used = time.process_time() - (self._mark or 0.0)
        self.began = min(self.began, record.metrics["started"])

    def trial_dropped(self, number: int, reason: str) -> None:
        """Nothing: nobody shares the study."""

    def noted(self, text: str) -> None:
        """Nothing."""
