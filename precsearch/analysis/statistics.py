"""Differences between paired trainings, with the tests that claims about them rest on: see `docs/statistics.md`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from precsearch.analysis.intervals import RESAMPLES, Interval, Samples, checked, equal, mean_interval
from precsearch.analysis.power import detectable

ALPHA: Final = 0.05
EXACT_UP_TO: Final = 14  # samples whose sign flips are all counted: 2^14
_ROUNDING: Final = 1e-12  # sums of the same differences in another order are the same


@dataclass(frozen=True)
class Comparison:
    """What paired trainings say of the difference between two arms, one of a family of comparisons.

    Attributes:
        name: of the comparison.
        difference: mean of the paired differences, first arm less second.
        p: two-sided, of the paired t test; of the sign flips where all differences are equal, which leaves the t test
            no spread; None with fewer than two pairs.
        p_holm: `p` by Holm over the family.
        p_signs: two-sided, of all sign flips (drawn ones from 15 pairs on); cannot fall below 2 / 2^n.
        margin: a difference up to which the arms count as equivalent; None where none was given.
        p_equivalent: of two one-sided paired t tests against `margin`, by Holm over the family; None without one.
        equivalent: whether `p_equivalent` is below 5 %; None without a margin, or where it cannot be tested.
        detectable: the smallest true difference that so many pairs, spread as these, had shown with 80 % probability
            as the hardest one of the family (at 5 % over its size); None without a spread.
        family: number of comparisons in the family that could be tested.
    """

    name: str
    difference: Interval
    p: float | None
    p_holm: float | None
    p_signs: float | None
    margin: float | None
    p_equivalent: float | None
    equivalent: bool | None
    detectable: float | None
    family: int


def compare(
    differences: Mapping[str, Samples], margin: float | None = None, method: str = "t", seed: int = 0
) -> list[Comparison]:
    """Compare arms by paired differences, all of them as one family.

    Args:
        differences: name -> first arm less second, one a pair; at least one each.
        margin: largest difference, either way, that counts as none; above 0.
        method: of the intervals, as `mean_interval` takes it.
        seed: of what is drawn.

    Raises:
        ValueError: as `mean_interval`, or when the margin is not above 0.
    """
    if margin is not None and not margin > 0:
        raise ValueError(f"`margin > 0` must hold, but got {margin}")
    values = {name: checked(samples) for name, samples in differences.items()}
    p = {name: paired_p(each, seed) for name, each in values.items()}
    family = sum(each is not None for each in p.values())
    p_holm = _holm_by_name(p)
    p_equivalent = _holm_by_name({name: _tost_p(each, margin) for name, each in values.items()})
    found = []
    for name, each in values.items():
        same = p_equivalent[name]
        found.append(
            Comparison(
                name=name,
                difference=mean_interval(each, method, seed=seed),
                p=p[name],
                p_holm=p_holm[name],
                p_signs=sign_flip_p(each, seed),
                margin=margin,
                p_equivalent=same,
                equivalent=None if same is None else same < ALPHA,
                detectable=_detectable(each, family),
                family=family,
            )
        )
    return found


def paired_p(differences: Samples, seed: int = 0) -> float | None:
    """Two-sided p of the paired t test, as `Comparison.p` says."""
    from scipy import stats

    values = checked(differences)
    if len(values) == 1:
        return None
    if equal(values):
        return sign_flip_p(values, seed)
    return float(stats.ttest_1samp(values, 0.0).pvalue)


def sign_flip_p(differences: Samples, seed: int = 0) -> float | None:
    """Two-sided p of flipping the sign of each difference: how often a mean is as far from 0 as theirs.

    Exact up to 14 differences; above, 9,999 flips are drawn. None for a single one.
    """
    values = checked(differences)
    n = len(values)
    if n == 1:
        return None
    if not values.any():
        return 1.0
    exact = n <= EXACT_UP_TO
    flipped = (_all_signs(n) if exact else _drawn_signs(n, seed)) @ values
    # by the size of what is summed: where the sum itself is nearly 0, a part of it would not cover its own rounding
    far = int((np.abs(flipped) >= abs(values.sum()) - _ROUNDING * np.abs(values).sum()).sum())
    # of drawn flips the differences as they are count as one more: p cannot be 0
    return far / len(flipped) if exact else (far + 1) / (len(flipped) + 1)


@cache  # the same for every comparison of so many pairs
def _all_signs(n: int) -> NDArray[np.float64]:
    """All 2^n rows of n signs."""
    bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    return np.where(bits, -1.0, 1.0)


@lru_cache(maxsize=8)
def _drawn_signs(n: int, seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).choice((-1.0, 1.0), (RESAMPLES, n))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's correction of the p values of one family, in the order given.

    Reference: S. Holm, *A simple sequentially rejective multiple test procedure*, 1979.
    """
    corrected, so_far = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        so_far = max(so_far, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = so_far
    return corrected


def equivalence_p(differences: Samples, margin: float) -> float | None:
    """The larger p of two one-sided paired t tests: of differences below `-margin`, and above `margin`.

    None for one difference, or for differences that are all equal.

    Reference: D. Schuirmann, *A comparison of the two one-sided tests procedure and the power approach*, 1987.
    """
    from scipy import stats

    values = checked(differences)
    if len(values) == 1 or equal(values):
        return None
    above = stats.ttest_1samp(values, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(values, margin, alternative="less").pvalue
    return float(max(above, below))


def _detectable(values: NDArray[np.float64], family: int) -> float | None:
    if len(values) == 1 or equal(values):
        return None
    return detectable(float(values.std(ddof=1)), len(values), "paired", ALPHA / family)


def _tost_p(values: NDArray[np.float64], margin: float | None) -> float | None:
    return None if margin is None else equivalence_p(values, margin)


def _holm_by_name(p: Mapping[str, float | None]) -> dict[str, float | None]:
    """Holm over what could be tested."""
    tested = {name: each for name, each in p.items() if each is not None}
    corrected = dict(zip(tested, holm(list(tested.values())), strict=True))
    return {name: corrected.get(name) for name in p}
