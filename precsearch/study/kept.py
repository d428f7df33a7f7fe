"""Trainings of which every one is finished and kept, whatever comes of it: confirmations, arms of an experiment."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Generic, TypeVar

from precsearch.errors import ConfigurationError, DataError, RunDirectoryError
from precsearch.files import write_text
from precsearch.results import RECORD, Observer, Progress, RunDirectory, TrialRecord
from precsearch.study.executors.base import Job, Outcome

Training = TypeVar("Training")
Record = TypeVar("Record", bound=TrialRecord)
_COPIED: Final = ("allocation.json", "evaluation.json", "drawn.json", "steps.jsonl", "error.txt")


class KeptJobs(Generic[Training]):
    """Jobs of trainings, one after another; after a kill, those that have no result yet.

    One that fails is recorded, and not tried again: a seed that is dropped where it does badly would make claims of
    the others too good. A subclass says what a training is.

    Args:
        directory: of the run; its lock is held.
        trainings: in their order.
        observer: told of every start, epoch and end; `baseline` is the training's name.
    """

    ends_all: tuple[type[Exception], ...] = (ConfigurationError, DataError, RunDirectoryError)
    is_its_own: tuple[type[Exception], ...] = ()

    def __init__(self, directory: RunDirectory, trainings: Iterable[Training], observer: Observer) -> None:
        self.directory = directory
        self.observer = observer
        self.open = list(trainings)
        self.running: dict[Path, Training] = {}

    def folder(self, training: Training) -> Path:
        """Where its files are."""
        raise NotImplementedError

    def name(self, training: Training) -> str:
        """What the observer is told beside the number."""
        raise NotImplementedError

    def job(self, training: Training, folder: Path) -> tuple[Job, Outcome | None]:
        """The job of a training; and how it ended, where it cannot begin."""
        raise NotImplementedError

    def keep(self, training: Training, job: Job, outcome: Outcome) -> TrialRecord:
        """Write down how a training ended."""
        raise NotImplementedError

    def shared(self, training: Training, folder: Path) -> None:
        """A training has a result: let others that would be trained alike have it."""

    def next_job(self) -> Job | None:
        """The next training that has no result yet."""
        while self.open:
            training = self.open.pop(0)
            folder = self.folder(training)
            if (folder / RECORD).is_file():
                self._conclude(training)
                continue
            folder.mkdir(parents=True, exist_ok=True)
            job, ended = self.job(training, folder)
            self.running[folder.absolute()] = training
            if ended is not None:
                self.finished(job, ended)
                continue
            self.observer.trial_started(job.number, job.params, (folder / "checkpoint").is_dir(), self.name(training))
            return job
        return None

    def progressed(self, job: Job, progress: Progress) -> str | None:
        """Tell the observer; nothing is pruned here."""
        self.observer.trial_progressed(job.number, progress, self.name(self._of(job)))
        return None

    def restarted(self, job: Job) -> None:
        """Tell the observer."""
        self.observer.trial_started(job.number, job.params, True, self.name(self._of(job)))

    def finished(self, job: Job, outcome: Outcome) -> None:
        """Keep the result; end it all where every other training would end the same."""
        if isinstance(outcome.error, self.ends_all) and not isinstance(outcome.error, self.is_its_own):
            raise outcome.error
        training = self.running.pop(job.directory.absolute())
        record = self.keep(training, job, outcome)
        self._conclude(training)
        self.observer.trial_finished(record.model_copy(update={"baseline": self.name(training)}), [])

    def _conclude(self, training: Training) -> None:
        folder = self.folder(training)
        shutil.rmtree(folder / "checkpoint", ignore_errors=True)
        self.shared(training, folder)

    def _of(self, job: Job) -> Training:
        return self.running[job.directory.absolute()]


def share(directory: RunDirectory, folder: Path, record: Record, other: Path) -> None:
    """Give `other` the files of a training, but for its weights, where it has no result yet.

    Args:
        directory: of the run.
        folder: of the training.
        record: as `other` is to have it.
        other: of the one that would be trained alike.
    """
    if (other / RECORD).is_file():
        return
    for name in _COPIED:
        if (folder / name).is_file():
            write_text(other / name, (folder / name).read_text(encoding="utf-8"))
    directory.write_record(other, record)
