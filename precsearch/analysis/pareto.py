"""Fronts over any metrics, test metrics as well, and how much of the space below them they leave to others.

The study's own front, which decides what is trained and exported, is `precsearch.selection`: it sees no test metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from precsearch.analysis.measures import Direction, measure
from precsearch.results import TrialRecord
from precsearch.selection import Objective, front

Floats = NDArray[np.float64]

BEYOND: Final = 0.1  # how far past the worst point the reference lies, of the span: ends of a front count as well


@dataclass(frozen=True)
class Goal:
    """A metric and where it should go.

    Attributes:
        metric: any key of records' metrics.
        direction: ``minimize`` or ``maximize``.
    """

    metric: str
    direction: Direction

    @classmethod
    def of(cls, metric: str) -> Goal:
        """The metric with the direction that it is known to have."""
        return cls(metric, measure(metric).direction)


@dataclass(frozen=True)
class Box:
    """The space that hypervolumes are shares of, by goal, each in its metric's unit.

    Attributes:
        ideal: the best value of each goal among all points compared.
        reference: a tenth of the span past the worst.
    """

    ideal: tuple[float, ...]
    reference: tuple[float, ...]


def nondominated(records: Sequence[TrialRecord], goals: Sequence[Objective]) -> list[TrialRecord]:
    """The complete records that no other one dominates, by number; of equals the first."""
    return front(records, goals)


def values(records: Sequence[TrialRecord], goals: Sequence[Objective]) -> Floats:
    """Records x goals: their metrics, in the metrics' units.

    Raises:
        KeyError: when a record has not all of them.
    """
    rows = [[record.metrics[goal.metric] for goal in goals] for record in records]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(goals))


def box(points: Floats, goals: Sequence[Objective], beyond: float = BEYOND) -> Box:
    """The box around points x goals that makes volumes comparable: give it every point that is compared.

    Raises:
        ValueError: when there is no point.
    """
    if not len(points):
        raise ValueError("a box around at least one point, but got none")
    signs = _signs(goals)
    turned = points * signs
    best, worst = turned.min(axis=0), turned.max(axis=0)
    reference = worst + beyond * (worst - best)
    return Box(tuple((best * signs).tolist()), tuple((reference * signs).tolist()))


def hypervolume(points: Floats, goals: Sequence[Objective], within: Box) -> float:
    """The share of `within` that points x goals dominate, 0 to 1.

    Each goal is scaled so that 0 is the ideal and 1 the reference; points past the reference add nothing. A goal that
    does not vary within the box is left out; where none varies the share is 1.
    """
    ideal, reference = np.array(within.ideal), np.array(within.reference)
    varies = ideal != reference
    if not len(points):
        return 0.0
    if not varies.any():
        return 1.0
    scaled = (points[:, varies] - ideal[varies]) / (reference[varies] - ideal[varies])
    import moocore  # type: ignore[import-untyped]

    return float(moocore.hypervolume(scaled.clip(min=0.0), ref=np.ones(scaled.shape[1])))


def _signs(goals: Sequence[Objective]) -> Floats:
    return np.array([-1.0 if goal.direction == "maximize" else 1.0 for goal in goals])
