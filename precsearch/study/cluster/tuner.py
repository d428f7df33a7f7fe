"""Ray Tune as an executor of jobs: a searcher that asks the driver, a scheduler that tells it, and nothing else.

Tune decides on what node and when a trial runs, keeps its actors from trial to trial and starts a trial again
when its worker is lost. It never decides what runs: stock `OptunaSearch` and `Tuner.restore` keep a second
record of the study, and lose or double trials where the two part.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import ray
from ray import tune
from ray.tune.callback import Callback
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from precsearch.errors import ClusterError, WorkerLostError
from precsearch.experiment import ExecutorSettings
from precsearch.study.cluster.mailbox import AwayDesk, answer_while, open_mailbox, remove_on_head
from precsearch.study.cluster.wire import KEY, Message, Parcel
from precsearch.study.cluster.worker import PARCEL, train
from precsearch.study.executors.base import Job, JobSource, Outcome
from precsearch.study.interrupts import Interrupts

LOST_WORKERS: Final = 3  # forgiven a trial: machines are lost without the trial's fault


@dataclass
class Running:
    """A job that Tune has: which attempt at it was heard of last, and since when."""

    job: Job
    attempt: str | None = None
    started: float = field(default_factory=time.monotonic)


class Desk:
    """Between Tune and the driver: which of Tune's trials is which job.

    Args:
        source: of jobs.
        first: the job that comes before those of `source`.
        pack: a job as it travels.
        collect: brings the files of a finished job home.
        slots: how many jobs may run now.
        interrupts: asked whenever Tune comes by.
    """

    def __init__(
        self,
        source: JobSource,
        first: Job,
        pack: Callable[[Job], Parcel],
        collect: Callable[[Job], None],
        slots: Callable[[], int],
        interrupts: Interrupts,
    ) -> None:
        self._source = source
        self._first: Job | None = first
        self._pack = pack
        self._collect = collect
        self._slots = slots
        self._interrupts = interrupts
        self._running: dict[str, Running] = {}
        self.mailbox: Any = None
        self.failure: BaseException | None = None  # what the driver raised; Tune would make a text of it

    def __reduce__(self) -> tuple[type[AwayDesk], tuple[Any]]:
        """Stays here: Tune pickles what it runs, to take it to the head node or to restore it one day."""
        return AwayDesk, (self.mailbox,)

    def take(self, trial_id: str) -> Parcel | str | None:
        """The next job, for Tune's trial of that id; None for no room or no job now, FINISHED for none any more."""
        with self._remembered():
            return self._take(trial_id)

    def _take(self, trial_id: str) -> Parcel | str | None:
        self._interrupts.check()
        if len(self._running) >= self._slots():  # a trial asked early would know less of those before it
            return None
        job, self._first = self._first or self._source.next_job(), None
        if job is None:
            return None if self._running else str(Searcher.FINISHED)
        job = replace(job, directory=job.directory.absolute())
        self._running[trial_id] = Running(job)
        return self._pack(job)

    def hear(self, trial_id: str, message: Message) -> bool:
        """Pass a worker's message on; whether the trial is over."""
        with self._remembered():
            return self._hear(trial_id, message)

    def _hear(self, trial_id: str, message: Message) -> bool:
        self._interrupts.check()
        running = self._running.get(trial_id)
        if running is None:
            return True
        job = running.job
        lost = running.attempt not in {None, message.attempt}
        if lost or (running.attempt is None and message.resumed and not (job.directory / "checkpoint").exists()):
            self._source.restarted(job)  # after a lost worker; or from a checkpoint that the driver did not see
        running.attempt = message.attempt
        if message.progress is not None:
            reason = self._source.progressed(job, message.progress)
            if reason is None:
                return False
            self._end(trial_id, Outcome(seconds=message.seconds, stopped=reason))
        elif message.result is not None:
            self._end(trial_id, Outcome(seconds=message.result.seconds, result=message.result))
        else:
            error = message.error.rebuilt() if message.error else None
            self._end(trial_id, Outcome(seconds=message.seconds, error=error))
        return True

    def lose(self, trial_id: str, failures: int, reason: str) -> None:
        """A trial's workers were lost more often than is forgiven."""
        running = self._running.get(trial_id)
        if running is not None:
            error = WorkerLostError(f"lost its worker {failures} times; the last time: {reason}")
            with self._remembered():
                self._end(trial_id, Outcome(seconds=time.monotonic() - running.started, error=error))

    @contextlib.contextmanager
    def _remembered(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.failure = error
            raise

    def _end(self, trial_id: str, outcome: Outcome) -> None:
        job = self._running.pop(trial_id).job
        self._collect(job)
        self._source.finished(job, outcome)


class DeskSearcher(Searcher):
    """Gives Tune the driver's jobs. Holds no record of its own: Tune has nothing to save or restore."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk

    def suggest(self, trial_id: str) -> Any:
        """A job as a configuration; None for none now, FINISHED for none any more."""
        taken = self._desk.take(trial_id)
        return {PARCEL: taken} if isinstance(taken, Parcel) else taken

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Nothing: the scheduler has told it."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class DeskScheduler(FIFOScheduler):
    """Tells the driver of every report, and Tune to stop where the driver says so."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._desk = desk

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Hand a report over and ask."""
        over = self._desk.hear(trial.trial_id, result[KEY])
        return str(TrialScheduler.STOP if over else TrialScheduler.CONTINUE)


class LossCallback(Callback):
    """Tells the driver of trials that Tune gave up."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Every try lost its worker."""
        text = Path(trial.error_file).read_text(encoding="utf-8") if trial.error_file else ""
        self._desk.lose(trial.trial_id, trial.num_failures, _last_words(text))


def _last_words(text: str) -> str:
    """First and last line of the last failure in a file that Tune appends to."""
    *_, last = text.split("\nFailure # ")
    lines = [line.strip() for line in last.splitlines()[1:] if line.strip()]
    return " ... ".join(dict.fromkeys([lines[0], lines[-1]])) if lines else "Ray gave no reason"


def run_jobs(desk: Desk, settings: ExecutorSettings, folder: str) -> None:
    """Let Tune run the desk's jobs until there are no more.

    Args:
        desk: where they come from and their reports go.
        settings: resources and failures.
        folder: for Tune's own files; nothing of ours is in it.
    """
    resources = {"cpu": settings.resources.cpu, "gpu": settings.resources.gpu}
    away = ray.util.client.ray.is_connected()
    desk.mailbox = open_mailbox() if away else None
    tuner = tune.Tuner(
        tune.with_resources(train, resources),
        tune_config=tune.TuneConfig(
            num_samples=-1,
            search_alg=DeskSearcher(desk),
            scheduler=DeskScheduler(desk),
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name="jobs",
            storage_path=folder,
            verbose=0,
            callbacks=[LossCallback(desk)],
            failure_config=tune.FailureConfig(max_failures=max(LOST_WORKERS, settings.max_failures)),
        ),
    )
    try:
        if away:
            answer_while(tuner.fit, desk, desk.mailbox)
            remove_on_head(folder)
        else:
            tuner.fit()
    except Exception as error:
        if desk.failure is not None:
            raise desk.failure from None
        last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise ClusterError(
            f"Ray Tune gave up: {last}; everything done so far is kept, run the same command again to go on"
        ) from error
