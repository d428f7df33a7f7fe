"""What trials leave behind: results as data, and what a run directory holds.

No torch and no optuna here: `list`, `export` and `report` read a copied run directory anywhere.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from precsearch.allocation import Allocation
from precsearch.errors import RunDirectoryError
from precsearch.files import write_json

TrialState = Literal["complete", "pruned", "failed"]
SELECTABLE_METRICS = (
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "generalization_gap",
    "validation_brier",
    "validation_ece",
    "validation_fgsm_accuracy",
    "validation_fgsm_l2_accuracy",
    "validation_pgd_accuracy",
    "validation_pgd_l2_accuracy",
    "validation_perturbation",
    "validation_corrupted_accuracy",
    "validation_bit_flip_accuracy",
    "average_bits",
    "average_bits_weight",
    "average_bits_activation",
    "model_size",
    "bitops",
    "activation_memory",
    "latency",
    "energy",
)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Progress(_Frozen):
    """Where a trial stands after one epoch; one line of `steps.jsonl`.

    Attributes:
        phase: ``warmup``, ``search`` or ``finetune``.
        epoch: epoch within the phase, from 1.
        step: epochs done in the whole trial, from 1; the step that pruners compare.
        steps: epochs the whole trial takes.
        metrics: ``train_loss``, ``validation_loss``, ``validation_accuracy`` (0 to 1); what the most likely
            allocation now costs: ``average_bits``, ``average_bits_weight``, ``average_bits_activation``,
            ``model_size`` (bytes), ``bitops``, ``activation_memory`` (bytes) and, under budgets of those kinds,
            ``latency`` and ``energy``; until it is settled ``entropy`` (nats a choice), ``temperature``.
        bits: layer -> target -> bit-width of the most likely allocation now.
    """

    phase: Literal["warmup", "search", "finetune"]
    epoch: int
    step: int
    steps: int
    metrics: dict[str, float]
    bits: dict[str, dict[str, int]] = {}


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


class TrialResult(_Frozen):
    """What one trained trial measured.

    Attributes:
        metrics: metric name -> value; accuracies are fractions of 1, model_size bytes.
        allocation: the bits found; its JSON is `allocation.json` of the trial's directory.
        seconds: wall-clock time of the training that this process did.
    """

    metrics: dict[str, float]
    allocation: Allocation
    seconds: float


class TrialRecord(_Frozen):
    """`result.json` of one trial directory: how it was configured, how it ended, what it measured.

    Attributes:
        number: the trial's number in the study; a baseline carries that of the trial it stands beside.
        state: how it ended.
        baseline: ``uniform`` or ``random`` for a baseline, the arm where a front is confirmed, None for a trial of
            the study.
        params: dotted path -> value that the outer search chose.
        seed: of the trial.
        metrics: empty unless complete.
        reason: why it failed or was pruned.
        seconds: wall-clock time.
        limit: the budget limit it ran under, one number or one a target.
        node: of a cluster that ran it, its address and a short id; None in process.
    """

    number: int
    state: TrialState
    baseline: str | None = None
    params: dict[str, Any] = {}
    seed: int
    metrics: dict[str, float] = {}
    reason: str | None = None
    seconds: float = 0.0
    limit: float | dict[str, float] | None = None
    node: str | None = None


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

    def trial(self, number: int) -> Path:
        """Directory of a trial of the study."""
        return self.path / "trials" / f"{number:04d}"

    def baseline(self, number: int, kind: str) -> Path:
        """Directory of the baseline of `kind` beside trial `number`."""
        return self.path / "baselines" / f"{number:04d}-{kind}"

    def confirm(self, number: int, arm: str, index: int) -> Path:
        """Directory of the training of `arm` with fresh seed `index` that confirms trial `number`."""
        return self.path / "confirm" / f"{number:04d}-{arm}-{index:02d}"

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

    def write_record(self, directory: Path, record: TrialRecord) -> None:
        """Write `result.json` into a trial's or baseline's directory."""
        write_json(directory / "result.json", record.model_dump(mode="json"))


def read_record(directory: Path) -> TrialRecord | None:
    """The record of one trial directory, or None where the trial has not finished.

    Raises:
        RunDirectoryError: when the file is there but cannot be read.
    """
    path = directory / "result.json"
    try:
        return TrialRecord.model_validate(json.loads(path.read_text(encoding="utf-8")))
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
