"""The driver's side of Ray: which of Tune's trials is which job, and what becomes of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from precsearch.errors import WorkerLostError
from precsearch.study.cluster.wire import Message, Parcel
from precsearch.study.executors.base import Job, JobSource, Outcome


@dataclass
class Running:
    """A job that Tune has: which attempt at it was heard of last, where, and since when."""

    job: Job
    attempt: str | None = None
    node: str | None = None
    started: float = field(default_factory=time.monotonic)


class Desk:
    """Between Tune and the driver: which of Tune's trials is which job.

    Args:
        source: of jobs.
        first: the job that comes before those of `source`.
        pack: a job as it travels.
        collect: brings the files of a finished job home.
        slots: how many jobs may run now.
    """

    def __init__(
        self,
        source: JobSource,
        first: Job,
        pack: Callable[[Job], Parcel],
        collect: Callable[[Job], None],
        slots: Callable[[], int],
    ) -> None:
        self._source = source
        self._first: Job | None = first
        self._pack = pack
        self._collect = collect
        self._slots = slots
        self._running: dict[str, Running] = {}

    def take(self, trial_id: str) -> Parcel | Literal["none now", "none any more"]:
        """The next job, for Tune's trial of that id; or whether there may be one later."""
        if len(self._running) >= self._slots():  # a trial asked early would know less of those before it
            return "none now"
        job, self._first = self._first or self._source.next_job(), None
        if job is None:
            return "none now" if self._running else "none any more"
        job = replace(job, directory=job.directory.absolute())
        self._running[trial_id] = Running(job)
        return self._pack(job)

    def hear(self, trial_id: str, message: Message) -> bool:
        """Pass a worker's message on; whether the trial is over."""
        running = self._running.get(trial_id)
        if running is None:
            return True
        job = running.job
        lost = running.attempt not in {None, message.attempt}
        if lost or (running.attempt is None and message.resumed and not (job.directory / "checkpoint").exists()):
            self._source.restarted(job)  # after a lost worker; or from a checkpoint that the driver did not see
        running.attempt, running.node = message.attempt, message.node
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
            self._end(trial_id, Outcome(seconds=time.monotonic() - running.started, error=error))

    def _end(self, trial_id: str, outcome: Outcome) -> None:
        running = self._running.pop(trial_id)
        self._collect(running.job)
        self._source.finished(running.job, replace(outcome, node=running.node))
