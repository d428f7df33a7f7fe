"""Rank correlation with an interval: whether one figure of many trainings goes with another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from precsearch.analysis.intervals import LEVEL

FEWEST: Final = 10  # pairs from which on the interval covers


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation.

    Attributes:
        value: -1 to 1; None where one side does not vary, or with fewer than three pairs.
        low: lower end of the 95 % interval; None with fewer than ten pairs, or at a value of -1 or 1.
        high: upper end, likewise.
        n: pairs.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int


def rank_correlation(x: Sequence[float], y: Sequence[float], level: float = LEVEL) -> Correlation:
    """Spearman's correlation of pairs that are independent of each other.

    The interval is Fisher's z with the variance (1 + r^2 / 2) / (n - 3).

    Reference: D. Bonett, T. Wright, *Sample size requirements for estimating Pearson, Kendall and Spearman
    correlations*, 2000.

    Raises:
        ValueError: when `x` and `y` differ in length.
    """
    if len(x) != len(y):
        raise ValueError(f"as many x as y must be given, but got {len(x)} and {len(y)}")
    n = len(x)
    if n < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:  # noqa: PLR2004 -- two ranks always agree or disagree
        return Correlation(None, None, None, n)
    from scipy import stats

    value = float(stats.spearmanr(x, y).statistic)
    if n < FEWEST or abs(value) >= 1:
        return Correlation(value, None, None, n)
    half = float(stats.norm.ppf((1 + level) / 2)) * math.sqrt((1 + value**2 / 2) / (n - 3))
    z = math.atanh(value)
    return Correlation(value, math.tanh(z - half), math.tanh(z + half), n)
