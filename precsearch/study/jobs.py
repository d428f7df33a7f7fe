"""Everything a study trains as one stream of jobs: its trials, and when all have ended, the baselines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from precsearch.errors import ConfigurationError
from precsearch.experiment import Experiment
from precsearch.experiment.loading import apply_point
from precsearch.results import Progress
from precsearch.study.executors.base import Job, JobSource, Outcome


def job_at(
    experiment: Experiment, number: int, params: dict[str, Any], seed: int, folder: Path
) -> tuple[Job, Outcome | None]:
    """The job of a trial at a point, its folder made; and how it ended where the point is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return Job(number, apply_point(experiment, params), seed, folder, params), None
    except ConfigurationError as error:  # the experiment is valid: it is this point that is not
        return Job(number, experiment, seed, folder, params), Outcome(error=error)


class StudyJobs:
    """The trials, then the baselines beside their front; one stream, so that workers stay between the two.

    Args:
        trials: of the study.
        baselines: made when every trial has ended, since only then the front is known.
    """

    def __init__(self, trials: JobSource, baselines: Callable[[], JobSource]) -> None:
        self._trials = trials
        self._make_baselines = baselines
        self._baselines: JobSource | None = None
        self._running = 0

    def next_job(self) -> Job | None:
        """The next trial; a baseline when the trials are done; None while the last trials run, and at the end."""
        job = self._trials.next_job() if self._baselines is None else None
        if job is None and self._running == 0 and self._baselines is None:
            self._baselines = self._make_baselines()
        if self._baselines is not None:
            job = self._baselines.next_job()
        self._running += job is not None
        return job

    def progressed(self, job: Job, progress: Progress) -> str | None:
        """Tell whoever handed `job` out."""
        return self._source(job).progressed(job, progress)

    def restarted(self, job: Job) -> None:
        """Tell whoever handed `job` out."""
        self._source(job).restarted(job)

    def finished(self, job: Job, outcome: Outcome) -> None:
        """Tell whoever handed `job` out."""
        self._running -= 1
        self._source(job).finished(job, outcome)

    def _source(self, job: Job) -> JobSource:
        return self._trials if job.baseline is None or self._baselines is None else self._baselines
