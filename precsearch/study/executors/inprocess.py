"""One trial after another in this process: no server, no serialization, and the same study every time."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from precsearch.errors import PrecsearchError, TrialStopped
from precsearch.experiment import Experiment
from precsearch.plans import TrialPlan
from precsearch.results import Progress, Session, TrialResult
from precsearch.study.executors.base import Job, JobSource, Outcome, RunTrial
from precsearch.study.feasibility import inspect_study
from precsearch.study.interrupts import Interrupts


class InProcessSession:
    """The `Session` of a trial that runs in the driver's own process.

    Args:
        job: what is trained.
        source: whom to tell.
        interrupts: asked at every report.
    """

    def __init__(self, job: Job, source: JobSource, interrupts: Interrupts) -> None:
        self.seed = job.seed
        self.directory = job.directory
        self._job = job
        self._source = source
        self._interrupts = interrupts

    def resume(self) -> Path | None:
        """The trial's own checkpoint folder, if an earlier process left one."""
        checkpoint = self.directory / "checkpoint"
        return checkpoint if checkpoint.is_dir() else None

    def report(self, progress: Progress, checkpoint: Path | None) -> None:
        """Tell the driver; `checkpoint` already lies in the trial's directory, so nothing has to travel."""
        self._interrupts.check()
        reason = self._source.progressed(self._job, progress)
        if reason is not None:
            raise TrialStopped(reason)


class InProcessExecutor:
    """Runs jobs one by one.

    Args:
        experiment: `executor.max_failures` is how often a trial that raised is tried again, from its last
            checkpoint.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._max_failures = experiment.executor.max_failures

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def inspect(self, experiment: Experiment) -> TrialPlan:
        """Look at a trial in this process."""
        return inspect_study(experiment)

    def run(self, source: JobSource, run_trial: RunTrial | None) -> None:
        """Run every job of `source` to its end before the next is asked for."""
        run_trial = run_trial or _train
        with Interrupts() as interrupts:
            while (job := source.next_job()) is not None:
                interrupts.check()
                started = time.monotonic()
                session = InProcessSession(job, source, interrupts)
                result, stopped, error = self._attempt(job, session, run_trial)
                seconds = result.seconds if result is not None else time.monotonic() - started
                source.finished(job, Outcome(seconds=seconds, result=result, stopped=stopped, error=error))

    def _attempt(
        self, job: Job, session: InProcessSession, run_trial: RunTrial
    ) -> tuple[TrialResult | None, str | None, Exception | None]:
        failures = 0
        while True:
            try:
                return job.train(run_trial, session), None, None
            except TrialStopped as stop:
                return None, str(stop), None
            except PrecsearchError as error:
                return None, None, error  # raised on purpose: the same seed would only raise it again
            except Exception as error:
                failures += 1
                if failures > self._max_failures:
                    return None, None, error


def _train(experiment: Experiment, session: Session, **how: Any) -> TrialResult:
    from precsearch.trial import run_trial  # loads torch: not for a study that is finished already

    return run_trial(experiment, session, **how)
