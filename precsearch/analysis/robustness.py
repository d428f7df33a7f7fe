"""Accuracy under attacks, corruptions and flipped bits, as rows by network: what the figures draw and the tables list.

A network that was not trained to withstand attacks is never called robust here; rows under an attack that a masking
check speaks against carry the check's sentence as their caveat.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from precsearch.analysis.intervals import Interval, mean_interval
from precsearch.analysis.verdicts import FOUND
from precsearch.measured import Evaluation
from precsearch.results import TrialRecord

OVERALL = "mean"  # in place of a corruption's name: the mean over all of them
Measured = Iterable[tuple[TrialRecord, Evaluation | None]]


@dataclass(frozen=True)
class Of:
    """Which network a row is of.

    Attributes:
        number: of its trial.
        arm: ``found``, or the kind of baseline.
        seed: it was trained with.
        bits: its mean bits; None where they are not known, as for the float network.
        split: of the images.
    """

    number: int
    arm: str
    seed: int
    bits: float | None
    split: str


@dataclass(frozen=True)
class AttackRow:
    """Accuracy under one attack at one size.

    Attributes:
        of: the network.
        attack: ``fgsm``, ``pgd``.
        norm: ``linf``, ``l2``.
        epsilon: largest norm of the perturbation; 0 is no attack.
        accuracy: fraction still right.
        caveat: why the row may be too good to be true; empty where no masking check failed.
    """

    of: Of
    attack: str
    norm: str
    epsilon: float
    accuracy: float
    caveat: str


@dataclass(frozen=True)
class CorruptionRow:
    """Accuracy on corrupted images.

    Attributes:
        of: the network.
        corruption: its name; ``mean`` for the mean over all of them.
        severity: from 1; None for the mean over severities.
        accuracy: fraction right.
    """

    of: Of
    corruption: str
    severity: int | None
    accuracy: float


@dataclass(frozen=True)
class FlipRow:
    """Accuracy with flipped bits in the weights.

    Attributes:
        of: the network.
        rate: probability that a bit is flipped.
        accuracy: mean over independent draws of flips, with its interval.
        worst: the lowest of them.
        best: the highest.
    """

    of: Of
    rate: float
    accuracy: Interval
    worst: float
    best: float


def attack_rows(measured: Measured) -> list[AttackRow]:
    """One row for each network, attack, norm and epsilon."""
    return [
        AttackRow(of, curve.attack, curve.norm, epsilon, accuracy, caveat(found))
        for of, found in _networks(measured)
        for curve in found.attacks
        for epsilon, accuracy in zip(curve.epsilons, curve.accuracies, strict=True)
    ]


def corruption_rows(measured: Measured) -> list[CorruptionRow]:
    """For each network every corruption at every severity, the mean over severities, and the mean over all."""
    rows = []
    for of, found in _networks(measured):
        means = []
        for each in found.corruptions:
            rows += [CorruptionRow(of, each.corruption, i, a) for i, a in enumerate(each.accuracies, 1)]
            means.append(float(np.mean(each.accuracies)))
            rows.append(CorruptionRow(of, each.corruption, None, means[-1]))
        if means:
            rows.append(CorruptionRow(of, OVERALL, None, float(np.mean(means))))
    return rows


def flip_rows(measured: Measured) -> list[FlipRow]:
    """One row for each network and rate."""
    return [
        FlipRow(of, each.rate, mean_interval(each.accuracies, "t"), min(each.accuracies), max(each.accuracies))
        for of, found in _networks(measured)
        for each in found.bit_flips
    ]


def caveat(evaluation: Evaluation) -> str:
    """The sentences of the masking checks that failed; empty where none did."""
    return " ".join(check.told for check in evaluation.masking if not check.passed)


def _networks(measured: Measured) -> Iterator[tuple[Of, Evaluation]]:
    for record, found in measured:
        if found is not None:
            bits = record.metrics.get("average_bits")
            yield Of(record.number, record.baseline or FOUND, record.seed, bits, found.split), found
