"""Every figure of a run of kind `compare` or `grid`, by name; matplotlib is loaded when the first is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from precsearch.report.figures.arms.bits import bits_over_seeds
from precsearch.report.figures.arms.differences import error_differences, gap_differences, nll_differences
from precsearch.report.figures.arms.disturbed import bit_flips, corruptions, over_epsilon
from precsearch.report.figures.arms.grid_error import error_by_size
from precsearch.report.figures.arms.grid_gap import gap_by_size
from precsearch.report.figures.arms.grid_layers import layer_alone
from precsearch.report.figures.arms.grid_ratio import ratio_by_size
from precsearch.report.figures.arms.grid_shape import shape
from precsearch.report.figures.arms.metrics import brier, calibration, error, gap, loss_gap, nll
from precsearch.report.figures.arms.reliability import reliability
from precsearch.report.figures.arms.scatter import gap_against_nll
from precsearch.report.figures.arms.tuning import tuned_settings

if TYPE_CHECKING:
    from precsearch.report.arms.reading import ArmsData
    from precsearch.report.figures.base import Figure

ArmsFigure = Callable[[Sequence["ArmsData"]], "Figure | None"]

# name -> what draws it from the runs of a report, all of one kind; None where they have no data for it
COMPARE_FIGURES: dict[str, ArmsFigure] = {
    "arms-error": error,
    "arms-gap": gap,
    "arms-nll": nll,
    "arms-loss-gap": loss_gap,
    "gap-nll": gap_against_nll,
    "arms-ece": calibration,
    "arms-brier": brier,
    "arms-reliability": reliability,
    "differences-error": error_differences,
    "differences-gap": gap_differences,
    "differences-nll": nll_differences,
    "bits-over-seeds": bits_over_seeds,
    "arms-epsilon": over_epsilon,
    "arms-corruptions": corruptions,
    "arms-bit-flips": bit_flips,
    "tuning": tuned_settings,
}

GRID_FIGURES: dict[str, ArmsFigure] = {
    "grid-error": error_by_size,
    "grid-gap": gap_by_size,
    "grid-shape": shape,
    "grid-ratio": ratio_by_size,
    "grid-layers": layer_alone,
}

_BY_KIND: Final = {"compare": COMPARE_FIGURES, "grid": GRID_FIGURES}


def draw_arms(runs: Sequence[ArmsData]) -> list[Figure]:
    """Every figure that the runs have data for, in the order of the report.

    Args:
        runs: at least one, all of one kind; labels differ.
    """
    drawn = (make(runs) for make in _BY_KIND[runs[0].kind].values())
    return [figure for figure in drawn if figure is not None]
