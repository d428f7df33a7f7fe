"""Every figure of the report, by name; matplotlib is loaded when the first is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from precsearch.report.figures.alone import sensitivity
from precsearch.report.figures.attacks import attacked_by_bits, over_epsilon
from precsearch.report.figures.base import Figure, Table
from precsearch.report.figures.bits import bits_per_layer
from precsearch.report.figures.calibrated import reliability
from precsearch.report.figures.confirmed import paired_differences
from precsearch.report.figures.corrupted import bit_flips, corruption_bars
from precsearch.report.figures.front_bits import bits_over_front
from precsearch.report.figures.importances import importances
from precsearch.report.figures.parallel import parallel
from precsearch.report.figures.searching import entropy
from precsearch.report.figures.tradeoff import against_bitops, against_size, gap_by_bits

if TYPE_CHECKING:
    from precsearch.report.reading import RunData

__all__ = ["FIGURES", "Figure", "Table", "draw"]

# name -> what draws it from the runs of a report; None where they have no data for it
FIGURES: dict[str, Callable[[Sequence[RunData]], Figure | None]] = {
    "front-bitops": against_bitops,
    "front-size": against_size,
    "confirmed": paired_differences,
    "bits-per-layer": bits_per_layer,
    "bits-over-front": bits_over_front,
    "sensitivity": sensitivity,
    "entropy": entropy,
    "gap": gap_by_bits,
    "reliability": reliability,
    "epsilon": over_epsilon,
    "attack-bits": attacked_by_bits,
    "corruptions": corruption_bars,
    "bit-flips": bit_flips,
    "parallel": parallel,
    "importances": importances,
}


def draw(runs: Sequence[RunData]) -> list[Figure]:
    """Every figure that the runs have data for, in the order of the report.

    Args:
        runs: at least one; labels differ.
    """
    drawn = (make(runs) for make in FIGURES.values())
    return [figure for figure in drawn if figure is not None]
