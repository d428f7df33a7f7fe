"""A budget's limit: one number, or one for each target; fixed, or drawn from a range."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from precsearch.allocation import Target
from precsearch.errors import BudgetError

Limit = float | Mapping[Target, float]
Ends = Sequence[float]  # low, high
Range = Ends | Mapping[Target, Ends]

UNSAID: Final = math.nan
"""Stands for the limit of a budget that has a range and names none."""


def check_limit(limit: Limit, what: str) -> None:
    """Refuse what is no limit.

    Raises:
        BudgetError: when a limit is not positive, infinite, or missing.
    """
    for value in limit.values() if isinstance(limit, Mapping) else [limit]:
        if math.isnan(value):
            raise BudgetError(f"a positive, finite limit or a range must be given, but {what} has none; add `limit`")
        if not value > 0 or math.isinf(value):
            raise BudgetError(f"a positive, finite limit must hold, but got {value} for {what}")


def check_range(ends: Range, what: str) -> None:
    """Refuse what is no range.

    Raises:
        BudgetError: when one is not two positive, finite numbers, the lower one first.
    """
    if isinstance(ends, Mapping) and not ends:
        raise BudgetError(f"`range` must be [low, high], or that for each target, but got {ends!r} for {what}")
    for each in ends.values() if isinstance(ends, Mapping) else [ends]:
        if not (isinstance(each, Sequence) and len(each) == 2 and 0 < each[0] < each[1] < math.inf):  # noqa: PLR2004
            raise BudgetError(
                f"`range` must be [low, high] with 0 < low < high, or that for each target, but got {each!r} for {what}"
            )


def at(ends: Range, shares: Iterable[float]) -> Limit:
    """The limit at so large a part of the way from low to high, one part for each target that the range names."""
    if not isinstance(ends, Mapping):
        (share,) = shares
        return ends[0] + share * (ends[1] - ends[0])
    return {
        target: low + share * (high - low) for (target, (low, high)), share in zip(ends.items(), shares, strict=True)
    }


def count(ends: Range) -> int:
    """How many limits a range is for."""
    return len(ends) if isinstance(ends, Mapping) else 1


def along(ends: Range, share: float) -> Limit:
    """The limit at one part of the way for all targets: 0 the low end, 1 the high one, 0.5 the middle."""
    return at(ends, [share] * count(ends))


def asked(limit: Limit, ends: Range, what: str) -> Limit:
    """A limit that someone asks for, by target where the range is.

    Args:
        limit: one number, which then holds for every target, or one for each target of the range.
        ends: of the range.
        what: for messages.

    Raises:
        BudgetError: when it is not within the range.
    """
    if isinstance(ends, Mapping):
        wanted = dict(limit) if isinstance(limit, Mapping) else dict.fromkeys(ends, limit)
        if wanted.keys() == ends.keys():
            return {target: _inside(wanted[target], own, f"{what} of {target}s") for target, own in ends.items()}
    elif not isinstance(limit, Mapping):
        return _inside(limit, ends, what)
    raise BudgetError(f"the limit of {what} must name what its range names, {told(ends)}, but got {limit!r}")


def _inside(limit: float, ends: Ends, what: str) -> float:
    if not ends[0] <= limit <= ends[1]:
        raise BudgetError(
            f"a limit within the range {ends[0]:g} to {ends[1]:g} that {what} was searched over must be asked for, "
            f"but got {limit:g}; ask within it, or search a wider range"
        )
    return limit


def pairs(ends: Range) -> tuple[float, float] | dict[Target, tuple[float, float]]:
    """The range, in the shape that files have it."""
    if isinstance(ends, Mapping):
        return {target: (float(low), float(high)) for target, (low, high) in ends.items()}
    return float(ends[0]), float(ends[1])


def told(ends: Range) -> str:
    """``2 to 6``, or that for each target."""
    if isinstance(ends, Mapping):
        return ", ".join(f"{target} {low:g} to {high:g}" for target, (low, high) in ends.items())
    return f"{ends[0]:g} to {ends[1]:g}"
