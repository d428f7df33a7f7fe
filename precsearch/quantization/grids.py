"""Grids: which levels a bit-width has.

A grid of b bits and reach a has levels ``step * code`` with ``step = a / levels(b)``; the codes run from
``-levels`` (or 0) to ``levels`` in steps of one, on whole numbers or halfway between them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    """Levels of one family of bit-widths.

    Attributes:
        signed: codes run from ``-levels``; else from 0.
        offset: 0 puts codes on whole numbers (zero is a level), 0.5 halfway between (zero is not).
    """

    signed: bool
    offset: float

    def levels(self, bits: int) -> float:
        """Largest code at `bits` bits: the reach counted in steps."""
        if not self.signed:
            return float(2**bits - 1)
        return (2**bits - 1) / 2 if self.offset else float(2 ** (bits - 1) - 1)


# Sung et al. 2015: 2 bits are the ternary levels, 3 bits seven levels.
SYMMETRIC = Grid(signed=True, offset=0.0)
# DoReFa (Zhou et al. 2016, eq. 9): 2^b levels from -1 to 1, none of them zero.
EVEN = Grid(signed=True, offset=0.5)
# DoReFa's quantize_k (eq. 5) on inputs that are never negative.
UNSIGNED = Grid(signed=False, offset=0.0)


def weight_grid(quantizer: str, bits: int) -> Grid:
    """Grid of a weight: `quantizer`'s, except that 1 bit is +-mean|w| in every quantizer."""
    return EVEN if bits == 1 or quantizer == "dorefa" else SYMMETRIC


def activation_grid(signed: bool, bits: int) -> Grid:
    """Grid of an input activation: unsigned where the layer's input is never negative."""
    if not signed:
        return UNSIGNED
    return EVEN if bits == 1 else SYMMETRIC
