"""The quantizers that each slot of a problem sets."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from precsearch.conversion.describe import quantizers_of
from precsearch.layers import weights_of
from precsearch.precision.problem import Ints, Problem
from precsearch.quantization.base import Drawn, Quantizer
from precsearch.quantization.relaxed_ranges import relax


@dataclass(frozen=True)
class _Table:
    """Legend: N rows with a range each, those of a quantizer together; K candidates of the problem.

    Attributes:
        state: of the ranges that it was made from.
        quantizers: whose rows these are.
        rows: how many rows each of them has.
        slot_N: slot of each row.
        reach_NK: ranges.
        levels_NK: largest codes.
        power_NK: squared steps.
    """

    state: tuple[tuple[int, int], ...]
    quantizers: list[Quantizer]
    rows: list[int]
    slot_N: Tensor
    reach_NK: Tensor
    levels_NK: Tensor
    power_NK: Tensor


class Dials:
    """Sets the quantizers of a converted model, slot by slot.

    Args:
        model: converted.
        problem: whose slots name layers and targets of it.

    Attributes:
        quantizers: of each slot, each once (tied weights share one).
    """

    def __init__(self, model: nn.Module, problem: Problem) -> None:
        weights = weights_of(model)
        self.quantizers = [
            _each_once(q for layer, target in slot.members for q in quantizers_of(weights[layer])[target])
            for slot in problem.slots
        ]
        self._count = count = len(problem.bits)
        self._made: _Table | None = None
        # Where a slot has fewer candidates than the problem: the columns of its own.
        self._columns = [[problem.bits.index(bits) for bits in own[0].bits] for own in self.quantizers]
        self._own = [slice(None) if len(columns) == count else columns for columns in self._columns]

    def set(self, candidates: Ints | Sequence[int], relaxed_SK: Tensor | None = None, looks: bool = False) -> None:
        """Choose a candidate for each slot.

        Args:
            candidates: [S].
            relaxed_SK: the relaxed sample that the gradient goes through, if anything learns.
            looks: whether the next forward renews the ranges, which are then not taken beforehand.
        """
        ranges = {} if relaxed_SK is None or looks else self._all_ranges(np.asarray(candidates), relaxed_SK)
        for s, quantizers in enumerate(self.quantizers):
            candidate = self._columns[s].index(int(candidates[s]))
            for quantizer in quantizers:
                if quantizer in ranges:
                    quantizer.choose(candidate, ranges=ranges[quantizer])
                else:
                    quantizer.choose(candidate, None if relaxed_SK is None else relaxed_SK[s, self._own[s]])

    def _all_ranges(self, candidates: Ints, relaxed_SK: Tensor) -> dict[Quantizer, Drawn]:
        """Steps and reaches of all quantizers, relaxed in one go: a net has many, and each of them few numbers."""
        table = self._table()
        if not table.quantizers:
            return {}
        drawn_N1 = torch.from_numpy(candidates).to(table.slot_N.device)[table.slot_N].unsqueeze(1)
        reach_N = table.reach_NK.gather(1, drawn_N1)[:, 0]
        step_N = reach_N / table.levels_NK.gather(1, drawn_N1)[:, 0]
        step_N, reach_N = relax(step_N, reach_N, relaxed_SK[table.slot_N], table.power_NK, table.reach_NK)
        steps, reaches = torch.split(step_N, table.rows), torch.split(reach_N, table.rows)
        numbers: Iterable[tuple[float, float] | None] = itertools.repeat(None)
        if len(table.rows) == len(table.slot_N) and table.slot_N.device.type == "cpu":
            numbers = zip(step_N.detach().tolist(), reach_N.detach().tolist(), strict=True)
        drawn = map(Drawn, steps, reaches, numbers)
        return dict(zip(table.quantizers, drawn, strict=True))

    def _table(self) -> _Table:
        """The ranges of all quantizers; made anew where one of them has changed."""
        taught = [(s, q) for s, own in enumerate(self.quantizers) for q in own if q.teaches and q.known]
        state = tuple((id(q.reach), q.reach._version) for _, q in taught)
        if self._made is None or self._made.state != state:
            self._made = self._make_table(taught, state)
        return self._made

    @torch.no_grad()
    def _make_table(self, taught: Sequence[tuple[int, Quantizer]], state: tuple[tuple[int, int], ...]) -> _Table:
        like, rows = self.quantizers[0][0].reach, [q.reach.shape[1] for _, q in taught]
        # Ones where a slot lacks a candidate: its probability is 0.
        reach_NK, levels_NK, power_NK = like.new_ones(3, sum(rows), self._count).unbind()
        begin = 0
        for (s, quantizer), count in zip(taught, rows, strict=True):
            own = slice(begin, begin + count), self._columns[s]
            reach_NK[own] = quantizer.reach.T
            levels_NK[own] = quantizer.levels_K
            power_NK[own] = quantizer.power_KR.T
            begin += count
        slot_N = torch.tensor(
            [s for (s, _), count in zip(taught, rows, strict=True) for _ in range(count)], dtype=torch.int64
        )
        return _Table(state, [q for _, q in taught], rows, slot_N.to(like.device), reach_NK, levels_NK, power_NK)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_made": None}  # it knows the quantizers by their place in memory

    def fix(self, candidates: Ints | Sequence[int]) -> None:
        """Let every quantizer forget all candidates but the one of its slot."""
        for s, quantizers in enumerate(self.quantizers):
            for quantizer in quantizers:
                quantizer.fix(self._columns[s].index(int(candidates[s])))


def _each_once(quantizers: Iterable[Quantizer]) -> list[Quantizer]:
    return list({id(quantizer): quantizer for quantizer in quantizers}.values())
