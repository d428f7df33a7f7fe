"""The trainings that confirm a front, as jobs for an executor; after a kill, those that have no result yet."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from precsearch.errors import ConfigurationError, DataError, RunDirectoryError
from precsearch.experiment import Experiment
from precsearch.experiment.outer import UNQUANTIZED
from precsearch.files import write_text
from precsearch.results import Observer, Progress, RunDirectory, TrialRecord, read_record
from precsearch.study.confirm.plan import ConfirmPlan, Training, arm_experiment
from precsearch.study.executors.base import Job, Outcome
from precsearch.study.outcomes import keep_outcome

_EVERY_TRAINING: Final = (ConfigurationError, DataError, RunDirectoryError)
_COPIED: Final = ("allocation.json", "evaluation.json", "drawn.json", "steps.jsonl", "error.txt")


class ConfirmJobs:
    """The trainings of a plan.

    One that fails is recorded, and not tried again: a seed that is dropped where it does badly would make claims of
    the others too good.

    Args:
        experiment: of the study.
        directory: of the run; its lock is held.
        plan: what to train.
        observer: told of every start, epoch and end; `baseline` is the arm and the seed.
    """

    def __init__(self, experiment: Experiment, directory: RunDirectory, plan: ConfirmPlan, observer: Observer) -> None:
        self._experiment = experiment
        self._directory = directory
        self._plan = plan
        self._observer = observer
        self._open = list(plan.trainings)
        self._running: dict[Path, Training] = {}

    def next_job(self) -> Job | None:
        """The next training that has no result yet."""
        while self._open:
            training = self._open.pop(0)
            folder = self._folder(training)
            if (record := read_record(folder)) is not None:
                self._conclude(training, record)
                continue
            folder.mkdir(parents=True, exist_ok=True)
            number, params = training.member.number, training.member.params
            at = arm_experiment(self._directory, self._experiment, training)
            job = Job(number, at, training.seed, folder, params, training.arm, evaluated="test")
            self._running[folder.absolute()] = training
            self._observer.trial_started(number, params, (folder / "checkpoint").is_dir(), training.label)
            return job
        return None

    def progressed(self, job: Job, progress: Progress) -> str | None:
        """Tell the observer; nothing is pruned here."""
        self._observer.trial_progressed(job.number, progress, self._of(job).label)
        return None

    def restarted(self, job: Job) -> None:
        """Tell the observer."""
        self._observer.trial_started(job.number, job.params, True, self._of(job).label)

    def finished(self, job: Job, outcome: Outcome) -> None:
        """Keep the result; end it all where every other training would end the same."""
        if isinstance(outcome.error, _EVERY_TRAINING):
            raise outcome.error
        training = self._running.pop(job.directory.absolute())
        record = keep_outcome(self._directory, job, outcome, judged=())
        self._conclude(training, record)
        self._observer.trial_finished(record.model_copy(update={"baseline": training.label}), [])

    def _conclude(self, training: Training, record: TrialRecord) -> None:
        folder = self._folder(training)
        shutil.rmtree(folder / "checkpoint", ignore_errors=True)
        if training.arm == UNQUANTIZED:
            for number in self._plan.sharing(training.member.number):
                self._share(folder, record, self._directory.confirm(number, training.arm, training.index), number)

    def _share(self, folder: Path, record: TrialRecord, other: Path, number: int) -> None:
        """Let a trial whose float network would be trained alike have this one; it took no time of its own."""
        if read_record(other) is not None:
            return
        for name in _COPIED:
            if (folder / name).is_file():
                write_text(other / name, (folder / name).read_text(encoding="utf-8"))
        member = next(member for member in self._plan.members if member.number == number)
        own = {"number": number, "params": member.params, "limit": member.limit, "seconds": 0.0}
        self._directory.write_record(other, record.model_copy(update=own))

    def _folder(self, training: Training) -> Path:
        return self._directory.confirm(training.member.number, training.arm, training.index)

    def _of(self, job: Job) -> Training:
        return self._running[job.directory.absolute()]
