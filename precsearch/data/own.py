"""The user's own data, from a function by import path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from precsearch.data.checks import as_split, check_data_set
from precsearch.data.dataset import DataSet
from precsearch.data.splits import SPLIT_SEED, hold_out
from precsearch.errors import ConfigurationError, DataError
from precsearch.experiment import DataSettings
from precsearch.imports import call_own

_SHAPES = (
    "a precsearch.data.DataSet, three pairs (inputs, targets) for train, validation and test, or two for train and test"
)
_PAIRS = 2
_TRIPLE = 3


def load_own(function: Callable[..., Any], settings: DataSettings) -> DataSet:
    """Call the user's function with the extra keys of ``data:`` and check what it returns.

    Args:
        function: may accept `root` (str, absolute), `download` (bool) and `seed` (int, the same for every
            trial) besides the extra keys. Returns a DataSet; or three pairs (inputs, targets) for train,
            validation and test; or two for train and test, and validation is held out of train.
        settings: names the function.

    Returns:
        The data set; with the highest training label + 1 classes where the function returned pairs.

    Raises:
        ConfigurationError: the function does not accept a key, or lacks one.
        DataError: the function raised, or what it returned cannot be learned from.
    """
    name = settings.name
    found = call_own(
        function,
        name,
        settings.model_extra or {},
        {"root": settings.root, "download": settings.download, "seed": SPLIT_SEED},
        section="data",
        refused=ConfigurationError,
        raised=DataError,
    )
    if isinstance(found, DataSet):
        parts = [found.train, found.validation, found.test]
    elif isinstance(found, tuple | list) and len(found) in (_PAIRS, _TRIPLE):
        parts = list(found)
    else:
        raise DataError(f"`data.name` {name!r} must return {_SHAPES}, but got a {type(found).__name__}")
    roles = ("train", "test") if len(parts) == _PAIRS else ("train", "validation", "test")
    splits = [as_split(part, f"{name}, {role}") for part, role in zip(parts, roles, strict=True)]
    classes = found.classes if isinstance(found, DataSet) else 1 + int(splits[0].targets.max())
    if len(splits) == _PAIRS:
        splits = [*hold_out(splits[0], settings.validation), splits[1]]
    train, validation, test = splits
    return check_data_set(DataSet(name, train, validation, test, classes), name)
