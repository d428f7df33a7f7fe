"""Tensors as rows, in the order of their memory: what is done to every value alike need not know the layout.

While a whole model is compiled, tensors stay as they are: the compiler lays them out itself, and rows would be copies.

Legend: R rows (1, or output channels), M values a row.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

_LAST: Final = {4: torch.channels_last, 5: torch.channels_last_3d}


def dense(x: Tensor) -> Tensor:
    """`x` without gaps in memory, in an order whose first dimension comes first; itself where it is so already."""
    if x.is_contiguous() or torch.compiler.is_compiling() or _channels_last(x):
        return x
    return x.contiguous()


def as_rows(x: Tensor, reach: Tensor) -> Tensor:
    """A view of a dense tensor as [R, M], in the order of its memory; itself while compiling."""
    if torch.compiler.is_compiling():
        return x
    columns = x.numel() // reach.numel()
    if x.is_contiguous():
        return x.reshape(reach.numel(), columns)
    return x.as_strided((reach.numel(), columns), (columns, 1))


def like(rows: Tensor, x: Tensor) -> Tensor:
    """A view of [R, M], in the order of the memory of `x`, in the shape and strides of `x`; itself while compiling."""
    if torch.compiler.is_compiling():
        return rows
    # Strides and all: with one channel, they alone tell channels_last from contiguous.
    return rows.as_strided(x.shape, x.stride())


def in_strides(gradient: Tensor, strides: tuple[int, ...]) -> Tensor:
    """`gradient` with these strides, which leave no gaps."""
    if gradient.stride() == strides or torch.compiler.is_compiling():
        return gradient
    return gradient.new_empty_strided(gradient.shape, strides).copy_(gradient)


def memory_format(x: Tensor) -> torch.memory_format:
    """Channels last where `x` is laid out so, and not contiguous as well; else contiguous."""
    return _LAST[x.dim()] if not x.is_contiguous() and _channels_last(x) else torch.contiguous_format


def _channels_last(x: Tensor) -> bool:
    return x.dim() in _LAST and x.is_contiguous(memory_format=_LAST[x.dim()])
