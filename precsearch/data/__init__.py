"""Data sets, in memory or read from files: a registry of names, and the user's own by import path."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from precsearch.data.arrays import load_arrays
from precsearch.data.augment import AUGMENTATIONS
from precsearch.data.batches import Batches as Batches
from precsearch.data.cifar10 import load_cifar10
from precsearch.data.dataset import BaseSplit as BaseSplit
from precsearch.data.dataset import DataSet as DataSet
from precsearch.data.dataset import Split as Split
from precsearch.data.digits import load_digits
from precsearch.data.files import FileSplit as FileSplit
from precsearch.data.folders import load_image_folder, load_imagenet
from precsearch.data.mnist import load_mnist
from precsearch.data.own import load_own
from precsearch.data.shared import loaded_once
from precsearch.data.shared import share_data as share_data
from precsearch.data.splits import SPLIT_SEED
from precsearch.data.splits import hold_out as hold_out
from precsearch.data.splits import hold_out_at_random as hold_out_at_random
from precsearch.experiment import DataSettings, ImageSettings, data_keys
from precsearch.imports import is_import_path, load_object, registered

DATA_SETS: dict[str, Callable[[DataSettings], DataSet]] = {
    "digits": load_digits,
    "mnist": load_mnist,
    "cifar10": load_cifar10,
    "image_folder": load_image_folder,
    "imagenet": load_imagenet,
    "arrays": load_arrays,
}
OF_PIXELS = frozenset(DATA_SETS) - {"arrays"}
"""The data sets whose inputs are known to span 0 to 1, unless they are normalized."""


def load_data(settings: DataSettings) -> DataSet:
    """Load what ``data:`` asks for; the same settings give the same object within one process.

    Args:
        settings: the block; `batch_size` plays no part here.

    Returns:
        The data set, on the CPU; not to be written to; its images are as they are, whatever `augment` says. With
        `train_limit`, the first so many images of the training split, which is in random order for the data sets
        that come with precsearch.

    Raises:
        ConfigurationError: the name or a key is unknown, or the user's function cannot be loaded or called.
        DataError: the data is missing, unreadable or not of the expected shape.
    """
    function: Callable[..., Any]
    own = is_import_path(settings.name)
    if own:
        function = load_object(settings.name)
    else:
        function = DATA_SETS[registered(settings.name, DATA_SETS, "data.name")]
        data_keys(settings)
    # Trials that differ in what plays no part share the memory; a relative path means another after a chdir.
    placed = settings.at_home(Path.cwd())
    plain = {"augment": "none"} if not own and (settings.model_extra or {}).get("augment") == "crop-flip" else {}
    return _load(placed.model_copy(update={"batch_size": 1, **plain}), function)


def training_batches(split: BaseSplit, settings: DataSettings, generator: torch.Generator) -> Batches:
    """What weights and logits learn from: shuffled, and varied as ``data.augment`` says.

    Args:
        split: what to go through.
        settings: `batch_size` is used, and `augment` where the data set has it.
        generator: of order and variation.

    Raises:
        ConfigurationError: a key is not allowed.
    """
    keys = data_keys(settings)
    augment = keys.augment if isinstance(keys, ImageSettings) else "none"
    return Batches(split, settings.batch_size, generator, AUGMENTATIONS[augment])


@lru_cache(maxsize=4)
def _load(settings: DataSettings, function: Callable[..., Any]) -> DataSet:
    if settings.train_limit is not None:
        whole = _load(settings.model_copy(update={"train_limit": None}), function)
        return whole.limited(settings.train_limit)

    def load() -> DataSet:
        # Whichever trial comes first loads the data: what a function draws must not depend on its seed, nor shift it.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SPLIT_SEED)
            return load_own(function, settings) if is_import_path(settings.name) else function(settings)

    return loaded_once(settings, load)
