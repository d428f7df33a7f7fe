"""A trial on a node: trained by the same `run_trial` as in process, its epochs reported to Tune one by one."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from precsearch.errors import PrecsearchError
from precsearch.results import Progress, TrialResult
from precsearch.study.cluster.wire import Message, Parcel, TrainingError

PARCEL = "parcel"  # the one key of a trial's configuration


def train(config: dict[str, Any]) -> None:
    """What Tune calls for every trial, in an actor that goes on to the next when this returns."""
    import ray
    from ray import tune

    parcel: Parcel = config[PARCEL]
    node = f"{ray.util.get_node_ip_address()}/{ray.get_runtime_context().get_node_id()[:8]}"
    message = partial(Message, attempt=uuid.uuid4().hex, node=node, pid=os.getpid())
    started, resumed = time.monotonic(), False

    def send(**content: Any) -> None:
        tune.report(message(resumed=resumed, seconds=time.monotonic() - started, **content).report())

    try:
        with parcel.storage.open(parcel.job) as folder:
            session = WorkerSession(parcel, folder, lambda progress: send(progress=progress))
            resumed = session.resume() is not None
            result = _attempts(parcel, session)
            session.keep_files()
    except Exception as error:  # as data: Tune would take it for a lost worker
        send(error=TrainingError.of(error))
    else:
        send(result=result)


class WorkerSession:
    """The `Session` of a trial on a node.

    Args:
        parcel: the job and its storage.
        folder: to write to.
        send: reports an epoch; returns when the driver has answered, and not at all when it says stop.
    """

    def __init__(self, parcel: Parcel, folder: Path, send: Callable[[Progress], None]) -> None:
        self.seed = parcel.job.seed
        self.directory = folder
        self._parcel = parcel
        self._send = send
        self._kept: dict[Path, tuple[int, int]] = {}

    def resume(self) -> Path | None:
        """The checkpoint that an earlier worker left."""
        checkpoint = self.directory / "checkpoint"
        return checkpoint if checkpoint.is_dir() else None

    def report(self, progress: Progress, checkpoint: Path | None) -> None:
        """Keep what was written, then tell the driver: what it was told of can be continued."""
        self.keep_files()
        self._send(progress)

    def keep_files(self) -> None:
        """Keep what changed since the last time; the checkpoint last, since a resume begins with it."""
        files = [path for path in self.directory.rglob("*") if path.is_file() and not path.name.startswith(".")]
        stats = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in files}
        changed = [path for path in files if self._kept.get(path) != stats[path]]
        self._parcel.storage.keep(
            self._parcel.job, self.directory, sorted(changed, key=lambda path: (path.parent != self.directory, path))
        )
        self._kept = stats


def _attempts(parcel: Parcel, session: WorkerSession) -> TrialResult:
    """Train, and again from the last checkpoint where the training raised what another try may not."""
    if parcel.run_trial is not None:
        run = parcel.run_trial
    else:
        from precsearch.data import share_data
        from precsearch.trial import run_trial as run

        share_data(parcel.session)
    failures = 0
    while True:
        try:
            return parcel.job.train(run, session)
        except PrecsearchError:
            raise  # raised on purpose: the same seed would only raise it again
        except Exception:
            failures += 1
            if failures > parcel.max_failures:
                raise
