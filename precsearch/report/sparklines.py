"""Curves in one line of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, TypeVar

_LEVELS: Final = "▁▂▃▄▅▆▇█"
CELLS: Final = 40
T = TypeVar("T")


def sparkline(values: Sequence[float | None], cells: int = CELLS) -> str:
    """A bar for each value from the least to the most, a blank where there is none.

    Args:
        values: in their order; None, infinity and NaN are none.
        cells: most characters; of more values each character is the mean of those it stands for.
    """
    means = [_mean(group) for group in grouped(values, cells)]
    known = [mean for mean in means if mean is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    middle = len(_LEVELS) // 2 - 1
    return "".join(
        " "
        if mean is None
        else _LEVELS[round((mean - low) / (high - low) * (len(_LEVELS) - 1)) if high > low else middle]
        for mean in means
    )


def grouped(values: Sequence[T], cells: int = CELLS) -> list[Sequence[T]]:
    """`values` in at most `cells` runs of almost equal length."""
    count = min(len(values), cells)
    edges = [len(values) * cell // count for cell in range(count + 1)] if count else []
    return [values[start:end] for start, end in pairwise(edges)]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return sum(known) / len(known) if known else None
