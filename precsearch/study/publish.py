"""`best.json` and `pareto.json`: what the study has found so far, whole at every moment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from precsearch.errors import RunDirectoryError
from precsearch.experiment import StudySettings
from precsearch.files import write_text
from precsearch.results import RunDirectory, TrialRecord
from precsearch.selection import front, knee

FORMAT: Final = "precsearch-pareto"
VERSION: Final = 1


def publish(
    directory: RunDirectory,
    study: StudySettings,
    records: Sequence[TrialRecord],
    baselines: Sequence[TrialRecord],
) -> list[TrialRecord]:
    """Write the front of `records`, with the `baselines` beside its members, and the best trial's allocation.

    Returns:
        The front, by number.
    """
    members = front(records, study.objectives, study.constraints)
    chosen = knee(members, study.objectives) if members else None
    document = {
        "format": FORMAT,
        "version": VERSION,
        "objectives": [objective.model_dump(mode="json") for objective in study.objectives],
        "best": chosen.number if chosen else None,
    }
    if chosen is not None:
        _write(directory.best, _allocation_text(directory, chosen))
    # One line a member: as readable as indented, and written ten times faster after every trial.
    head = json.dumps(document, allow_nan=False).removesuffix("}")
    lines = [json.dumps(_member(directory, member, baselines), allow_nan=False) for member in members]
    _write(directory.pareto, head + ', "front": [\n' + ",\n".join(lines) + "\n]}\n")
    return members


def _member(directory: RunDirectory, record: TrialRecord, baselines: Sequence[TrialRecord]) -> dict[str, Any]:
    trial = directory.trial(record.number).relative_to(directory.path)
    beside = {
        baseline.baseline: {
            "metrics": baseline.metrics,
            "allocation": _file(directory.baseline(baseline.number, baseline.baseline).relative_to(directory.path)),
        }
        for baseline in baselines
        if baseline.baseline and baseline.number == record.number and baseline.state == "complete"
    }
    return {
        "trial": record.number,
        "params": record.params,
        "metrics": record.metrics,
        "limit": record.limit,
        "allocation": _file(trial),
        "weights": (trial / "weights.safetensors").as_posix(),
        "baselines": beside,
    }


def _file(folder: Path) -> str:
    return (folder / "allocation.json").as_posix()


def _allocation_text(directory: RunDirectory, record: TrialRecord) -> str:
    path = directory.trial(record.number) / "allocation.json"
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise RunDirectoryError(
            f"cannot read {path} of the best trial: {error.strerror or error}; restore it, or delete that "
            "trial's result.json to train it again"
        ) from None


def _write(path: Path, text: str) -> None:
    """Written only when it changes: most trials do not move the front, and flushing costs milliseconds."""
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
