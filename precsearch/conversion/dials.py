"""The quantizers that each slot of a problem sets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from precsearch.conversion.describe import quantizers_of
from precsearch.layers import weights_of
from precsearch.precision.problem import Ints, Problem
from precsearch.quantization.base import Quantizer


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
        count = len(problem.bits)
        # Where a slot has fewer candidates than the problem: the columns of its own.
        self._columns = [[problem.bits.index(bits) for bits in own[0].bits] for own in self.quantizers]
        self._all = [len(columns) == count for columns in self._columns]

    def set(self, candidates: Ints | Sequence[int], relaxed_SK: Tensor | None = None) -> None:
        """Choose a candidate for each slot, [S], with the relaxed sample [S, K] that the gradient goes through."""
        for s, quantizers in enumerate(self.quantizers):
            relaxed = None
            if relaxed_SK is not None:
                relaxed = relaxed_SK[s] if self._all[s] else relaxed_SK[s, self._columns[s]]
            for quantizer in quantizers:
                quantizer.choose(self._columns[s].index(int(candidates[s])), relaxed)

    def fix(self, candidates: Ints | Sequence[int]) -> None:
        """Let every quantizer forget all candidates but the one of its slot."""
        for s, quantizers in enumerate(self.quantizers):
            for quantizer in quantizers:
                quantizer.fix(self._columns[s].index(int(candidates[s])))


def _each_once(quantizers: Iterable[Quantizer]) -> list[Quantizer]:
    return list({id(quantizer): quantizer for quantizer in quantizers}.values())
