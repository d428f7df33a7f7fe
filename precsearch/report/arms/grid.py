"""What the networks of a `grid` come to, worked out once for the page, its figures and the terminal."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from precsearch.analysis.complexity import AxisEffect, GridGap, Vanishing, axis_effects, gaps, vanishings
from precsearch.analysis.compression import CompressionRow, compression_rows
from precsearch.analysis.grid import Grid, grid_of
from precsearch.analysis.grid_answers import axis_answers, layer_answers, vanishing_answers, worth_answers
from precsearch.analysis.layerwise import MostSensitive, layer_costs, most_sensitive

if TYPE_CHECKING:
    from precsearch.analysis.answers import Answer
    from precsearch.report.arms.reading import ArmsData


class Gridded:
    """What the networks of one run come to; each part is worked out when it is first asked for.

    Args:
        data: of kind `grid`.
    """

    def __init__(self, data: ArmsData) -> None:
        self._data = data

    @cached_property
    def grid(self) -> Grid:
        """Its networks."""
        return grid_of((training.record for training in self._data.complete), self._data.points)

    @property
    def margin(self) -> float:
        """The gap in test error, as a share of the images, below which there is none."""
        settings = self._data.experiment.grid
        assert settings is not None  # of kind `grid`
        return settings.margin

    @cached_property
    def gaps(self) -> list[GridGap]:
        """What quantizing every layer adds to the test error."""
        return gaps(self.grid, self.margin)

    @cached_property
    def vanishings(self) -> list[Vanishing]:
        """Whether that vanishes as networks grow."""
        return vanishings(self.gaps, self.margin)

    @cached_property
    def effects(self) -> list[AxisEffect]:
        """What shape does to it at equal size."""
        return axis_effects(self.grid, self.gaps)

    @cached_property
    def ratios(self) -> list[CompressionRow]:
        """Effective compression ratios, on every curve."""
        return compression_rows(self.grid)

    @cached_property
    def layers(self) -> list[GridGap]:
        """What quantizing one layer alone adds to the test error."""
        return layer_costs(self.grid)

    @cached_property
    def sensitive(self) -> list[MostSensitive]:
        """The layer that costs most, by cell, arm and bits."""
        return most_sensitive(self.layers)

    @cached_property
    def answers(self) -> list[Answer]:
        """The questions of a grid, by question, then by arm and bits."""
        return [
            *vanishing_answers(self.vanishings, self.grid),
            *axis_answers(self.effects),
            *worth_answers(self.ratios),
            *layer_answers(self.sensitive),
        ]
