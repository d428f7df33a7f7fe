"""Which trials are worth keeping: pure functions over trial records, for the study and for who reads its run.

Selection sees validation metrics and costs only: the settings refuse objectives and constraints on
``test_*``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from precsearch.experiment.outer import ConstraintSettings
from precsearch.results import TrialRecord

Limit = float | Mapping[str, float]


class Objective(Protocol):
    """A metric and where it should go, such as `ObjectiveSettings`."""

    @property
    def metric(self) -> str:
        """Its name."""

    @property
    def direction(self) -> str:
        """``minimize`` or ``maximize``."""


_TIE = 1e-12  # distances from the plane that differ by rounding only are equal


def feasible(record: TrialRecord, constraints: Sequence[ConstraintSettings] = ()) -> bool:
    """Whether a trial is complete and keeps every constraint; an absent metric keeps none."""
    return record.state == "complete" and all(_kept(record, constraint) for constraint in constraints)


def front(
    records: Sequence[TrialRecord],
    objectives: Sequence[Objective],
    constraints: Sequence[ConstraintSettings] = (),
) -> list[TrialRecord]:
    """The feasible trials that no other feasible trial dominates, by number.

    Of trials that are exactly equal in every objective the one with the lowest number stays: they are one
    point of the front, and training baselines beside each of them would say nothing more. With one objective
    the front is the best trial.
    """
    candidates = _candidates(records, objectives, constraints)
    if not candidates:
        return []
    values = _to_minimize(candidates, objectives)
    if len(objectives) == 1:
        return [candidates[int(np.argmin(values[:, 0]))]]
    import moocore  # type: ignore[import-untyped]

    kept = moocore.is_nondominated(values, keep_weakly=False)
    return [record for record, keep in zip(candidates, kept, strict=True) if keep]


class GrowingFront:
    """The front of trials that come one by one, at a cost that does not grow with their number.

    After every `add` its members are what `front` gives for all records added so far, in whatever order.

    Args:
        objectives: of the study.
        constraints: of the study.
    """

    def __init__(self, objectives: Sequence[Objective], constraints: Sequence[ConstraintSettings] = ()) -> None:
        self._objectives = objectives
        self._constraints = constraints
        self._members: list[TrialRecord] = []
        self._values = np.empty((0, len(objectives)))

    @property
    def members(self) -> list[TrialRecord]:
        """The front, by number."""
        return list(self._members)

    def add(self, record: TrialRecord) -> bool:
        """Take in one more trial; returns whether the front is another one now."""
        if not _candidates([record], self._objectives, self._constraints):
            return False
        value = _to_minimize([record], self._objectives)[0]
        earlier = np.array([member.number < record.number for member in self._members], dtype=bool)
        equal = (self._values == value).all(axis=1)
        if ((self._values <= value).all(axis=1) & (~equal | earlier)).any():
            return False
        stays = ~(self._values >= value).all(axis=1)
        kept = [member for member, stay in zip(self._members, stays, strict=True) if stay]
        at = sum(member.number < record.number for member in kept)
        self._members = [*kept[:at], record, *kept[at:]]
        self._values = np.insert(self._values[stays], at, value, axis=0)
        return True


def best(
    records: Sequence[TrialRecord],
    objectives: Sequence[Objective],
    constraints: Sequence[ConstraintSettings] = (),
) -> TrialRecord | None:
    """The trial to take: the best feasible of one objective, the knee of several; None if none is."""
    members = front(records, objectives, constraints)
    return knee(members, objectives) if members else None


def knee(members: Sequence[TrialRecord], objectives: Sequence[Objective]) -> TrialRecord:
    """The member of a front from which every further gain in one objective costs much in another.

    Every objective is scaled to 0 (best on the front) .. 1 (worst on the front); the knee lies farthest below
    the plane through the points that are worst in one objective and best in all others. With two objectives
    that is the line between the two ends of the front. An objective that does not vary is left out; ties go
    to the lower number.

    Raises:
        ValueError: when `members` is empty.
    """
    if not members:
        raise ValueError("the knee of a front with at least one member, but got none")
    ordered = sorted(members, key=lambda record: record.number)
    values = _to_minimize(ordered, objectives)
    low, high = values.min(axis=0), values.max(axis=0)
    varies = high > low
    scaled = (values[:, varies] - low[varies]) / (high[varies] - low[varies])
    # The plane is sum(x) = 1, the distance below it (1 - sum(x)) / sqrt(m): largest for the smallest sum.
    sums = scaled.sum(axis=1)
    return ordered[int(np.flatnonzero(sums <= sums.min() + _TIE)[0])]


def chosen(members: Sequence[TrialRecord], objectives: Sequence[Objective]) -> int | None:
    """The number of a front's `knee`; None where the front is empty."""
    return knee(members, objectives).number if members else None


def within_budget(
    records: Sequence[TrialRecord],
    limit: Limit,
    objectives: Sequence[Objective],
    constraints: Sequence[ConstraintSettings] = (),
) -> TrialRecord | None:
    """The feasible trial that is best in the first objective among those searched under at most `limit`.

    Args:
        records: trials of the study.
        limit: of the budget, one number or one for each target; a trial's limits all stay at or below it.
        objectives: of the study; the first decides.
        constraints: of the study.

    Returns:
        The trial with the lowest number among equals, or None where no trial had so small a limit.
    """
    allowed = [record for record in records if _under(record.limit, limit)]
    return best(allowed, objectives[:1], constraints)


def _kept(record: TrialRecord, constraint: ConstraintSettings) -> bool:
    value = record.metrics.get(constraint.metric)
    if value is None:
        return False
    above = constraint.min is None or value >= constraint.min
    return above and (constraint.max is None or value <= constraint.max)


def _candidates(
    records: Sequence[TrialRecord],
    objectives: Sequence[Objective],
    constraints: Sequence[ConstraintSettings],
) -> list[TrialRecord]:
    measured = (
        record
        for record in records
        if feasible(record, constraints) and all(o.metric in record.metrics for o in objectives)
    )
    return sorted(measured, key=lambda record: record.number)


def _to_minimize(records: Sequence[TrialRecord], objectives: Sequence[Objective]) -> NDArray[np.float64]:
    """Trials x objectives, turned so that smaller is better."""
    signs = [-1.0 if objective.direction == "maximize" else 1.0 for objective in objectives]
    rows = [[record.metrics[objective.metric] for objective in objectives] for record in records]
    values: NDArray[np.float64] = np.array(rows, dtype=np.float64) * np.array(signs)
    return values


def _under(asked: Limit | None, limit: Limit) -> bool:
    if asked is None:
        return False
    if isinstance(asked, Mapping):
        return all(
            value <= (limit.get(target, value) if isinstance(limit, Mapping) else limit)
            for target, value in asked.items()
        )
    return asked <= (min(limit.values()) if isinstance(limit, Mapping) else limit)
