"""How much each layer minds each bit-width: what quantizing it alone costs a network, over several networks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from precsearch.analysis.intervals import Interval, mean_interval
from precsearch.measured import Evaluation


@dataclass(frozen=True)
class SensitivityRow:
    """One layer and target at one bit-width.

    Attributes:
        layer: its name.
        target: ``weight`` or ``activation``.
        bits: the only thing that is quantized, to so many.
        loss: how much the loss rises above that in float32, nats, mean over networks; negative where it falls.
        accuracy: fraction right then, mean over networks.
    """

    layer: str
    target: str
    bits: int
    loss: Interval
    accuracy: Interval


def sensitivity_rows(evaluations: Iterable[Evaluation | None]) -> list[SensitivityRow]:
    """One row for each layer, target and bit-width, as they come, over every network that was measured so."""
    losses: dict[tuple[str, str, int], list[float]] = {}
    accuracies: dict[tuple[str, str, int], list[float]] = {}
    for found in evaluations:
        if found is None or found.float_loss is None:
            continue
        for alone in found.alone:
            key = (alone.layer, alone.target, alone.bits)
            losses.setdefault(key, []).append(alone.loss - found.float_loss)
            accuracies.setdefault(key, []).append(alone.accuracy)
    return [SensitivityRow(*key, mean_interval(own), mean_interval(accuracies[key])) for key, own in losses.items()]
