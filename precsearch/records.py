"""Trials and what they measured as data: results, records, epochs.

No torch and no optuna here.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from precsearch.allocation import Allocation

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


class TrainingRecord(TrialRecord):
    """`result.json` of one training of a `compare` or a `grid`.

    `number` is that of its cell, `params` the cell's point with what was tuned, `baseline` its label in the cell.

    Attributes:
        arm: its name in `compare.arms`; ``float``, ``direct`` or ``retrained`` in a grid.
        index: of the seed, from 0; the same index is the same seed in every arm and cell.
        bits: of all layers, or of the one, in a grid; None where float, and in a comparison.
        layer: that alone is quantized; None where all are.
    """

    arm: str
    index: int
    bits: int | None = None
    layer: str | None = None

    @property
    def label(self) -> str:
        """What names it in its cell: ``uniform``, ``retrained-2``, ``direct-2-fc1``."""
        return str(self.baseline)
