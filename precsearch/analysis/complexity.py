"""The gap between quantized and float networks against their size: does it vanish as the network grows?

After Sung, Shin, Hwang, 2015, who found it large in small networks and almost gone in large ones after retraining.

Trends are regressions of one seed each: the gap of its cells on the logarithm of their float networks' size. The mean
of the slopes is the slope of the mean gap, and slopes of independent seeds carry a t interval, which holds from three
seeds on where a bootstrap does not (`docs/statistics.md`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from precsearch.analysis.grid import QUANTIZED, Grid, GridNetwork, is_number
from precsearch.analysis.intervals import Floats
from precsearch.analysis.measures import measure
from precsearch.analysis.statistics import ALPHA, Comparison, compare

GAP: Final = measure("test_error")
Told = Literal["yes", "no", "not shown"]


@dataclass(frozen=True)
class GridGap:
    """How much more a quantized network errs than the float network of its cell.

    Attributes:
        network: quantized, throughout or one layer of it.
        size: bytes of the float network.
        differences: index of the seed -> test error less that of the float network.
        comparison: their mean with its interval and tests.
    """

    network: GridNetwork
    size: float
    differences: dict[int, float]
    comparison: Comparison


@dataclass(frozen=True)
class Vanishing:
    """Whether the gap of one arm at some bits vanishes with size.

    Attributes:
        arm: ``direct`` or ``retrained``.
        bits: of every layer.
        slope: change of the gap with each doubling of the float network's size, of one family over the arm's bits;
            None with fewer than two cells of different size that have a seed in common.
        smallest: gap of the smallest cell, over seeds.
        largest: gap of the largest cell, likewise a family over the arm's bits.
        largest_cell: its number.
        everywhere: whether the gap is equivalent to none in every cell.
        told: the answer.
    """

    arm: str
    bits: int
    slope: Comparison | None
    smallest: Comparison
    largest: Comparison
    largest_cell: int
    everywhere: bool
    told: Told

    @property
    def shrinks(self) -> bool:
        """Whether it is shown that the gap falls with size."""
        return _shown(self.slope, below=True)

    @property
    def grows(self) -> bool:
        """Whether it is shown that the gap rises with size."""
        return _shown(self.slope, below=False)


@dataclass(frozen=True)
class AxisEffect:
    """What another axis than size does to the gap, at equal size.

    Attributes:
        axis: dotted path, of numbers.
        arm: ``direct`` or ``retrained``.
        bits: of every layer.
        effect: change of the gap with each 1 more of the axis, of one family over axes and bits of the arm.
    """

    axis: str
    arm: str
    bits: int
    effect: Comparison


def gaps(grid: Grid, margin: float | None = GAP.margin) -> list[GridGap]:
    """The gap of every network that is quantized throughout, each arm a family of comparisons of its own.

    Args:
        grid: what was trained.
        margin: largest gap that counts as none, as a share of the images.
    """
    return compared(grid, grid.whole, margin)


def compared(grid: Grid, networks: Sequence[GridNetwork], margin: float | None = None) -> list[GridGap]:
    """The gap of some networks to the float network of their cell, each arm a family; those without a pair are out."""
    rows = []
    for arm in QUANTIZED:
        own = [each for each in networks if each.arm == arm]
        pairs = {str(at): (each, found) for at, each in enumerate(own) if (found := each.less(grid.floats[each.cell]))}
        tested = compare({name: list(found.values()) for name, (_, found) in pairs.items()}, margin)
        for (network, found), comparison in zip(pairs.values(), tested, strict=True):
            rows.append(GridGap(network, grid.floats[network.cell].size, found, comparison))
    return rows


def vanishings(rows: Sequence[GridGap], margin: float | None = GAP.margin) -> list[Vanishing]:
    """Does the gap vanish? An answer for each arm and bits with two cells or more.

    **yes**: the gap is shown to fall with size, and that of the largest network is equivalent to none. **no**: the gap
    of the largest network is shown and not equivalent to none, or the gap is shown to rise. **not shown** otherwise.

    Args:
        rows: of `gaps`.
        margin: largest gap that counts as none.
    """
    found = []
    for arm, by_bits in _by_arm_and_bits(rows).items():
        slopes = {str(bits): values for bits, own in by_bits.items() if (values := _slopes(own))}
        slope = {each.name: each for each in compare(slopes)}
        ends = [
            {str(bits): list(end(own, key=_order).differences.values()) for bits, own in by_bits.items()}
            for end in (min, max)
        ]
        smallest, largest = ({each.name: each for each in compare(values, margin)} for values in ends)
        for bits, own in by_bits.items():
            name = str(bits)
            everywhere = all(row.comparison.equivalent for row in own)
            told = _told(slope.get(name), largest[name])
            cell = max(own, key=_order).network.cell
            found.append(Vanishing(arm, bits, slope.get(name), smallest[name], largest[name], cell, everywhere, told))
    return found


def axis_effects(grid: Grid, rows: Sequence[GridGap]) -> list[AxisEffect]:
    """What the other axes of numbers do to the gap at equal size: regressed on them and on size together, by seed.

    An arm and bits without enough cells to tell size and axes apart are left out.

    Args:
        grid: what was trained.
        rows: of `gaps`.
    """
    axes = [
        axis
        for axis in grid.axes
        if axis != grid.main_axis and len(grid.values(axis)) > 1 and all(map(is_number, grid.values(axis)))
    ]
    found = []
    for arm, by_bits in _by_arm_and_bits(rows).items():
        effects: dict[str, list[float]] = {}
        keys = {f"{bits} {axis}": (bits, axis) for bits in by_bits for axis in axes}
        for bits, own in by_bits.items():
            fits = _fits(own, axes)
            effects |= {f"{bits} {axis}": [fit[at] for fit in fits] for at, axis in enumerate(axes, 2) if len(fits)}
        found += [AxisEffect(keys[each.name][1], arm, keys[each.name][0], each) for each in compare(effects)]
    return found


def _by_arm_and_bits(rows: Iterable[GridGap]) -> dict[str, dict[int, list[GridGap]]]:
    """Arm -> bits, ascending -> its gaps; those with two cells or more."""
    found: dict[str, dict[int, list[GridGap]]] = {}
    for row in sorted(rows, key=lambda row: row.network.bits or 0):
        found.setdefault(row.network.arm, {}).setdefault(row.network.bits or 0, []).append(row)
    return {arm: {bits: own for bits, own in found[arm].items() if len(own) > 1} for arm in QUANTIZED if arm in found}


def _order(row: GridGap) -> tuple[float, int]:
    return row.size, row.network.cell


def _slopes(rows: Sequence[GridGap]) -> list[float]:
    return [fit[1] for fit in _fits(rows, ())]


def _fits(rows: Sequence[GridGap], axes: Sequence[str]) -> list[Floats]:
    """For each seed that all cells have: the coefficients of 1, doublings of size, and each axis.

    Empty where the cells do not tell them apart.
    """
    columns = [[1.0, float(np.log2(row.size)), *(float(row.network.at[axis]) for axis in axes)] for row in rows]
    design = np.array(columns)
    if np.linalg.matrix_rank(design - design.mean(axis=0)) < design.shape[1] - 1:
        return []
    shared = set.intersection(*(set(row.differences) for row in rows))
    return [
        np.linalg.lstsq(design, np.array([row.differences[index] for row in rows]), rcond=None)[0]
        for index in sorted(shared)
    ]


def _told(slope: Comparison | None, largest: Comparison) -> Told:
    left = largest.p_holm is not None and largest.p_holm < ALPHA and largest.difference.mean > 0
    if _shown(slope, below=False) or (left and not largest.equivalent):
        return "no"
    return "yes" if _shown(slope, below=True) and largest.equivalent else "not shown"


def _shown(slope: Comparison | None, below: bool) -> bool:
    if slope is None or slope.p_holm is None or slope.p_holm >= ALPHA:
        return False
    return (slope.difference.mean < 0) == below
