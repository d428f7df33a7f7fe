"""A grid of networks of growing complexity: float, quantized directly and retrained, by cell, bits and seed.

After W. Sung, S. Shin, K. Hwang, *Resiliency of Deep Neural Networks under Quantization*, 2015, arXiv:1511.06488.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from precsearch.results import TrainingRecord

FLOAT: Final = "float"
QUANTIZED: Final = ("direct", "retrained")
ACCURACY: Final = "test_accuracy"
SIZE: Final = "model_size"
ERROR: Final = "test_error"
Point = Mapping[str, Any]


@dataclass(frozen=True)
class GridNetwork:
    """One network of the grid, trained with several seeds.

    Attributes:
        cell: number of its cell.
        at: dotted path of an axis -> the cell's value.
        arm: ``float``, ``direct`` or ``retrained``.
        bits: of what is quantized; None for a float network.
        layer: the only one that is quantized; None where all are, or none.
        size: bytes of its packed weights, scales and float parameters.
        errors: index of the seed -> share of the test images that it gets wrong.
    """

    cell: int
    at: Point
    arm: str
    bits: int | None
    layer: str | None
    size: float
    errors: Mapping[int, float]

    @property
    def error(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(list(self.errors.values())))

    def less(self, other: GridNetwork) -> dict[int, float]:
        """Index of each seed that both have -> this error less the other's."""
        return {index: error - other.errors[index] for index, error in self.errors.items() if index in other.errors}


@dataclass(frozen=True)
class Grid:
    """All that was trained of a grid.

    Attributes:
        axes: dotted paths that the cells differ in.
        networks: by cell, arm, bits and layer as they came.
    """

    axes: tuple[str, ...]
    networks: tuple[GridNetwork, ...]

    @cached_property
    def floats(self) -> dict[int, GridNetwork]:
        """Cell -> its float network, from the smallest to the largest."""
        found = sorted((each for each in self.networks if each.arm == FLOAT), key=lambda each: (each.size, each.cell))
        return {each.cell: each for each in found}

    @cached_property
    def points(self) -> dict[int, Point]:
        """Cell -> its point."""
        return {each.cell: each.at for each in self.networks}

    @property
    def whole(self) -> tuple[GridNetwork, ...]:
        """The networks that are quantized throughout, with a float network in their cell."""
        return tuple(each for each in self._quantized if each.layer is None)

    @property
    def alone(self) -> tuple[GridNetwork, ...]:
        """The networks of which one layer alone is quantized, with a float network in their cell."""
        return tuple(each for each in self._quantized if each.layer is not None)

    @property
    def _quantized(self) -> list[GridNetwork]:
        return [each for each in self.networks if each.arm in QUANTIZED and each.cell in self.floats]

    @cached_property
    def main_axis(self) -> str | None:
        """The axis with the most values, the first of several; None where there is one cell."""
        values = {axis: self.values(axis) for axis in self.axes}
        longest = max(values, key=lambda axis: len(values[axis]), default=None)
        return longest if longest is not None and len(values[longest]) > 1 else None

    def values(self, axis: str) -> list[Any]:
        """Every value of an axis, as they come; sorted where they are numbers."""
        found = list({repr(point[axis]): point[axis] for point in self.points.values()}.values())
        return sorted(found) if all(map(is_number, found)) else found

    def families(self) -> dict[str, tuple[int, ...]]:
        """What its cells share, in words -> the cells, which differ in the main axis alone; each of two cells or more.

        The key is empty where all cells are one family.
        """
        found: dict[str, list[int]] = {}
        for cell, point in self.points.items():
            rest = {axis: value for axis, value in point.items() if axis != self.main_axis}
            if cell in self.floats:
                found.setdefault(point_text(rest), []).append(cell)
        return {text: tuple(cells) for text, cells in found.items() if len(cells) > 1}


def grid_of(records: Iterable[TrainingRecord], points: Mapping[int, Point]) -> Grid:
    """The grid of the complete records that have a test accuracy and a size; others are left out.

    Args:
        records: trainings of a run of kind ``grid``.
        points: cell -> dotted path of each axis -> the cell's value.
    """
    groups: dict[tuple[int, str, int | None, str | None], list[TrainingRecord]] = {}
    for record in records:
        if record.state == "complete" and {ACCURACY, SIZE} <= record.metrics.keys():
            groups.setdefault((record.number, record.arm, record.bits, record.layer), []).append(record)
    networks = (
        GridNetwork(
            cell=cell,
            at=points[cell],
            arm=arm,
            bits=bits,
            layer=layer,
            size=float(np.mean([record.metrics[SIZE] for record in own])),
            errors={record.index: 1 - record.metrics[ACCURACY] for record in sorted(own, key=lambda each: each.index)},
        )
        for (cell, arm, bits, layer), own in groups.items()
    )
    axes = tuple(dict.fromkeys(axis for point in points.values() for axis in point))
    return Grid(axes, tuple(networks))


def axis_text(axis: str) -> str:
    """The last word of a dotted path: ``width`` of ``model.width``."""
    return axis.rpartition(".")[2].replace("_", " ")


def point_text(at: Point) -> str:
    """A cell in words: ``width 0.5, depth 2``."""
    return ", ".join(f"{axis_text(axis)} {value_text(value)}" for axis, value in at.items())


def value_text(value: Any) -> str:
    """A value of an axis: ``0.5``; ``64-32`` for a list."""
    if isinstance(value, list | tuple):
        return "-".join(map(value_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def is_number(value: Any) -> bool:
    """Whether it is a number, and neither true nor false."""
    return isinstance(value, int | float) and not isinstance(value, bool)
