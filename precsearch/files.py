"""Writing files whole or not at all (beside, flushed, then renamed), fetching some, and where some are shared."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from precsearch.errors import RunDirectoryError

_SILENCE = 30.0  # seconds without an answer after which a download counts as failed


def shared_data_folder(name: str) -> Path:
    """Where this user's processes on this machine keep the data sets that they share under `name`."""
    return Path(tempfile.gettempdir()) / f"precsearch-data-{os.getuid()}-{name}"


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it to `path`.

    Raises:
        RunDirectoryError: when the folder is not writable or the disk is full; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        temporary.replace(path)
    except FileExistsError:
        raise RunDirectoryError(f"cannot write {path}: {path.parent} is a file; give another folder") from None
    except OSError as error:
        raise RunDirectoryError(
            f"cannot write {path}: {error.strerror or error}; check its folder's permissions and free space"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    write_atomically(path, write)


def write_json(path: Path, value: object) -> None:
    """Write `value` to `path` as indented JSON, whole or not at all."""
    write_text(path, json_text(value))


def json_text(value: object) -> str:
    """`value` as indented JSON."""
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def write_if_other(path: Path, text: str) -> None:
    """Write `text` to `path` unless it is there already: flushing costs milliseconds, and readers see no news."""
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


@contextlib.contextmanager
def patient_download() -> Iterator[None]:
    """Keep stdout for ``--json`` while something is fetched, and a silent network from holding it up for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SILENCE)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        socket.setdefaulttimeout(before)
