"""What must hold of a data set before anything learns from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from precsearch.data.dataset import BaseSplit, DataSet, Split
from precsearch.errors import DataError

_FEWEST_CLASSES = 2
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_IMAGES = 2  # dimensions inputs have at least: [N, features]


def as_split(pair: Any, where: str) -> Split:
    """Make a split of (inputs, targets), tensors or arrays.

    Args:
        pair: inputs [N, ...] of any float dtype; targets [N] of any integer dtype.
        where: names the split in messages.

    Returns:
        The split, float32 and int64.

    Raises:
        DataError: not a pair, or of other dtypes or shapes, empty, of unequal lengths, or not finite.
    """
    if isinstance(pair, Split):
        pair = (pair.inputs, pair.targets)
    if not isinstance(pair, tuple | list) or len(pair) != 2:  # noqa: PLR2004 -- a pair
        raise DataError(f"{where} must be a pair (inputs, targets), but got {_described(pair)}")
    inputs, targets = _tensor(pair[0], f"{where} inputs"), _tensor(pair[1], f"{where} targets")
    if not inputs.is_floating_point():
        raise DataError(
            f"{where} inputs must be floating point, but got {inputs.dtype}; "
            "for 8-bit images: `inputs.astype('float32') / 255`"
        )
    if inputs.ndim < _IMAGES:
        raise DataError(f"{where} inputs must have the shape [N, ...], but got {list(inputs.shape)}")
    if targets.dtype not in _INTEGERS:
        raise DataError(f"{where} targets must be integer class indices, but got {targets.dtype}")
    if targets.ndim != 1:
        raise DataError(f"{where} targets must have the shape [N], but got {list(targets.shape)}")
    if len(inputs) != len(targets) or len(inputs) == 0:
        raise DataError(
            f"{where} must have one target an input and at least one, "
            f"but got {len(inputs)} inputs and {len(targets)} targets"
        )
    split = Split(inputs.to(torch.float32).contiguous(), targets.to(torch.int64))
    _check_finite(split.inputs, where)
    return split


def check_labels(targets: Tensor, classes: int, where: str) -> None:
    """Check that class indices ([N] integer) lie in [0, classes).

    Raises:
        DataError: they do not.
    """
    if len(targets) == 0:
        raise DataError(f"{where}: at least one label must hold, but got none")
    lowest, highest = int(targets.min()), int(targets.max())
    if lowest < 0 or highest >= classes:
        raise DataError(
            f"{where}: labels from 0 to {classes - 1} ({classes} classes) must hold, "
            f"but got {lowest if lowest < 0 else highest}"
        )


def check_data_set(data: DataSet, where: str) -> DataSet:
    """Check that the splits of a data set belong together.

    Args:
        data: splits as `as_split` returns them.
        where: names the data set in messages.

    Returns:
        `data`.

    Raises:
        DataError: fewer than two classes, a label out of range, or inputs of different shapes.
    """
    if data.classes < _FEWEST_CLASSES:
        raise DataError(f"{where}: at least {_FEWEST_CLASSES} classes must hold, but got {data.classes}")
    splits: Mapping[str, BaseSplit] = {"train": data.train, "validation": data.validation, "test": data.test}
    for name, split in splits.items():
        check_labels(split.targets, data.classes, f"{where}, {name} targets")
        if split.shape != data.input_shape:
            raise DataError(
                f"{where}: inputs of one shape must hold, but train has {list(data.input_shape)} "
                f"and {name} has {list(split.shape)}"
            )
    return data


def _check_finite(inputs: Tensor, where: str) -> None:
    finite = inputs.flatten(1).isfinite().all(dim=1)
    if not bool(finite.all()):
        bad = (~finite).nonzero().flatten()
        raise DataError(
            f"{where} inputs must be finite, but {len(bad)} of {len(inputs)} hold NaN or infinity "
            f"(the first: index {int(bad[0])})"
        )


def _tensor(value: Any, where: str) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    try:
        array = np.asarray(value)
        if array.dtype.kind == "u" and array.dtype.itemsize > 1:  # torch has little more than uint8
            array = array.astype(np.int64)
        return torch.tensor(array)  # a copy: the array may be read-only, or written to later
    except (TypeError, ValueError, RuntimeError) as problem:
        raise DataError(
            f"{where} must be a tensor or an array of numbers, but got {_described(value)} ({problem})"
        ) from problem


def _described(value: Any) -> str:
    length = f" of {len(value)}" if isinstance(value, tuple | list) else ""
    return f"a {type(value).__name__}{length}"
