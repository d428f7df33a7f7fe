"""Weights with their output channels first, wherever a module keeps them."""

from __future__ import annotations

from torch import Tensor


def to_rows(weight: Tensor, groups: int) -> Tensor:
    """A view or copy of a weight whose first dimension counts output channels.

    Args:
        weight: [out, ...]; for a transposed convolution [in, out / groups, ...].
        groups: of a transposed convolution; 0 for every other weight, which is returned as it is.
    """
    if not groups:
        return weight
    inputs, outputs, *kernel = weight.shape
    split = weight.reshape(groups, inputs // groups, outputs, *kernel).transpose(1, 2)
    return split.reshape(groups * outputs, inputs // groups, *kernel)


def from_rows(rows: Tensor, groups: int) -> Tensor:
    """What `to_rows` was given."""
    if not groups:
        return rows
    outputs, inputs, *kernel = rows.shape
    split = rows.reshape(groups, outputs // groups, inputs, *kernel).transpose(1, 2)
    return split.reshape(groups * inputs, outputs // groups, *kernel)
