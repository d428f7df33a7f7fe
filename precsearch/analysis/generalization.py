"""How much better networks do on the images they learned from, against their bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from precsearch.analysis.correlation import Correlation, rank_correlation
from precsearch.analysis.verdicts import FOUND
from precsearch.results import TrialRecord

GAP = "generalization_gap"
BITS = "average_bits"


@dataclass(frozen=True)
class GapRow:
    """One network.

    Attributes:
        number: of its trial.
        arm: ``found``, or the kind of baseline.
        seed: it was trained with.
        bits: what it is set against, such as its mean bits.
        gap: accuracy on the training images less that on the validation images, as a fraction.
        loss_gap: validation loss less training loss, nats; None where one of them is not there.
        accuracy: on the validation images; None where it is not there.
    """

    number: int
    arm: str
    seed: int
    bits: float
    gap: float
    loss_gap: float | None
    accuracy: float | None


def gap_rows(records: Sequence[TrialRecord], bits: str = BITS) -> list[GapRow]:
    """One row for each complete record that has its gap and `bits`, by arm as they come, then by bits.

    Args:
        records: trials, baselines, or trainings that confirm them.
        bits: the metric to set gaps against: ``average_bits_weight``, ``bitops``, ``model_size``.
    """
    rows = [
        GapRow(
            number=record.number,
            arm=record.baseline or FOUND,
            seed=record.seed,
            bits=record.metrics[bits],
            gap=record.metrics[GAP],
            loss_gap=_loss_gap(record),
            accuracy=record.metrics.get("validation_accuracy"),
        )
        for record in records
        if record.state == "complete" and bits in record.metrics and GAP in record.metrics
    ]
    arms = list(dict.fromkeys(row.arm for row in rows))
    return sorted(rows, key=lambda row: (arms.index(row.arm), row.bits, row.number, row.seed))


def gap_correlations(rows: Sequence[GapRow]) -> dict[str, Correlation]:
    """Arm -> the rank correlation of gaps with bits; negative where fewer bits go with larger gaps."""
    return {
        arm: rank_correlation([row.bits for row in own], [row.gap for row in own])
        for arm in dict.fromkeys(row.arm for row in rows)
        if (own := [row for row in rows if row.arm == arm])
    }


def _loss_gap(record: TrialRecord) -> float | None:
    validation, train = record.metrics.get("validation_loss"), record.metrics.get("train_loss")
    return None if validation is None or train is None else validation - train
