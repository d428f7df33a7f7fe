"""Every figure of the report, by name; matplotlib is loaded when the first is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from precsearch.report.figures.base import Figure, Table

if TYPE_CHECKING:
    from precsearch.report.reading import RunData

__all__ = ["FIGURES", "Figure", "Table", "draw"]

# name -> what draws it from the runs of a report; None where they have no data for it
FIGURES: dict[str, Callable[[Sequence[RunData]], Figure | None]] = {}


def draw(runs: Sequence[RunData]) -> list[Figure]:
    """Every figure that the runs have data for, in the order of the report.

    Args:
        runs: at least one; labels differ.
    """
    drawn = (make(runs) for make in FIGURES.values())
    return [figure for figure in drawn if figure is not None]
