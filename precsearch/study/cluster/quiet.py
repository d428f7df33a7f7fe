"""Ray's own words go to a file: what a person reads is the study's live view, on Ray as in process."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TextIO, cast

# Set before ray is imported, unless the user has set them; workers inherit them.
ENVIRONMENT: Final = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a warning about a default that will change
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths mean on a worker what they mean here
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_COLOR_PREFIX": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # three files a trial that nobody reads
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # it would end with status 0
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # Tune's record of the study is never read
    "TUNE_MAX_PENDING_TRIALS_PG": "1000",  # all workers start at once; one by one, short trials would never have two
    "TUNE_STATE_REFRESH_PERIOD": "1000000",  # it asks the head node, and would wait for one that is gone
    "TUNE_WARN_THRESHOLD_S": "1000000",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "1000000",
    "TUNE_FORCE_TRIAL_CLEANUP_S": "5",
}


def set_environment() -> None:
    """Settings that Ray reads from the environment."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def noise_to(path: Path) -> Iterator[None]:
    """Send what Ray's Python, its C++ core and its processes write to stdout and stderr to a file.

    `sys.stderr`, and in the calling thread `sys.stdout`, still reach the user; Tune has a thread of its own.
    """
    with contextlib.ExitStack() as stack:
        noise = stack.enter_context(path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1))
        user = stack.enter_context(_users(sys.stderr, 2))
        stack.enter_context(contextlib.redirect_stderr(stack.enter_context(_by_thread(sys.stderr, user, user))))
        user = stack.enter_context(_users(sys.stdout, 1))
        stack.enter_context(contextlib.redirect_stdout(stack.enter_context(_by_thread(sys.stdout, user, noise))))
        for descriptor in (1, 2):
            stack.enter_context(_moved(descriptor, noise.fileno()))
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", module=r"ray\.")
        yield


@contextlib.contextmanager
def _by_thread(before: TextIO, own: TextIO, others: TextIO) -> Iterator[TextIO]:
    """A stream that is `own` to the calling thread and `others` to the rest; `before` when this is over.

    Libraries keep the stream they find, and use it when the process ends.
    """
    stream = _ByThread(own, others)
    try:
        yield cast(TextIO, stream)
    finally:
        stream.own = stream.others = before


class _ByThread(io.TextIOBase):
    def __init__(self, own: TextIO, others: TextIO) -> None:
        self._thread = threading.get_ident()
        self.own = own
        self.others = others

    def _stream(self) -> TextIO:
        return self.own if threading.get_ident() == self._thread else self.others

    def write(self, text: str) -> int:
        return self._stream().write(text)

    def flush(self) -> None:
        self._stream().flush()

    def isatty(self) -> bool:
        return self._stream().isatty()

    def fileno(self) -> int:
        return self._stream().fileno()

    @property
    def closed(self) -> bool:
        return self._stream().closed

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream().encoding


@contextlib.contextmanager
def _users(stream: TextIO, descriptor: int) -> Iterator[TextIO]:
    """`stream`, or one that goes on where it goes now although its descriptor is moved."""
    try:
        same = stream.fileno() == descriptor
    except (AttributeError, OSError, ValueError):
        same = False
    if not same:
        yield stream
        return
    stream.flush()
    with os.fdopen(os.dup(descriptor), "w", buffering=1, encoding="utf-8", errors="backslashreplace") as kept:
        yield kept


@contextlib.contextmanager
def _moved(descriptor: int, to: int) -> Iterator[None]:
    kept = os.dup(descriptor)
    os.dup2(to, descriptor)
    try:
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)
