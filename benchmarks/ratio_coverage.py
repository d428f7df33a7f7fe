"""How often the interval of an effective compression ratio holds the true one, on simulated grids.

`python -m benchmarks.ratio_coverage` prints the table of `docs/compression.md`; a few minutes on one core.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from precsearch.analysis.compression import compression_rows, equal_size
from precsearch.analysis.grid import Grid, GridNetwork

SEEDS: Final = (3, 4, 5, 7, 10, 20)
STUDIES: Final = 1000
_WIDTHS: Final = (0.25, 0.5, 1.0, 2.0, 4.0)
_SIZES: Final = tuple(50e3 * width**1.5 for width in _WIDTHS)  # bytes
_FLOATS: Final = tuple(0.012 + 0.02 * width**-0.8 for width in _WIDTHS)  # true errors
_NOISE: Final = 0.0012  # of a seed: as of networks on MNIST
_CELL, _ERROR, _BITS = 3, 0.0245, 2  # one retrained network, and its true error


def covered(n: int, studies: int = STUDIES, seed: int = 0) -> float:
    """The fraction of intervals over `n` seeds that hold the true ratio; an open end holds all beyond it."""
    size = _SIZES[_CELL] * _BITS / 32
    true = equal_size(_SIZES, np.array(_FLOATS), _ERROR)[0] / size
    generator, held = np.random.default_rng((seed, n)), 0
    for _ in range(studies):
        floats = (_network(cell, None, _SIZES[cell], _FLOATS[cell], n, generator) for cell, _ in enumerate(_WIDTHS))
        grid = Grid(("model.width",), (*floats, _network(_CELL, _BITS, size, _ERROR, n, generator)))
        (row,) = compression_rows(grid)
        low, high = row.ratio.low, row.ratio.high
        held += (low is None or low <= true) and (high is None or true <= high)
    return held / studies


def _network(
    cell: int, bits: int | None, size: float, error: float, n: int, generator: np.random.Generator
) -> GridNetwork:
    errors = dict(enumerate(error + _NOISE * generator.normal(size=n)))
    arm = "float" if bits is None else "retrained"
    return GridNetwork(cell, {"model.width": _WIDTHS[cell]}, arm, bits, None, size, errors)


def main() -> None:
    """Print the table."""
    print("| seeds | " + " | ".join(map(str, SEEDS)) + " |")
    print("| --- |" + " --- |" * len(SEEDS))
    print("| true ratio inside, % | " + " | ".join(f"{100 * covered(n):.1f}" for n in SEEDS) + " |")


if __name__ == "__main__":
    main()
