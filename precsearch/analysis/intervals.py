"""Means with intervals that hold the true mean 95 times in a hundred; how well they do is in `docs/statistics.md`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Samples = Sequence[float] | Floats

LEVEL: Final = 0.95
RESAMPLES: Final = 9999
_BATCH: Final = 500  # resamples in memory at once
_SAME: Final = 1e-9  # values that differ by so little of their size are equal: sums of floats round differently


@dataclass(frozen=True)
class Interval:
    """A mean and where the true one lies, 95 times in a hundred.

    Attributes:
        mean: of the samples, in their unit.
        low: lower end; None where the samples say nothing about their spread (one alone, or all equal).
        high: upper end, likewise.
        n: number of samples.
        method: ``t``, ``bca``, or ``none`` where there are no ends.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    method: str

    def holds(self, value: float) -> bool:
        """Whether `value` lies within; an interval without ends excludes nothing."""
        return self.low is None or self.high is None or self.low <= value <= self.high


def mean_interval(samples: Samples, method: str = "t", level: float = LEVEL, seed: int = 0) -> Interval:
    """The mean of `samples` with an interval.

    Args:
        samples: one a training, independent of each other; at least one.
        method: ``t`` (Student's, which covers at any number of samples), or ``bca`` (bootstrap with 9,999 resamples,
            for 30 samples or more: with fewer it covers too little).
        level: of the interval.
        seed: of the resamples.

    Returns:
        An interval without ends for one sample, or for samples that are all equal.

    Raises:
        ValueError: when there is no sample, one is not finite, or the method is unknown.
    """
    if method not in ENDS:
        raise ValueError(f"one of {', '.join(ENDS)} must be given as method, but got {method!r}")
    values = checked(samples)
    mean, n = float(values.mean()), len(values)
    if n == 1 or equal(values):
        return Interval(mean, None, None, n, "none")
    low, high = ENDS[method](values, level, seed)
    return Interval(mean, float(low), float(high), n, method)


def checked(samples: Samples) -> Floats:
    """`samples` as an array.

    Raises:
        ValueError: when there is none, or one is not finite.
    """
    values = np.asarray(samples, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"a list of at least one finite number must be given, but got {samples!r}")
    return values


def equal(values: Floats) -> bool:
    """Whether they are all the same, so that they say nothing about their spread."""
    return bool(np.ptp(values) <= _SAME * np.abs(values).max())


def _t(values: Floats, level: float, _seed: int) -> tuple[Floats, Floats]:
    from scipy import stats

    n, mean = values.shape[-1], values.mean(axis=-1)
    half = stats.t.ppf((1 + level) / 2, n - 1) * values.std(axis=-1, ddof=1) / np.sqrt(n)
    return mean - half, mean + half


def _bca(values: Floats, level: float, seed: int) -> tuple[Floats, Floats]:
    from scipy import stats

    ends = stats.bootstrap(
        (values,),
        np.mean,
        axis=-1,
        n_resamples=RESAMPLES,
        batch=_BATCH,
        confidence_level=level,
        method="BCa",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return np.asarray(ends.low), np.asarray(ends.high)


# name -> ([..., n] samples, level, seed) -> [...] low and high ends; none of the samples all equal
ENDS: Final[Mapping[str, Callable[[Floats, float, int], tuple[Floats, Floats]]]] = {"t": _t, "bca": _bca}
