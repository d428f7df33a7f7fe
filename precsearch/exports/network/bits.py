"""Whole numbers of any bit-width, one behind the other without a gap.

A value's lowest bit comes first, and lies in the lowest free bit of its byte; negative values are in two's complement.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int16]
_AT_ONCE: Final = 1 << 20  # values; a multiple of eight, so that each share ends with a byte


def packed_bytes(values: int, bits: int) -> int:
    """Bytes that so many values of `bits` bits take."""
    return -(-values * bits // 8)


def pack(codes: Codes, bits: int) -> npt.NDArray[np.uint8]:
    """`codes`, [N], each from -2^(bits-1) to 2^(bits-1) - 1 -> uint8 [packed_bytes(N, bits)]; what is over is zero."""
    shifts = np.arange(bits, dtype=np.uint16)
    shares = [
        np.packbits(((share.view(np.uint16)[:, None] >> shifts) & 1).astype(np.uint8), bitorder="little")
        for share in (codes[start : start + _AT_ONCE] for start in range(0, len(codes), _AT_ONCE))
    ]
    return np.concatenate(shares) if shares else np.zeros(0, np.uint8)


def unpack(packed: npt.NDArray[np.uint8], bits: int, values: int) -> Codes:
    """What `pack` was given; `values` says how many."""
    shifts = np.arange(bits, dtype=np.uint16)
    codes = np.empty(values, np.uint16)
    for start in range(0, values, _AT_ONCE):
        share = codes[start : start + _AT_ONCE]
        of_share = packed[start * bits // 8 : packed_bytes(start + len(share), bits)]
        each = np.unpackbits(of_share, count=len(share) * bits, bitorder="little").reshape(-1, bits)
        share[:] = (each.astype(np.uint16) << shifts).sum(1, dtype=np.uint16)
    sign = np.uint16(1 << (bits - 1))
    return ((codes ^ sign) - sign).view(np.int16)
