"""Results on their way from the driver that trained them to the run directories of all others."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path
from typing import Any, Final

from optuna.trial import FrozenTrial

from precsearch.errors import RunDirectoryError
from precsearch.files import write_text
from precsearch.results import RunDirectory, TrialRecord, read_record
from precsearch.study.telling import told_record

RECORD: Final = "record"  # of a trial's user attributes: its result.json
# and its other files, each with the key it travels under; packed: MySQL's texts end at 64 KB
FILES: Final = {"allocation": "allocation.json", "evaluation": "evaluation.json", "drawn": "drawn.json"}


def packed(folder: Path, record: TrialRecord) -> dict[str, Any]:
    """What others need of a result, as user attributes."""
    parcel: dict[str, Any] = {RECORD: record.model_dump(mode="json")}
    for key, name in FILES.items():
        path = folder / name
        if record.state == "complete" and path.is_file():
            parcel[key] = base64.b85encode(zlib.compress(path.read_bytes(), 9)).decode()
    return parcel


def mirrored(directory: RunDirectory, trial: FrozenTrial, seed: int) -> TrialRecord:
    """How another driver's trial ended, written down here as it is there; its weights stay there.

    Args:
        directory: of the run.
        trial: that ended.
        seed: of its training.
    """
    there = read_record(directory.trial(trial.number))
    if there is not None:
        return there
    if RECORD in trial.user_attrs:
        return unpacked(directory, directory.trial(trial.number), trial.user_attrs)
    record = told_record(trial, seed)
    directory.write_record(directory.trial(trial.number), record)
    return record


def unpacked(directory: RunDirectory, folder: Path, parcel: dict[str, Any]) -> TrialRecord:
    """Write a parcel's files into `folder`, `result.json` last.

    Raises:
        RunDirectoryError: when the parcel is damaged.
    """
    try:
        record = TrialRecord.model_validate(parcel[RECORD])
        files = {
            name: zlib.decompress(base64.b85decode(parcel[key])).decode()
            for key, name in FILES.items()
            if key in parcel
        }
    except (ValueError, LookupError, TypeError, zlib.error) as error:
        first = str(error).splitlines()[0]
        raise RunDirectoryError(
            f"cannot read what another driver sent of {folder.name}: {first}; all must run the same precsearch"
        ) from None
    for name, text in files.items():
        write_text(folder / name, text)
    directory.write_record(folder, record)
    return record
