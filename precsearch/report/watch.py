"""What every observer of a study keeps in mind, whatever it prints."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from precsearch.allocation import Allocation
from precsearch.report.pace import Pace
from precsearch.report.view import read_allocation
from precsearch.results import Progress, RunDirectory, TrialRecord

if TYPE_CHECKING:
    from precsearch.experiment import Experiment

Key = tuple[int, str | None]


@dataclass
class Running:
    """A trial, or a baseline beside it, that is being trained."""

    number: int
    baseline: str | None
    params: dict[str, Any]
    resumed: bool
    progress: Progress | None = None

    @property
    def title(self) -> str:
        """`trial 3`, or `uniform beside trial 3`."""
        return title(self.number, self.baseline)


class Watch:
    """An `Observer` that follows a study; a view subclasses it and prints. Use it as a context manager.

    Attributes:
        idle: nothing was trained while watching: the study was finished already.
    """

    def __init__(self, experiment: Experiment, run: RunDirectory) -> None:
        self.experiment = experiment
        self.run = run
        self.idle = True
        self.n_trials = experiment.study.n_trials
        self.finished: list[TrialRecord] = []
        self.front: list[TrialRecord] = []
        self.running: dict[Key, Running] = {}
        self.pace = Pace()
        self._baselines_done = 0
        self._allocations: dict[int, Allocation | None] = {}

    def __enter__(self) -> Self:
        """Begin to show."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""

    def study_started(self, n_trials: int, finished: list[TrialRecord]) -> None:
        """The study begins or continues; `finished` were there before."""
        self.n_trials = n_trials
        self.finished = [record for record in finished if record.baseline is None]

    def trial_started(self, number: int, params: dict[str, Any], resumed: bool, baseline: str | None) -> None:
        """A trial (or the baseline beside it) begins, or continues from its checkpoint."""
        self.idle = False
        self.running[number, baseline] = Running(number, baseline, params, resumed)
        self.pace.begin()

    def trial_progressed(self, number: int, progress: Progress, baseline: str | None) -> None:
        """An epoch is done."""
        self.running[number, baseline].progress = progress
        self.pace.epoch()

    def trial_finished(self, record: TrialRecord, front: list[TrialRecord]) -> None:
        """A trial or baseline ended; `front` is the non-dominated set so far."""
        self.idle = False  # a point that is not allowed ends without having begun
        ended = self.running.pop((record.number, record.baseline), None)
        if ended is not None:
            self.pace.end(ended.progress.step if ended.progress else 0)
        self.front = front
        if record.baseline is None:
            self.finished.append(record)
        else:
            self._baselines_done += 1

    def trial_dropped(self, number: int, reason: str) -> None:
        """A trial is no longer this driver's."""
        ended = self.running.pop((number, None), None)
        if ended is not None:
            self.pace.end(ended.progress.step if ended.progress else 0)

    def noted(self, text: str) -> None:
        """Something to know that is no trial's."""

    def seconds_left(self) -> float | None:
        """About how long the trials and baselines to come will take; None while nothing is known."""
        reached = [one.progress for one in self.running.values() if one.progress]
        steps = max((progress.steps for progress in reached), default=0)
        trials = self.n_trials - len(self.finished) - sum(one.baseline is None for one in self.running.values())
        baselines = self._baselines() - self._baselines_done
        return self.pace.left(
            trainings=max(trials, 0) + max(baselines, 0),
            open_epochs=sum(progress.steps - progress.step for progress in reached),
            steps=steps,
        )

    def _baselines(self) -> int:
        """How many baselines the front will have."""
        study = self.experiment.study
        return sum(len(study.beside(best=place == 0)) for place in range(len(self.front)))

    def allocation(self, number: int) -> Allocation | None:
        """The allocation that trial `number` found; read once."""
        if self._allocations.get(number) is None:
            self._allocations[number] = read_allocation(self.run.trial(number))
        return self._allocations[number]


def title(number: int, baseline: str | None) -> str:
    """`trial 3`, or `uniform beside trial 3`."""
    return f"trial {number}" if baseline is None else f"{baseline} beside trial {number}"
