"""What trials leave behind: results as data, and what a run directory holds.

No torch and no optuna here: `list`, `export` and `report` read a copied run directory anywhere.
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from precsearch.errors import ConfigurationError, RunDirectoryError
from precsearch.files import write_json
from precsearch.records import (
    SELECTABLE_METRICS,
    Progress,
    TrainingRecord,
    TrialRecord,
    TrialResult,
    TrialState,
)

__all__ = [
    "RECORD", "SELECTABLE_METRICS", "Observer", "Progress", "RunDirectory", "Session", "TrainingRecord", "TrialRecord",
    "TrialResult", "TrialState", "read_record", "read_steps", "read_training",
]  # fmt: skip
RECORD: Final = "result.json"  # a training that has one has ended
AnyRecord = TypeVar("AnyRecord", bound=TrialRecord)


class Session(Protocol):
    """What a trial asks of whoever runs it; the seam between training and the outer search."""

    seed: int
    directory: Path

    def resume(self) -> Path | None:
        """The checkpoint folder to continue from, or None to start afresh."""

    def report(self, progress: Progress, checkpoint: Path | None) -> None:
        """Tell how far the trial is; may be told the same step again after a resume.

        Raises:
            TrialStopped: to end the trial early.
        """


class Observer(Protocol):
    """Who watches a study: the live view, or plain lines."""

    def study_started(self, n_trials: int, finished: list[TrialRecord]) -> None:
        """The study begins or continues; `finished` were there before."""

    def trial_started(self, number: int, params: dict[str, Any], resumed: bool, baseline: str | None) -> None:
        """A trial (or the baseline beside it) begins, or continues from its checkpoint."""

    def trial_progressed(self, number: int, progress: Progress, baseline: str | None) -> None:
        """An epoch is done."""

    def trial_finished(self, record: TrialRecord, front: list[TrialRecord]) -> None:
        """A trial or baseline ended; `front` is the non-dominated set so far."""

    def trial_dropped(self, number: int, reason: str) -> None:
        """A trial is no longer this driver's; shared studies only."""

    def noted(self, text: str) -> None:
        """Something to know that is no trial's; shared studies only."""


class RunDirectory:
    """The files of one run, by name. Reading never writes; all paths are relative to `path`.

    Args:
        path: the run directory; need not exist yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.experiment = self.path / "experiment.yaml"
        self.environment = self.path / "environment.json"
        self.journal = self.path / "study.journal"
        self.best = self.path / "best.json"
        self.pareto = self.path / "pareto.json"
        self.tuned = self.path / "tuned.json"
        self.layers = self.path / "layers.json"

    def trial(self, number: int) -> Path:
        """Directory of a trial of the study."""
        return self.path / "trials" / f"{number:04d}"

    def baseline(self, number: int, kind: str) -> Path:
        """Directory of the baseline of `kind` beside trial `number`."""
        return self.path / "baselines" / f"{number:04d}-{kind}"

    def confirm(self, number: int, arm: str, index: int) -> Path:
        """Directory of the training of `arm` with fresh seed `index` that confirms trial `number`."""
        return self.path / "confirm" / f"{number:04d}-{arm}-{index:02d}"

    def training(self, cell: int, label: str, index: int) -> Path:
        """Directory of the training of arm `label` with seed `index` in a cell of a `compare` or a `grid`."""
        return self.path / "trainings" / f"{cell:04d}-{label}-{index:02d}"

    def tuning(self, cell: int, label: str, point: int, index: int) -> Path:
        """Directory of the training that tries combination `point` of what is tuned, with tuning seed `index`."""
        return self.path / "tuning" / f"{cell:04d}-{label}-{point:02d}-{index:02d}"

    def require(self) -> None:
        """Check that this is a run directory.

        Raises:
            RunDirectoryError: when it is not.
        """
        if not self.experiment.is_file():
            raise RunDirectoryError(
                f"{self.path} is not a run directory: it has no experiment.yaml; "
                "`precsearch run SPACE.yaml --output DIR` makes one"
            )

    def records(self) -> list[TrialRecord]:
        """Every finished trial of the study, by number."""
        return _records(self.path / "trials")

    def baselines(self) -> list[TrialRecord]:
        """Every finished baseline, by number and kind."""
        return _records(self.path / "baselines")

    def confirmations(self) -> list[tuple[Path, TrialRecord]]:
        """Every finished confirming training and its directory, by number, arm and seed; `baseline` names the arm."""
        folders = sorted(self.path.glob("confirm/*/"))
        read = ((folder, read_record(folder)) for folder in folders)
        return [(folder, record) for folder, record in read if record is not None]

    def trainings(self) -> list[tuple[Path, TrainingRecord]]:
        """Every finished training of a `compare` or a `grid` and its directory, by cell, label and seed."""
        return _trainings(self.path / "trainings")

    def tunings(self) -> list[tuple[Path, TrainingRecord]]:
        """Every finished training of the tuning and its directory; `params` says what was tried."""
        return _trainings(self.path / "tuning")

    def find_training(self, name: str) -> Path:
        """The directory of a training of a `compare` or a `grid` by its own name, such as ``0003-uniform-02``.

        Raises:
            ConfigurationError: when there is none; says which is nearest.
            RunDirectoryError: when this is no run directory.
        """
        self.require()
        there = [path.name for path in sorted(self.path.glob("trainings/*/"))]
        if name not in there:
            near = difflib.get_close_matches(name, there, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {len(there)}"
            raise ConfigurationError(f"a training of {self.path} must be named, but got {name!r}{hint}")
        return self.path / "trainings" / name

    def write_record(self, directory: Path, record: TrialRecord) -> None:
        """Write `result.json` into a trial's or baseline's directory."""
        write_json(directory / RECORD, record.model_dump(mode="json"))


def read_record(directory: Path) -> TrialRecord | None:
    """The record of one trial directory, or None where the trial has not finished.

    Raises:
        RunDirectoryError: when the file is there but cannot be read.
    """
    return _read(directory, TrialRecord)


def read_training(directory: Path) -> TrainingRecord | None:
    """The record of one training of a `compare` or a `grid`, or None where it has not finished.

    Raises:
        RunDirectoryError: when the file is there but cannot be read.
    """
    return _read(directory, TrainingRecord)


def _read(directory: Path, kind: type[AnyRecord]) -> AnyRecord | None:
    path = directory / RECORD
    try:
        return kind.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # not JSON, not UTF-8, or not a record
        first = str(error).splitlines()[0]
        raise RunDirectoryError(f"cannot read {path}: {first}; delete the file to train that trial again") from None


def read_steps(directory: Path) -> tuple[Progress, ...]:
    """The epochs of one trial directory; empty without `steps.jsonl`, up to a line that is still being written."""
    try:
        lines = (directory / "steps.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ()
    found = []
    for line in lines:
        try:
            found.append(Progress.model_validate_json(line))
        except ValueError:
            break
    return tuple(found)


def _records(folder: Path) -> list[TrialRecord]:
    if not folder.is_dir():
        return []
    found = (read_record(directory) for directory in sorted(folder.iterdir()))
    return [record for record in found if record is not None]


def _trainings(folder: Path) -> list[tuple[Path, TrainingRecord]]:
    read = ((directory, read_training(directory)) for directory in sorted(folder.glob("*/")))
    found = [(directory, record) for directory, record in read if record is not None]
    return sorted(found, key=lambda pair: (pair[1].number, pair[1].label, pair[1].index))
