"""How often the intervals of `precsearch.analysis` hold what is true, on simulated studies.

`python -m benchmarks.coverage` prints the tables of `docs/statistics.md`; a few minutes on one core.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from precsearch.analysis.correlation import FEWEST, rank_correlation
from precsearch.analysis.intervals import ENDS, LEVEL

Floats = NDArray[np.float64]

SIZES: Final = (3, 5, 7, 10, 20, 30)
STUDIES: Final = 4000
_CHUNK: Final = 500
_IMAGES, _TRUE, _SPREAD = 360, 0.975, 0.004  # validation images of digits, and the networks trained on them


def normal(generator: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Differences of losses of many images."""
    return generator.normal(size=shape)


def skewed(generator: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Trainings that sometimes go wrong: exponential, its mean taken off."""
    return generator.exponential(size=shape) - 1


def counted(generator: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Differences of accuracies on 360 images, in steps of 1/360: few values, many of them equal."""
    skill = generator.normal(_TRUE, _SPREAD, (2, *shape)).clip(0, 1)
    right = generator.binomial(_IMAGES, skill)
    return (right[0] - right[1]) / _IMAGES


SAMPLES: Final[Mapping[str, Callable[[np.random.Generator, tuple[int, int]], Floats]]] = {
    "normal": normal,
    "skewed": skewed,
    "counted on 360 images": counted,
}


def covered(samples: str, n: int, method: str, studies: int = STUDIES, seed: int = 0) -> float:
    """The fraction of intervals that hold the true mean, which is 0; samples that are all equal have none."""
    values = SAMPLES[samples](np.random.default_rng((seed, n)), (studies, n))
    values = values[np.ptp(values, axis=1) > 0]
    held = 0
    for start in range(0, len(values), _CHUNK):
        low, high = ENDS[method](values[start : start + _CHUNK], LEVEL, start)
        held += int(((low <= 0) & (high >= 0)).sum())
    return held / len(values)


def correlated(rho: float, n: int, studies: int = STUDIES, seed: int = 0) -> float:
    """The fraction of intervals that hold the rank correlation of normal pairs, which is 6 asin(rho / 2) / pi."""
    pairs = np.random.default_rng((seed, n)).multivariate_normal([0, 0], [[1, rho], [rho, 1]], (studies, n))
    true, held = 6 * np.arcsin(rho / 2) / np.pi, 0
    for each in pairs:
        found = rank_correlation(each[:, 0], each[:, 1])
        held += found.low is None or found.high is None or found.low <= true <= found.high
    return held / studies


def main() -> None:
    """Print both tables."""
    print("| samples | interval | " + " | ".join(f"n = {n}" for n in SIZES) + " |")
    print("| --- | --- |" + " --- |" * len(SIZES))
    for samples in SAMPLES:
        for method in ENDS:
            cells = " | ".join(f"{100 * covered(samples, n, method):.1f}" for n in SIZES)
            print(f"| {samples} | {method} | {cells} |", flush=True)
    print("\n| rank correlation | " + " | ".join(f"n = {n}" for n in SIZES if n >= FEWEST) + " |")
    for rho in (0.0, 0.5, 0.9):
        cells = " | ".join(f"{100 * correlated(rho, n, STUDIES // 2):.1f}" for n in SIZES if n >= FEWEST)
        print(f"| {rho:g} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
