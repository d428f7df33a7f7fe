"""What a number of trainings can show, and what the best of many trials owes to luck."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Final, Literal

Design = Literal["paired", "two-sample"]

POWER: Final = 0.8
# design -> runs an arm -> (degrees of freedom, factor from a standardized difference to the noncentrality)
DESIGNS: Final[Mapping[str, Callable[[int], tuple[int, float]]]] = {
    "paired": lambda n: (n - 1, math.sqrt(n)),
    "two-sample": lambda n: (2 * n - 2, math.sqrt(n / 2)),
}


def power(difference: float, sd: float, n: int, design: Design = "two-sample", alpha: float = 0.05) -> float:
    """The probability that a two-sided t test shows a true `difference`.

    Args:
        difference: in the unit of `sd`.
        sd: of the runs of one arm (``two-sample``), or of the differences of pairs (``paired``); above 0.
        n: runs an arm, or pairs; at least 2.
        design: ``paired`` or ``two-sample``.
        alpha: probability to show a difference that is not there.
    """
    from scipy import stats

    _check(sd, n)
    freedom, factor = DESIGNS[design](n)
    critical = float(stats.t.isf(alpha / 2, freedom))
    shift = abs(difference) / sd * factor
    # the lower tail by symmetry: scipy's `cdf(-critical, freedom, shift)` is NaN for large shifts
    return float(stats.nct.sf(critical, freedom, shift) + stats.nct.sf(critical, freedom, -shift))


def detectable(sd: float, n: int, design: Design = "two-sample", alpha: float = 0.05, wanted: float = POWER) -> float:
    """The smallest true difference that is shown with probability `wanted`; arguments as of `power`."""
    _check(sd, n)
    return sd * _standardized(n, design, alpha, wanted)


@cache  # a report asks for a few n, many times
def _standardized(n: int, design: Design, alpha: float, wanted: float) -> float:
    """`detectable` in standard deviations."""
    from scipy import optimize

    high = 1.0
    while power(high, 1.0, n, design, alpha) < wanted:
        high *= 2
    return float(optimize.brentq(lambda gap: power(gap, 1.0, n, design, alpha) - wanted, 0.0, high, xtol=1e-12 * high))


def runs_needed(
    difference: float, sd: float, design: Design = "two-sample", alpha: float = 0.05, wanted: float = POWER
) -> int:
    """The fewest runs an arm (or pairs) that show a true `difference` with probability `wanted`.

    Raises:
        ValueError: when `difference` is 0, which no number of runs shows.
    """
    if difference == 0:
        raise ValueError("`difference != 0` must hold: no number of runs shows that, but got 0")
    high = 2
    while power(difference, sd, high, design, alpha) < wanted:
        high *= 2
    low = max(2, high // 2)
    while low < high:
        middle = (low + high) // 2
        if power(difference, sd, middle, design, alpha) < wanted:
            low = middle + 1
        else:
            high = middle
    return high


def luck(trials: int) -> float:
    """How far the best of `trials` equal ones lies above their mean, in standard deviations: 1.87 for 20.

    The expected largest of so many independent normal draws: what choosing a winner gains where there is nothing to
    choose.
    """
    from scipy import integrate, stats

    if trials < 1:
        raise ValueError(f"`trials >= 1` must hold, but got {trials}")
    normal = stats.norm

    def share(x: float) -> float:
        return float(x * trials * normal.pdf(x) * normal.cdf(x) ** (trials - 1))

    return float(integrate.quad(share, -10.0, 10.0, points=(0.0, 2.0, 4.0))[0])


def _check(sd: float, n: int) -> None:
    if not sd > 0 or n < 2:  # noqa: PLR2004 -- a spread needs two
        raise ValueError(f"`sd > 0` and `n >= 2` must hold, but got sd={sd} and n={n}")
