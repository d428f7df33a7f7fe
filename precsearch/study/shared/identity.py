"""Who a run directory is among the drivers of a shared study, and which study that is."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

from precsearch.errors import RunDirectoryError
from precsearch.files import write_atomically
from precsearch.results import RunDirectory


def identity_file(directory: RunDirectory) -> Path:
    """Where it is kept."""
    return directory.path / ".driver.json"


def study_of(directory: RunDirectory) -> str | None:
    """The id of the study that the directory's trials belong to; None for a new directory.

    Raises:
        RunDirectoryError: when the file cannot be read.
    """
    return _read(identity_file(directory)).get("study")


def identify(directory: RunDirectory, study: str) -> str:
    """This driver's id: made once, kept when the directory moves, made anew in a copy of it.

    Two directories with one id would continue each other's trials. The file knows its own inode, which a copy
    does not have.

    Args:
        directory: of the run.
        study: id of its study.
    """
    path = identity_file(directory)
    held = _read(path)
    if held and held.get("inode") == path.stat().st_ino:
        return str(held["driver"])
    driver = uuid.uuid4().hex

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8") as file:
            inode = os.fstat(file.fileno()).st_ino
            json.dump({"driver": driver, "inode": inode, "study": study}, file)
            file.flush()
            os.fsync(file.fileno())

    write_atomically(path, write)
    return driver


def _read(path: Path) -> dict[str, Any]:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise RunDirectoryError(
            f"cannot read {path}: {error}; restore it, or start again with --output OTHER"
        ) from None
    return held if isinstance(held, dict) else {}
