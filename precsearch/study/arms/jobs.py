"""The trainings of a `compare` or a `grid` as jobs for an executor, pass after pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from precsearch.errors import AllocationError, BudgetError, ModelError, PrecsearchError, RunDirectoryError
from precsearch.experiment import Experiment
from precsearch.experiment.cells import Point, joined
from precsearch.results import Observer, RunDirectory, TrainingRecord, TrialRecord, read_training
from precsearch.study.arms.plan import ArmsPlan, Training, experiment_of
from precsearch.study.arms.tuning import Tuned, tune_arms
from precsearch.study.executors.base import Job, Outcome
from precsearch.study.kept import KeptJobs, share
from precsearch.study.outcomes import keep_outcome

WEIGHTS = "weights.safetensors"


class NotBegunError(PrecsearchError):
    """A training that cannot begin, since one that it needs did not complete."""


class ArmsJobs(KeptJobs[Training]):
    """The trainings of a plan: the tuning, then those that start afresh, then those that start from these.

    Args:
        experiment: of the run.
        directory: of the run; its lock is held.
        plan: what to train.
        observer: told of every start, epoch and end; `baseline` is `Training.name`, `number` the cell.
    """

    is_its_own = (AllocationError, BudgetError, ModelError, NotBegunError)  # of one cell or arm; others may do

    def __init__(self, experiment: Experiment, directory: RunDirectory, plan: ArmsPlan, observer: Observer) -> None:
        super().__init__(directory, (), observer)
        self._experiment = experiment
        self._plan = plan
        self._later = list(plan.passes)
        self._tuned: dict[tuple[int, str], Tuned] | None = None

    def next_job(self) -> Job | None:
        """The next training that has no result yet; None as well while the last ones of a pass run."""
        job = super().next_job()
        while job is None and not self.running and self._later:
            self.open = list(self._later.pop(0))
            job = super().next_job()
        return job

    def folder(self, training: Training) -> Path:
        """Where its files are."""
        return training.folder(self.directory)

    def name(self, training: Training) -> str:
        """The arm and the seed, as folders have it."""
        return training.name

    def job(self, training: Training, folder: Path) -> tuple[Job, Outcome | None]:
        """The cell's point with the arm's, and with what was tuned for it."""
        chosen: Point | None = {} if training.tried is not None else self._chosen(training)
        at = experiment_of(self._experiment, self._plan, training, chosen or {})
        start, ended = self._start(training)
        if chosen is None:
            ended = _not_begun("nothing was tuned for it: no combination of `compare.tune.over` trained to its end")
        evaluated: Literal["test", "validation"] = "test" if training.tried is None else "validation"
        params = self._params(training, training.cell)
        label = training.arm.label
        return Job(training.cell, at, training.seed, folder, params, label, evaluated, start), ended

    def keep(self, training: Training, job: Job, outcome: Outcome) -> TrialRecord:
        """Write down how a training ended."""
        arm = training.arm
        own = {"arm": arm.arm, "index": training.index, "bits": arm.bits, "layer": arm.layer}
        own |= {"limit": None} if self._experiment.kind == "grid" else {}  # there bits are given, not a budget

        def make(**said: Any) -> TrainingRecord:
            return TrainingRecord(**{**said, **own})

        return keep_outcome(self.directory, job, outcome, (), make)

    def shared(self, training: Training, folder: Path) -> None:
        """Let the cells where it would be trained alike have it; there it took no time of its own."""
        record = read_training(folder)
        if training.tried is not None or record is None:
            return
        for other in self._plan.sharing(training):
            limit = experiment_of(self._experiment, self._plan, other, {}).inner.budget.limit
            own = {"number": other.cell, "params": self._params(other, other.cell), "seconds": 0.0}
            own |= {"limit": limit} if record.limit is not None else {}
            share(self.directory, folder, record.model_copy(update=own), other.folder(self.directory))

    def _params(self, training: Training, cell: int) -> Point:
        tuned = self._plan.tried[training.tried] if training.tried is not None else self._chosen(training)
        return joined(self._plan.cells[cell], tuned or {})

    def _chosen(self, training: Training) -> Point | None:
        if self._tuned is None:  # the tuning has ended, or there is none
            self._tuned = tune_arms(self._experiment, self.directory, self._plan)
        return self._tuned[training.cell, training.arm.label].chosen

    def _start(self, training: Training) -> tuple[Path | None, Outcome | None]:
        """The weights that a training starts from; and that it cannot, where there are none."""
        before = self._plan.started_by(training)
        if before is None:
            return None, None
        folder = before.folder(self.directory)
        record = read_training(folder)
        if record is None or record.state != "complete":
            why = record.reason if record is not None else "it has no result"
            return None, _not_begun(f"the network that it starts from ({folder.name}) did not complete: {why}")
        if not (folder / WEIGHTS).is_file():
            raise RunDirectoryError(
                f"{folder.name} has no {folder / WEIGHTS}, which {training.folder(self.directory).name} starts from; "
                f"was the run directory copied whole? Delete {folder} to train it again"
            )
        return folder / WEIGHTS, None


def _not_begun(reason: str) -> Outcome:
    return Outcome(error=NotBegunError(reason))
