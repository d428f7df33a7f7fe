"""Uniform and random allocations at equal cost, trained beside every member of the front; and one float network."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence

from precsearch.allocation import TABLED
from precsearch.errors import ConfigurationError
from precsearch.experiment import Experiment
from precsearch.experiment.loading import apply_point
from precsearch.experiment.outer import UNQUANTIZED
from precsearch.results import Observer, Progress, RunDirectory, TrialRecord, read_record
from precsearch.study.executors.base import Job, Outcome
from precsearch.study.outcomes import judged_metrics, keep_outcome


class BaselineJobs:
    """The baselines of a finished study: each member's experiment and seed, its budget spent another way.

    One that fails is recorded and nothing more: the study's own trials are what was asked for.

    Args:
        experiment: of the study.
        directory: of the run.
        members: of the final front, those that this driver trained.
        best: number of the best trial of all; None if there is none.
        observer: told of every start, epoch and end.
        publish: called with every baseline that ended; returns the front.
    """

    def __init__(
        self,
        experiment: Experiment,
        directory: RunDirectory,
        members: Sequence[TrialRecord],
        best: int | None,
        observer: Observer,
        publish: Callable[[TrialRecord], list[TrialRecord]],
    ) -> None:
        self._experiment = experiment
        self._directory = directory
        self._observer = observer
        self._publish = publish
        self._open = [(member, kind) for member in members for kind in experiment.study.beside(member.number == best)]

    def next_job(self) -> Job | None:
        """The next baseline that has no result yet."""
        while self._open:
            member, kind = self._open.pop(0)
            folder = self._directory.baseline(member.number, kind)
            if read_record(folder) is not None:
                shutil.rmtree(folder / "checkpoint", ignore_errors=True)
                continue
            folder.mkdir(parents=True, exist_ok=True)
            job = Job(member.number, self._experiment, member.seed, folder, member.params, kind)
            try:
                point = {**member.params, **self._experiment.inner.settled(kind)}
                job = Job(job.number, apply_point(self._experiment, point), job.seed, folder, job.params, kind)
            except ConfigurationError as error:
                self.finished(job, Outcome(error=error))
                continue
            resumed = (folder / "checkpoint").is_dir()
            self._observer.trial_started(member.number, member.params, resumed, kind)
            return job
        return None

    def progressed(self, job: Job, progress: Progress) -> str | None:
        """Tell the observer; a baseline is never pruned."""
        self._observer.trial_progressed(job.number, progress, job.baseline)
        return None

    def restarted(self, job: Job) -> None:
        """Tell the observer."""
        self._observer.trial_started(job.number, job.params, True, job.baseline)

    def finished(self, job: Job, outcome: Outcome) -> None:
        """Keep the result, whatever it is."""
        record = keep_outcome(self._directory, job, outcome, judged_of(self._experiment, str(job.baseline)))
        shutil.rmtree(job.directory / "checkpoint", ignore_errors=True)
        self._observer.trial_finished(record, self._publish(record))


def judged_of(experiment: Experiment, kind: str) -> list[str]:
    """The metrics that a baseline must have: tables of costs have no line for a network in float32."""
    judged = judged_metrics(experiment.study)
    return [metric for metric in judged if metric not in TABLED] if kind == UNQUANTIZED else judged
