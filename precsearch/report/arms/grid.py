"""What the pages and figures of a run of kind `grid` are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from precsearch.analysis.grid import Grid, grid_of
from precsearch.analysis.grid_answers import grid_answers

if TYPE_CHECKING:
    from precsearch.analysis.answers import Answer
    from precsearch.report.arms.reading import ArmsData


def grid_data(run: ArmsData) -> Grid:
    """The networks of a run."""
    return grid_of((training.record for training in run.complete), run.points)


def grid_verdicts(run: ArmsData) -> list[Answer]:
    """The answers of a run, by question, then by arm and bits."""
    return grid_answers(grid_data(run))
