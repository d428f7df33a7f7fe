"""Ray's own words go to a file: what a person reads is the study's live view, on Ray as in process."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TextIO

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

    `sys.stderr` still reaches the user: only what writes to the descriptor itself is moved. Nothing of ours
    writes to stdout while a study runs.
    """
    with contextlib.ExitStack() as stack:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        stack.callback(os.close, file)
        if _writes_to(sys.stderr, 2):
            user = stack.enter_context(_user_stream())
            stack.enter_context(contextlib.redirect_stderr(user))
        noise = stack.enter_context(path.open("a", encoding="utf-8", errors="backslashreplace"))
        stack.enter_context(contextlib.redirect_stdout(noise))
        for descriptor in (1, 2):
            stack.enter_context(_moved(descriptor, file))
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", module=r"ray\.")
        yield


@contextlib.contextmanager
def _user_stream() -> Iterator[TextIO]:
    sys.stderr.flush()
    with os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace") as stream:
        yield stream


@contextlib.contextmanager
def _moved(descriptor: int, to: int) -> Iterator[None]:
    kept = os.dup(descriptor)
    os.dup2(to, descriptor)
    try:
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)


def _writes_to(stream: object, descriptor: int) -> bool:
    try:
        return bool(stream.fileno() == descriptor)  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return False
