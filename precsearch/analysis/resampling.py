"""The bootstrap over seeds, whole: with few seeds every resample is counted instead of some being drawn."""

from __future__ import annotations

import math
from itertools import combinations_with_replacement
from typing import Final

import numpy as np

from precsearch.analysis.intervals import LEVEL, Floats

EXACT_UP_TO: Final = 7  # seeds: 1,716 resamples
DRAWN: Final = 2000


def seed_resamples(n: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Every resample of `n` seeds up to 7 seeds, above that 2,000 drawn ones.

    Args:
        n: number of seeds, at least 1.
        seed: of what is drawn.

    Returns:
        The weight of each seed in the mean of each resample, [resamples, n]; and each resample's probability.
    """
    if n < 1:
        raise ValueError(f"`n >= 1` must hold, but got {n}")
    if n > EXACT_UP_TO:
        drawn = np.random.default_rng(seed).integers(n, size=(DRAWN, n))
        counts = np.stack([np.bincount(row, minlength=n) for row in drawn])
        return counts / n, np.full(DRAWN, 1 / DRAWN)
    resamples = np.array(list(combinations_with_replacement(range(n), n)))
    counts = np.stack([np.bincount(row, minlength=n) for row in resamples])
    ways = [math.factorial(n) / math.prod(map(math.factorial, row)) for row in counts.tolist()]
    return counts / n, np.array(ways) / n**n


def resampled_means(samples: Floats, weights: Floats) -> Floats:
    """Means of each row of `samples` in each resample; NaN where the resample has none of its samples.

    Args:
        samples: [rows, n]; NaN where a seed has none.
        weights: [resamples, n], of `seed_resamples`.

    Returns:
        [resamples, rows].
    """
    there = np.isfinite(samples)
    total = weights @ there.T.astype(np.float64)
    summed = weights @ np.where(there, samples, 0.0).T
    return np.divide(summed, total, out=np.full_like(summed, np.nan), where=total > 0)


def percentile_ends(values: Floats, probabilities: Floats, n: int, level: float = LEVEL) -> tuple[float, float]:
    """The expanded percentile interval of a bootstrap distribution.

    Plain percentiles are too narrow with few samples: they lack the factor sqrt(n / (n - 1)) and Student's tails. So
    the tails cut off are Phi(-sqrt(n / (n - 1)) t) instead of (1 - level) / 2.

    Args:
        values: one a resample; infinite where all that is known is that it lies beyond.
        probabilities: of the resamples.
        n: samples that were resampled, at least 2.
        level: of the interval.

    Reference: T. Hesterberg, *What Teachers Should Know About the Bootstrap*, 2015, section 4 ("expanded percentile").
    """
    from scipy import stats

    tail = float(stats.norm.cdf(-math.sqrt(n / (n - 1)) * stats.t.ppf((1 + level) / 2, n - 1)))
    order = np.argsort(values, kind="stable")
    ordered, mass = values[order], probabilities[order] / probabilities.sum()
    low = ordered[np.searchsorted(np.cumsum(mass), tail)]
    high = ordered[::-1][np.searchsorted(np.cumsum(mass[::-1]), tail)]
    return float(low), float(high)


def student_ends(
    values: Floats, probabilities: Floats, n: int, center: float, level: float = LEVEL
) -> tuple[float, float]:
    """Student's interval with the standard error of a bootstrap distribution, for samples too few for percentiles.

    No percentile lies beyond the resamples: of three samples they hold the mean three times in four at best.

    Args:
        values: one a resample; where one is infinite so is that end.
        probabilities: of the resamples.
        n: samples that were resampled, at least 2.
        center: the estimate.
        level: of the interval.
    """
    from scipy import stats

    finite = np.isfinite(values)
    mass = probabilities[finite] / probabilities[finite].sum()
    mean = mass @ values[finite]
    error = math.sqrt(float(mass @ (values[finite] - mean) ** 2) * n / (n - 1))
    half = float(stats.t.ppf((1 + level) / 2, n - 1)) * error
    low = -math.inf if (values == -math.inf).any() else center - half
    high = math.inf if (values == math.inf).any() else center + half
    return low, high
