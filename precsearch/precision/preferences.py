"""Preferences: what the parameters of a search say of each slot's candidates; one class each, chosen by name.

The samplers see scores, [S, K]: how much a slot wants each of its candidates. `Free` learns each of them. The others
are concave in the bits and rise with them, as the harm of rounding falls: under a tight limit they learn which slots
suffer most, and that still says who gets the bits of a wide one, which a draw under a tight limit never tries.

Legend: S slots, K candidates.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

# Score between a slot's fewest and infinitely many bits at the start, in units where the draw's noise has 1.28.
_SIZE = 4.0


class Preferences(ABC):
    """From parameters to scores.

    Args:
        slots: S.
        bits: K candidate bit-widths, ascending.
    """

    def __init__(self, slots: int, bits: Sequence[int]) -> None:
        self.slots = slots
        self.bits = torch.tensor(bits, dtype=torch.float32)

    @abstractmethod
    def start(self) -> Tensor:
        """The parameters at the start: all slots alike."""

    @abstractmethod
    def scores(self, parameters: Tensor) -> Tensor:
        """[S, K] scores; differentiable."""

    def _harm(self) -> Tensor:
        """[K] what rounding does at the start: its noise power by bits, 1 at the fewest."""
        return torch.pow(4.0, self.bits[0] - self.bits)


class Free(Preferences):
    """A logit for each slot and candidate, zeros at the start."""

    def start(self) -> Tensor:
        """[S, K] zeros."""
        return torch.zeros(self.slots, len(self.bits))

    def scores(self, parameters: Tensor) -> Tensor:
        """[S, K] the logits themselves."""
        return parameters


class Sensitivity(Preferences):
    """One number a slot, the log of its sensitivity s: the score is ``-s * 4^-b``.

    The noise power of rounding to b bits goes with 4^-b (Bennett 1948), so the best allocation of mean bits is
    reverse water-filling (Cover and Thomas 2006, section 10.3.3).
    """

    def start(self) -> Tensor:
        """[S] zeros."""
        return torch.zeros(self.slots)

    def scores(self, parameters: Tensor) -> Tensor:
        """[S, K] at most 0."""
        return -_SIZE * parameters.exp().unsqueeze(1) * self._harm().to(parameters)


class Convex(Preferences):
    """A table for each slot whose harm is convex in the bits and falls with them, that of `Sensitivity` at the start.

    What one more bit is worth between two neighbouring candidates is a sum of positive terms, one for this and for
    each later step; so it never grows from step to step.
    """

    def start(self) -> Tensor:
        """[S, K - 1] logs of each term, in parts of its start; zeros."""
        return torch.zeros(self.slots, len(self.bits) - 1)

    def scores(self, parameters: Tensor) -> Tensor:
        """[S, K] 0 at the fewest bits."""
        widths = self.bits.diff().to(parameters)
        worth = -self._harm().diff().to(parameters) / widths
        terms = (worth - torch.cat([worth[1:], worth.new_zeros(1)])[: len(worth)]) * parameters.exp()
        of_a_bit = terms.flip(1).cumsum(1).flip(1)
        steps = of_a_bit * widths
        return _SIZE * torch.cat([steps.new_zeros(len(steps), 1), steps.cumsum(1)], dim=1)


PREFERENCES: dict[str, type[Preferences]] = {"free": Free, "sensitivity": Sensitivity, "convex": Convex}
