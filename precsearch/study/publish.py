"""`best.json` and `pareto.json`: what the study has found so far, whole at every moment."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from precsearch.errors import RunDirectoryError
from precsearch.experiment import StudySettings
from precsearch.files import write_if_other
from precsearch.results import RunDirectory, TrialRecord
from precsearch.selection import GrowingFront, knee

FORMAT: Final = "precsearch-pareto"
VERSION: Final = 1


class Published:
    """The front beside its baselines, and its best trial's allocation, written down whenever they change.

    Args:
        directory: of the run.
        study: objectives and constraints.
        ours: whether this run directory has a trial's weights.
    """

    def __init__(self, directory: RunDirectory, study: StudySettings, ours: Callable[[int], bool]) -> None:
        self._ours = ours
        self._directory = directory
        self._study = study
        self._front = GrowingFront(study.objectives, study.constraints)
        self._baselines: dict[int, dict[str, TrialRecord]] = {}
        for record in directory.baselines():
            self._place(record)
        self._changed = True  # what the last run left may be behind its results

    def add(self, *records: TrialRecord) -> None:
        """Take in how trials, or baselines beside them, ended."""
        for record in records:
            if record.baseline is not None:
                self._place(record)
                self._changed = True
            elif self._front.add(record):
                self._changed = True

    def write(self) -> list[TrialRecord]:
        """Write `best.json` and `pareto.json` if they are behind; returns the front, by number."""
        members = self._front.members
        if self._changed:
            self._write(members)
            self._changed = False
        return members

    def _place(self, record: TrialRecord) -> None:
        self._baselines.setdefault(record.number, {})[str(record.baseline)] = record

    def _write(self, members: Sequence[TrialRecord]) -> None:
        chosen = knee(members, self._study.objectives) if members else None
        document = {
            "format": FORMAT,
            "version": VERSION,
            "objectives": [objective.model_dump(mode="json") for objective in self._study.objectives],
            "best": chosen.number if chosen else None,
        }
        if chosen is not None:
            write_if_other(self._directory.best, _allocation_text(self._directory, chosen))
        # One line a member: as readable as indented, and written ten times faster after every trial.
        head = json.dumps(document, allow_nan=False).removesuffix("}")
        lines = [json.dumps(self._member(member), allow_nan=False) for member in members]
        write_if_other(self._directory.pareto, head + ', "front": [\n' + ",\n".join(lines) + "\n]}\n")

    def _member(self, record: TrialRecord) -> dict[str, Any]:
        trial = self._directory.trial(record.number).relative_to(self._directory.path)
        beside = {
            kind: {
                "metrics": baseline.metrics,
                "allocation": _file(self._directory.baseline(record.number, kind).relative_to(self._directory.path)),
            }
            for kind, baseline in sorted(self._baselines.get(record.number, {}).items())
            if baseline.state == "complete"
        }
        return {
            "trial": record.number,
            "params": record.params,
            "metrics": record.metrics,
            "limit": record.limit,
            "allocation": _file(trial),
            "weights": (trial / "weights.safetensors").as_posix() if self._ours(record.number) else None,
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
