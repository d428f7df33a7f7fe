"""The effective compression ratio: how much larger a float network is that errs as little as a quantized one.

After Sung, Shin, Hwang, 2015: the size of the float network with the same error, read off the float curve of error
against size, over the size of the quantized network. Their text is not available to us; what we chose is ours:

- **Sizes** are those of the records: bytes of packed weights, scales and float parameters, floats counted with 32 bits.
- **The curve of a family** (cells that differ in one axis) is the isotonic regression of mean errors on size: the
  nearest curve that never rises. Seeds scatter; a larger network that came out a little worse is averaged with its
  neighbour, not believed.
- **The curve over all cells** is the running minimum: whoever buys a float network of some size takes the best shape of
  that size, so worse shapes do not count. It takes the luckiest cell as well, which errs on the side of small ratios.
- **Between sizes** it is straight in the logarithm of size. A spline would be smoother, and invent a shape between
  five points.
- **Where several sizes have the error**, the smallest counts.
- **Beyond its ends** nothing is extrapolated: a quantized network better than every float network has a ratio of *at
  least* that with the largest, one worse than every float network of *at most* that with the smallest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from precsearch.analysis.grid import Grid, GridNetwork
from precsearch.analysis.intervals import Floats, Interval, mean_interval
from precsearch.analysis.resampling import percentile_ends, resampled_means, seed_resamples, student_ends

Bound = Literal["exact", "at least", "at most"]
Rule = Literal["isotonic", "running-minimum"]
ALL_CELLS: Final = "all cells"
_SAME: Final = 1e-12  # errors that differ by less differ by rounding: they are counts over thousands of images
_FEW: Final = 5  # seeds; of fewer, percentiles of resamples cover too little
_SIGNS: Final[Mapping[Bound, str]] = {"exact": "", "at least": "≥ ", "at most": "≤ "}


@dataclass(frozen=True)
class Ratio:
    """An effective compression ratio, or a bound on it.

    Attributes:
        value: the ratio, or the bound.
        bound: ``exact``, or what the value is a bound of: ``at least``, ``at most``.
        low: lower end of the 95 % interval over seeds; None where it reaches below what the curve can tell, or where
            one seed tells nothing of it.
        high: upper end, likewise above.
        seeds: number of them.
    """

    value: float
    bound: Bound
    low: float | None
    high: float | None
    seeds: int

    @property
    def text(self) -> str:
        """``8.1``, ``≥ 12``."""
        return f"{_SIGNS[self.bound]}{ratio_text(self.value)}"

    @property
    def interval_text(self) -> str:
        """``7.2 to 9.0``, ``7.2 or more``, ``wider than the curve``; empty for one seed."""
        if self.low is None and self.high is None:
            return "wider than the curve" if self.seeds > 1 else ""
        if self.low is None or self.high is None:
            end, side = (self.low, "more") if self.high is None else (self.high, "less")
            return f"{ratio_text(end or 0.0)} or {side}"
        return f"{ratio_text(self.low)} to {ratio_text(self.high)}"


@dataclass(frozen=True)
class CompressionRow:
    """What one quantized network is worth.

    Attributes:
        network: quantized throughout.
        curve: ``all cells``, or what the family's cells share, such as ``depth 2``.
        error: of the network, over seeds.
        nominal: how much smaller it is than the float network of its own cell.
        ratio: the effective one.
    """

    network: GridNetwork
    curve: str
    error: Interval
    nominal: float
    ratio: Ratio

    @property
    def float_size(self) -> float:
        """Bytes of the float network with the same error, or the bound on it."""
        return self.ratio.value * self.network.size


def float_curve(errors: Sequence[float] | Floats, rule: Rule = "isotonic") -> Floats:
    """Mean errors of float networks made to fall with size.

    Args:
        errors: by size, the smallest network first.
        rule: ``isotonic`` for a family, ``running-minimum`` for the best of all shapes.
    """
    return RULES[rule](np.asarray(errors, dtype=np.float64))


def equal_size(sizes: Sequence[float] | Floats, curve: Floats, error: float) -> tuple[float, Bound]:
    """The size at which the curve falls to `error`, or the bound on it.

    Args:
        sizes: bytes, ascending.
        curve: error at each, never rising: of `float_curve`.
        error: share of images.

    Returns:
        Bytes; and whether that is the size, or a bound of it.
    """
    logs = np.log(np.asarray(sizes, dtype=np.float64))
    (found,) = _log_sizes(logs, curve[None], np.array([error]))
    if math.isinf(found):
        return (float(sizes[-1]), "at least") if found > 0 else (float(sizes[0]), "at most")
    return math.exp(found), "exact"


def compression_rows(grid: Grid, seed: int = 0) -> list[CompressionRow]:
    """The ratio of every network that is quantized throughout: on the curve of its family, and on that of all cells.

    The curve over all cells is left out where all are one family, a family of one cell as well. Intervals resample
    seeds, the same ones in every network, through the whole computation, the fit of the curve included.
    """
    families = grid.families()
    rows = []
    for text, cells in families.items():
        rows += _rows(grid, text or ALL_CELLS, cells, "isotonic", seed)
    if set(families) - {""}:
        rows += _rows(grid, ALL_CELLS, tuple(grid.floats), "running-minimum", seed)
    return rows


def fitted(grid: Grid, cells: Sequence[int], rule: Rule) -> tuple[list[float], Floats]:
    """Sizes and curve of the float networks of some cells, from the smallest to the largest."""
    floats = [network for cell, network in grid.floats.items() if cell in cells]
    return [network.size for network in floats], float_curve([network.error for network in floats], rule)


def ratio_text(value: float) -> str:
    """A ratio to two figures or more: ``0.85``, ``8.1``, ``14``, ``120``."""
    digits = 2 if value < 0.995 else 1 if value < 9.95 else 0  # noqa: PLR2004 -- 0.996 is 1.0, and 9.96 is 10
    return f"{value:.{digits}f}"


def _rows(grid: Grid, name: str, cells: Sequence[int], rule: Rule, seed: int) -> list[CompressionRow]:
    floats = [network for cell, network in grid.floats.items() if cell in cells]
    quantized = [network for network in grid.whole if network.cell in cells]
    seeds = sorted({index for network in (*floats, *quantized) for index in network.errors})
    weights, probabilities = seed_resamples(len(seeds), seed)
    samples = np.array([[each.errors.get(index, np.nan) for index in seeds] for each in (*floats, *quantized)])
    means = resampled_means(samples, weights)
    sizes, curve = fitted(grid, cells, rule)
    curves = means[:, : len(floats)].copy()
    whole = np.isfinite(curves).all(axis=1)
    for index in np.flatnonzero(whole & (np.diff(curves, axis=1) > 0).any(axis=1)):  # the others fall already
        curves[index] = float_curve(curves[index], rule)
    rows = []
    for network, errors in zip(quantized, means[:, len(floats) :].T, strict=True):
        kept = whole & np.isfinite(errors)
        logs = _log_sizes(np.log(sizes), curves[kept], errors[kept]) - math.log(network.size)
        value, bound = equal_size(sizes, curve, network.error)
        paired = min(len(network.errors), *(len(each.errors) for each in floats))
        beyond = sizes[0] / network.size, sizes[-1] / network.size
        known = value / network.size if bound == "exact" else None
        low, high = _ends(logs, probabilities[kept], paired, beyond, known)
        ratio = Ratio(value / network.size, bound, low, high, paired)
        nominal = grid.floats[network.cell].size / network.size
        rows.append(CompressionRow(network, name, mean_interval(list(network.errors.values())), nominal, ratio))
    return rows


def _ends(
    logs: Floats, probabilities: Floats, seeds: int, beyond: tuple[float, float], value: float | None
) -> tuple[float | None, float | None]:
    """Ends of the interval from the logarithms of resampled ratios; None where it leaves the curve.

    Args:
        logs: infinite beyond the curve.
        probabilities: of the resamples.
        seeds: that were resampled.
        beyond: ratios at the ends of the curve.
        value: the ratio; None where it is a bound.
    """
    if seeds < 2:  # noqa: PLR2004 -- one seed has no spread
        return None, None
    if seeds < _FEW and value is not None:
        low, high = student_ends(logs, probabilities, seeds, math.log(value))
    else:
        low, high = percentile_ends(logs, probabilities, seeds)
    first, last = (math.log(end) for end in beyond)
    return (
        None if low < first - _SAME else math.exp(min(low, last)),
        None if high > last + _SAME else math.exp(max(high, first)),
    )


def _log_sizes(logs: Floats, curves: Floats, errors: Floats) -> Floats:
    """Logarithm of the smallest size at which each curve has fallen to its error.

    Args:
        logs: [K] of the sizes, ascending.
        curves: [R, K], never rising.
        errors: [R].

    Returns:
        [R]; infinite where the curve ends above the error, minus infinity where it begins below.
    """
    reached = curves <= errors[:, None] + _SAME
    at = reached.argmax(axis=1)
    rows, before = np.arange(len(errors)), np.maximum(at - 1, 0)
    above, below = curves[rows, before], curves[rows, at]
    share = np.divide(above - errors, above - below, out=np.ones_like(errors), where=above > below)
    found = logs[before] + np.clip(share, 0.0, 1.0) * (logs[at] - logs[before])
    found = np.where((at == 0) & (curves[:, 0] < errors - _SAME), -np.inf, found)
    return np.asarray(np.where(reached.any(axis=1), found, np.inf))


def _isotonic(errors: Floats) -> Floats:
    from sklearn.isotonic import isotonic_regression

    return np.asarray(isotonic_regression(errors, increasing=False))


RULES: Final[Mapping[Rule, Callable[[Floats], Floats]]] = {
    "isotonic": _isotonic,
    "running-minimum": np.minimum.accumulate,
}
