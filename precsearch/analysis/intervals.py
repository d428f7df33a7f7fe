"""Means with intervals that hold the true mean 95 times in a hundred; how well they do is in `docs/statistics.md`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Samples = Sequence[float] | NDArray[np.float64]
Method = Literal["t", "bca", "none"]

LEVEL: Final = 0.95
RESAMPLES: Final = 9999
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
    method: Method

    def holds(self, value: float) -> bool:
        """Whether `value` lies within; an interval without ends excludes nothing."""
        return self.low is None or self.high is None or self.low <= value <= self.high


def mean_interval(samples: Samples, method: str = "auto", level: float = LEVEL, seed: int = 0) -> Interval:
    """The mean of `samples` with an interval.

    Args:
        samples: one a training, independent of each other; at least one.
        method: ``t`` (Student), ``bca`` (bootstrap, 9,999 resamples), or ``auto``, which is the one that
            `docs/statistics.md` measured to cover.
        level: of the interval.
        seed: of the resamples.

    Returns:
        An interval without ends for one sample, or for samples that are all equal.

    Raises:
        ValueError: when there is no sample, one is not finite, or the method is unknown.
    """
    if method not in INTERVALS:
        raise ValueError(f"one of {', '.join(INTERVALS)} must be given as method, but got {method!r}")
    values = checked(samples)
    mean, n = float(values.mean()), len(values)
    if n == 1 or equal(values):
        return Interval(mean, None, None, n, "none")
    return INTERVALS[method](values, level, seed)


def checked(samples: Samples) -> NDArray[np.float64]:
    """`samples` as an array.

    Raises:
        ValueError: when there is none, or one is not finite.
    """
    values = np.asarray(samples, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"a list of at least one finite number must be given, but got {samples!r}")
    return values


def equal(values: NDArray[np.float64]) -> bool:
    """Whether they are all the same, so that they say nothing about their spread."""
    return bool(np.ptp(values) <= _SAME * np.abs(values).max())


def _t(values: NDArray[np.float64], level: float, _seed: int) -> Interval:
    from scipy import stats

    n, mean = len(values), float(values.mean())
    half = float(stats.t.ppf((1 + level) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half, n, "t")


def _bca(values: NDArray[np.float64], level: float, seed: int) -> Interval:
    from scipy import stats

    generator = np.random.default_rng(seed)
    ends = stats.bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, confidence_level=level, method="BCa", random_state=generator
    ).confidence_interval
    return Interval(float(values.mean()), float(ends.low), float(ends.high), len(values), "bca")


# name -> (samples, level, seed) -> interval
INTERVALS: Final[Mapping[str, Callable[[NDArray[np.float64], float, int], Interval]]] = {
    "auto": _t,
    "t": _t,
    "bca": _bca,
}
