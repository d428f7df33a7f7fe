"""What an executor and the driver say to each other.

The driver decides what is trained and what becomes of it, an executor only where and when. It pulls jobs,
hands every report to the driver and asks it whether to stop: so the Optuna study has one writer, whoever
trains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Protocol, Self

from precsearch.experiment import Experiment
from precsearch.experiment.loading import apply_point
from precsearch.plans import TrialPlan
from precsearch.results import Progress, Session, TrialResult

START: Final = "start"  # folder in a training's own, for the weights that are brought to it
RunTrial = Callable[
    ..., TrialResult
]  # of an experiment and a session; of `evaluated` as well where winners are confirmed


@dataclass(frozen=True)
class Job:
    """One training to do.

    Attributes:
        number: of the trial in the study; a baseline carries that of the trial it stands beside.
        experiment: the document with the trial's point applied.
        seed: of the trial.
        directory: where the trial writes.
        params: dotted path -> value that the outer search chose.
        baseline: kind of the baseline, the arm where a front is confirmed, None for a trial of the study.
        evaluated: the split that what `evaluate:` asks for is measured on.
        start: file of trained weights that it starts from; where the experiment says where None.
    """

    number: int
    experiment: Experiment
    seed: int
    directory: Path
    params: dict[str, Any] = field(default_factory=dict)
    baseline: str | None = None
    evaluated: Literal["validation", "test"] = "validation"
    start: Path | None = None

    def train(self, run_trial: RunTrial, session: Session) -> TrialResult:
        """Let `run_trial` do it; of the split it is told where that is not the usual one."""
        experiment = self._started(session.directory)
        if self.evaluated == "validation":
            return run_trial(experiment, session)
        return run_trial(experiment, session, evaluated=self.evaluated)

    def _started(self, directory: Path) -> Experiment:
        if self.start is None:
            return self.experiment
        brought = directory / START / self.start.name  # where a worker cannot see the run directory
        found = brought if brought.is_file() else self.start
        return apply_point(self.experiment, {"model.checkpoint": str(found.absolute())})


@dataclass(frozen=True)
class Outcome:
    """How a job ended: with a result, stopped by the driver (the reason), or with an error.

    Attributes:
        seconds: wall-clock time of the last attempt.
        result: what was measured.
        stopped: why the driver ended it early.
        error: what it raised, after the last retry.
        node: of a cluster that ran its last attempt.
    """

    seconds: float = 0.0
    result: TrialResult | None = None
    stopped: str | None = None
    error: Exception | None = None
    node: str | None = None


class JobSource(Protocol):
    """The driver's side: where jobs come from and where their outcomes go. Called from one thread."""

    def next_job(self) -> Job | None:
        """The next training to do; None for none now, and for good once every job handed out has finished."""

    def progressed(self, job: Job, progress: Progress) -> str | None:
        """An epoch of `job` is done; the answer is a reason to stop it, or None to go on."""

    def restarted(self, job: Job) -> None:
        """`job` lost its worker, and begins again from its last checkpoint on another."""

    def finished(self, job: Job, outcome: Outcome) -> None:
        """`job` ended. Raises where the whole study has to end."""


class Executor(Protocol):
    """Who runs jobs. Entered once a study; what it started is gone when it is left."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def inspect(self, experiment: Experiment) -> TrialPlan:
        """What the trials would do, asked where they would run; nothing is trained or written.

        Raises:
            PrecsearchError: what every trial would raise, or why this executor cannot run any.
        """

    def run(self, source: JobSource, run_trial: RunTrial | None) -> None:
        """Run jobs of `source` until it has no more and all have finished.

        Args:
            source: of jobs.
            run_trial: trains one; `precsearch.trial.run_trial` where None.
        """
