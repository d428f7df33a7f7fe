"""The trainings that confirm a front, as jobs for an executor; after a kill, those that have no result yet."""

from __future__ import annotations

from pathlib import Path

from precsearch.experiment import Experiment
from precsearch.experiment.outer import UNQUANTIZED
from precsearch.results import Observer, RunDirectory, TrialRecord, read_record
from precsearch.study.confirm.plan import ConfirmPlan, Training, arm_experiment
from precsearch.study.executors.base import Job, Outcome
from precsearch.study.kept import KeptJobs, share
from precsearch.study.outcomes import keep_outcome


class ConfirmJobs(KeptJobs[Training]):
    """The trainings of a plan.

    Args:
        experiment: of the study.
        directory: of the run; its lock is held.
        plan: what to train.
        observer: told of every start, epoch and end; `baseline` is the arm and the seed.
    """

    def __init__(self, experiment: Experiment, directory: RunDirectory, plan: ConfirmPlan, observer: Observer) -> None:
        super().__init__(directory, plan.trainings, observer)
        self._experiment = experiment
        self._plan = plan

    def folder(self, training: Training) -> Path:
        """Where its files are."""
        return self.directory.confirm(training.member.number, training.arm, training.index)

    def name(self, training: Training) -> str:
        """The arm and the seed."""
        return training.label

    def job(self, training: Training, folder: Path) -> tuple[Job, Outcome | None]:
        """The trial's point with the arm's allocation."""
        number, params = training.member.number, training.member.params
        at = arm_experiment(self.directory, self._experiment, training)
        return Job(number, at, training.seed, folder, params, training.arm, evaluated="test"), None

    def keep(self, training: Training, job: Job, outcome: Outcome) -> TrialRecord:
        """Write down how a training ended."""
        return keep_outcome(self.directory, job, outcome, judged=())

    def shared(self, training: Training, folder: Path) -> None:
        """Let trials whose float network would be trained alike have this one; it took no time of its own."""
        record = read_record(folder)
        if training.arm != UNQUANTIZED or record is None:
            return
        members = {member.number: member for member in self._plan.members}
        for number in self._plan.sharing(training.member.number):
            own = {"number": number, "params": members[number].params, "limit": members[number].limit, "seconds": 0.0}
            other = self.directory.confirm(number, training.arm, training.index)
            share(self.directory, folder, record.model_copy(update=own), other)
