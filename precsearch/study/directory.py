"""Opening a run directory: new, continued, or refused; one driver at a time."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from precsearch.errors import RunDirectoryError
from precsearch.experiment import Experiment
from precsearch.experiment.loading import dump_experiment, fingerprint, load_experiment
from precsearch.files import write_if_other, write_json
from precsearch.results import RunDirectory
from precsearch.study.environment import describe_environment

LOCK: Final = ".driver.lock"
ORPHANS_SECONDS: Final = 15.0  # forked loader workers of a killed driver hold its lock until they notice


@contextmanager
def open_run(directory: RunDirectory, experiment: Experiment) -> Iterator[None]:
    """Hold `directory` for one study of `experiment`: made if new, continued if it holds the same experiment.

    Raises:
        RunDirectoryError: when it is another experiment's, is not a run directory, cannot be written, or has a
            driver already.
    """
    check_directory(directory, experiment)
    with hold(directory.path):
        check_directory(directory, experiment)  # again: another driver may have made it while this one waited
        write_if_other(directory.experiment, dump_experiment(experiment))
        if not directory.environment.is_file():
            write_json(directory.environment, describe_environment(experiment.study.seed))
        yield


def check_directory(directory: RunDirectory, experiment: Experiment) -> None:
    """Check that `directory` is new, or holds this experiment; writes nothing.

    Raises:
        RunDirectoryError: when it is something else.
    """
    path = directory.path
    if path.exists() and not path.is_dir():
        raise RunDirectoryError(f"{path} is a file, not a run directory; give a directory with --output")
    if directory.experiment.is_file():
        held = load_experiment(directory.experiment)
        if fingerprint(held) != fingerprint(experiment):
            raise RunDirectoryError(
                f"{path} holds the experiment {held.name!r} ({fingerprint(held)}), which is not "
                f"{experiment.name!r} ({fingerprint(experiment)}) as asked for now; "
                "give another directory with --output OTHER"
            )
    elif path.is_dir() and (strange := sorted(each.name for each in path.iterdir() if not _ours(each.name))):
        raise RunDirectoryError(
            f"{path} is not empty and not a run directory: it has {strange[0]!r} but no experiment.yaml; "
            "give a new directory with --output OTHER"
        )


def _ours(name: str) -> bool:
    """Whether a driver that was killed before it wrote experiment.yaml may have left this file."""
    return name == LOCK or (name.startswith(".experiment.yaml.") and name.endswith(".tmp"))


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Keep other drivers away from a run directory, which is made if it is not there.

    Raises:
        RunDirectoryError: when it has a driver already, or cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        file = (path / LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise RunDirectoryError(
            f"cannot write in {path}: {error.strerror or error}; check its permissions, or give another "
            "directory with --output"
        ) from None
    with file:
        _acquire(file, path)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _acquire(file: IO[str], path: Path) -> None:
    deadline = time.monotonic() + ORPHANS_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip()
            if _alive(holder) or time.monotonic() > deadline:
                raise RunDirectoryError(
                    f"{path} is in use: another driver (process {holder or 'unknown'}) runs its study; "
                    "wait for it to end, or give another directory with --output OTHER"
                ) from None
            time.sleep(0.1)


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
