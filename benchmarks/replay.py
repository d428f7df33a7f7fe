"""Trainings that are done once: a study that asks for one again is told the same, at the processor time it took.

A training follows from its point and its seed, to the last digit. Studies with one seed share their first points, and
a pruner only cuts short what would have gone on: so many of their trainings are the same.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from pydantic import BaseModel

from benchmarks.alone import AloneSession
from precsearch.experiment import Experiment
from precsearch.files import write_text
from precsearch.results import Progress, Session, TrialResult
from precsearch.trial import run_trial


class Training(BaseModel):
    """One training as it went.

    Attributes:
        reports: what it told, and at which processor second since its start.
        result: what it measured.
        seconds: of the processor, from start to end.
    """

    reports: list[tuple[float, Progress]]
    result: TrialResult
    seconds: float


class Trainer:
    """Trains as `run_trial` does, or repeats what is kept in `folder`.

    Attributes:
        spent: processor seconds of the last training, up to where it was stopped; those of its first time where it
            was repeated.
        used: processor seconds that this process itself has spent in here.
        trained: how many trainings were done and not repeated.
    """

    def __init__(self, folder: Path) -> None:
        self.spent = self.used = 0.0
        self.trained = 0
        self._folder = folder
        self._warm = False

    def __call__(self, experiment: Experiment, session: Session) -> TrialResult:
        """Train, or repeat.

        Raises:
            TrialStopped: where the study ends it early.
        """
        if not self._warm and not self._file(experiment, session.seed).is_file():
            self._warm = True
            self._warm_up(experiment)
        began = time.process_time()
        try:
            file = self._file(experiment, session.seed)
            if file.is_file():
                return self._repeat(Training.model_validate_json(file.read_bytes()), session)
            return self._train(experiment, session, file)
        finally:
            self.used += time.process_time() - began

    def _file(self, experiment: Experiment, seed: int) -> Path:
        # What the outer search is like makes no difference to a training, nor does where its images lie.
        told = experiment.model_dump_json(include={"data", "model", "inner"}, exclude={"data": {"root"}})
        return self._folder / f"{hashlib.sha256(f'{seed} {told}'.encode()).hexdigest()[:20]}.json"

    def _train(self, experiment: Experiment, session: Session, file: Path) -> TrialResult:
        began = time.process_time()
        watched = _Watched(session, began)
        try:
            result = run_trial(experiment, watched)
        finally:
            self.spent = time.process_time() - began
        self.trained += 1
        training = Training(reports=watched.reports, result=result, seconds=self.spent)
        write_text(file, training.model_dump_json())
        return result

    def _repeat(self, training: Training, session: Session) -> TrialResult:
        for seconds, progress in training.reports:
            self.spent = seconds
            session.report(progress, None)
        training.result.allocation.to_json(session.directory / "allocation.json")  # the front's are published
        self.spent = training.seconds
        return training.result

    def _warm_up(self, experiment: Experiment) -> None:
        """A training that nobody counts: reading the images and the first calls of every kind cost a second."""
        folder = self._folder / "warm"
        folder.mkdir(parents=True, exist_ok=True)
        began = time.process_time()
        run_trial(experiment, AloneSession(0, folder))
        self.used += time.process_time() - began


class _Watched:
    """A `Session` that keeps what is told, and when."""

    def __init__(self, session: Session, began: float) -> None:
        self.seed = session.seed
        self.directory = session.directory
        self.reports: list[tuple[float, Progress]] = []
        self._session = session
        self._began = began

    def resume(self) -> Path | None:
        """As the session itself."""
        return self._session.resume()

    def report(self, progress: Progress, checkpoint: Path | None) -> None:
        """Keep it, and tell the session."""
        self.reports.append((time.process_time() - self._began, progress))
        self._session.report(progress, checkpoint)
