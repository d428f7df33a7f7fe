"""What travels between the driver and a worker: a parcel there, messages back. Plain data and our own classes."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any, Final

import precsearch.errors as own_errors
from precsearch.errors import PrecsearchError
from precsearch.results import Progress, TrialResult
from precsearch.study.cluster.storage import Storage
from precsearch.study.executors.base import Job, RunTrial

KEY: Final = "precsearch"  # of a message in what a trial reports to Tune


@dataclass(frozen=True)
class Parcel:
    """A job on its way to a worker.

    Attributes:
        job: what to train; its paths are absolute, or the storage's.
        storage: where the trial's files are kept between workers.
        max_failures: how often a training that raised is tried again.
        session: of the driver; its workers on one node share the data.
        run_trial: trains it; `precsearch.trial.run_trial` where None.
    """

    job: Job
    storage: Storage
    max_failures: int
    session: str
    run_trial: RunTrial | None = None

    def __repr__(self) -> str:  # Tune writes it into names and tables
        return f"trial-{self.job.number}" + (f"-{self.job.baseline}" if self.job.baseline else "")


@dataclass(frozen=True)
class TrainingError:
    """An exception as data: its class may not exist, or not be picklable, on the other side.

    Attributes:
        name: of its class.
        text: its message.
        trace: the traceback on the worker.
    """

    name: str
    text: str
    trace: str

    @classmethod
    def of(cls, error: Exception) -> TrainingError:
        """Take an exception apart."""
        return cls(type(error).__name__, str(error), "".join(traceback.format_exception(error)))

    def rebuilt(self) -> Exception:
        """An exception of the same name and message; of the same class where it is one of ours."""
        kind = getattr(own_errors, self.name, None)
        if not (isinstance(kind, type) and issubclass(kind, PrecsearchError)):
            kind = type(self.name, (Exception,), {"__module__": "precsearch.worker"})
        error: Exception = kind(self.text)
        error.add_note(f"On the worker:\n{self.trace}")
        return error


@dataclass(frozen=True)
class Message:
    """What a worker reports: an epoch, or the end.

    Attributes:
        attempt: differs each time a worker begins the trial.
        node: address and short id of the worker's node.
        pid: of the worker's process.
        resumed: whether this attempt began from a checkpoint.
        progress: an epoch is done.
        result: the trial is complete.
        error: the trial raised, after the last retry.
        seconds: wall-clock time of this attempt.
    """

    attempt: str
    node: str
    pid: int
    resumed: bool
    progress: Progress | None = None
    result: TrialResult | None = None
    error: TrainingError | None = None
    seconds: float = 0.0

    def report(self) -> dict[str, Any]:
        """As Tune takes it."""
        return {KEY: self}
