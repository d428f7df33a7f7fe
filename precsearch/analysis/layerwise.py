"""Layer-wise sensitivity of trained networks: what quantizing one layer alone costs, directly and after retraining.

After Sung, Shin, Hwang, 2015. The most sensitive layer of a cell is picked by the same seeds that are to carry it, so
it must beat every other one by a paired t test that is corrected (Holm) over all pairs of layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from precsearch.analysis.complexity import GridGap, compared
from precsearch.analysis.grid import Grid, Point
from precsearch.analysis.intervals import Interval, mean_interval
from precsearch.analysis.statistics import ALPHA, holm, paired_p


@dataclass(frozen=True)
class MostSensitive:
    """The layer of a network that costs most when it alone is quantized.

    Attributes:
        cell: number of the cell.
        at: its point.
        arm: ``direct`` or ``retrained``.
        bits: of that layer.
        layer: its name.
        cost: what quantizing it alone adds to the test error.
        after: the layer that costs most but for it.
        over: cost of the one less cost of the other, over seeds.
        p: of that difference, by paired t test and Holm over all pairs of layers; None where it cannot be tested.
        pairs: number of pairs of layers that could be tested.
        shown: whether it is shown to cost more than every other layer.
    """

    cell: int
    at: Point
    arm: str
    bits: int
    layer: str
    cost: Interval
    after: str
    over: Interval
    p: float | None
    pairs: int
    shown: bool


def layer_costs(grid: Grid) -> list[GridGap]:
    """What quantizing each layer alone adds to the test error, each arm a family of comparisons."""
    return compared(grid, grid.alone)


def most_sensitive(rows: Sequence[GridGap]) -> list[MostSensitive]:
    """The most sensitive layer of each cell, arm and bits with two layers or more that have a seed in common.

    Args:
        rows: of `layer_costs`.
    """
    groups: dict[tuple[int, str, int], list[GridGap]] = {}
    for row in rows:
        groups.setdefault((row.network.cell, row.network.arm, row.network.bits or 0), []).append(row)
    found = (_of_one(own) for own in groups.values() if len(own) > 1)
    return [each for each in found if each is not None]


def _of_one(rows: Sequence[GridGap]) -> MostSensitive | None:
    shared = sorted(set.intersection(*(set(row.differences) for row in rows)))
    if not shared:
        return None
    ordered = sorted(rows, key=lambda row: -row.comparison.difference.mean)
    costs = [[row.differences[index] for index in shared] for row in ordered]
    differences = {(one, two): _less(costs[one], costs[two]) for one, two in combinations(range(len(costs)), 2)}
    raw = {pair: paired_p(values) for pair, values in differences.items()}
    tested = {pair: p for pair, p in raw.items() if p is not None}
    corrected = dict(zip(tested, holm(list(tested.values())), strict=True))
    first, second = ordered[0].network, ordered[1].network
    against_first = [pair for pair in differences if pair[0] == 0]
    over = {pair: mean_interval(differences[pair]) for pair in against_first}
    return MostSensitive(
        cell=first.cell,
        at=first.at,
        arm=first.arm,
        bits=first.bits or 0,
        layer=str(first.layer),
        cost=ordered[0].comparison.difference,
        after=str(second.layer),
        over=over[0, 1],
        p=corrected.get((0, 1)),
        pairs=len(tested),
        shown=all(corrected.get(pair, 1.0) < ALPHA and over[pair].mean > 0 for pair in against_first),
    )


def _less(one: Sequence[float], two: Sequence[float]) -> list[float]:
    return [a - b for a, b in zip(one, two, strict=True)]
