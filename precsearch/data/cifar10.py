"""CIFAR-10: 50,000 + 10,000 colour images of 32 x 32, through torchvision."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any, cast

import torch

from precsearch.data.checks import check_labels
from precsearch.data.dataset import DataSet, Split
from precsearch.data.fetching import REMEDIES, Source, fetched
from precsearch.data.look import Look
from precsearch.data.splits import hold_out
from precsearch.errors import DataError
from precsearch.experiment import Cifar10Settings, DataSettings, data_keys
from precsearch.torchvision_import import import_torchvision

_CLASSES = 10
_FOLDER = Path("cifar-10-batches-py")
_FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")


def _fetch(folder: str) -> None:
    import_torchvision().datasets.CIFAR10(folder, train=True, download=True)


SOURCE = Source("CIFAR-10", _FOLDER, _FILES, _fetch)


def load_cifar10(settings: DataSettings) -> DataSet:
    """Load CIFAR-10 from ``ROOT/cifar-10-batches-py``; downloaded where it is missing and `settings.download` allows.

    Args:
        settings: `root`, `download`, `validation` and the keys of `Cifar10Settings` are used.

    Returns:
        Inputs [N, 3, 32, 32], in memory as pixels; 10 classes; validation images from the 50,000, stratified.

    Raises:
        DataError: files are missing and cannot be fetched, or one is not the original.
    """
    keys = cast(Cifar10Settings, data_keys(settings))
    folder = fetched(SOURCE, settings)
    _check_original(folder)
    look = Look(*keys.mean_and_std)
    train, validation = hold_out(_read(folder, True, look), settings.validation)
    return DataSet("cifar10", train, validation, _read(folder, False, look), _CLASSES)


def _check_original(folder: Path) -> None:
    """Compare checksums: the files are pickles, which may run anything, so only the known ones are opened."""
    datasets: Any = import_torchvision().datasets
    utilities: Any = importlib.import_module("torchvision.datasets.utils")
    kind = datasets.CIFAR10
    for name, md5 in [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]:
        file = folder / name
        try:
            original = file.is_file() and utilities.check_integrity(str(file), md5)
        except OSError as problem:
            raise DataError(f"cannot read {file} ({problem.strerror or problem}). {REMEDIES}") from problem
        if not original:
            raise DataError(
                f"{file} is not CIFAR-10's (its MD5 must be {md5}): damaged or cut short; "
                f"delete it, and it is fetched again. {REMEDIES}"
            )


def _read(folder: Path, train: bool, look: Look) -> Split:
    """One of torchvision's two parts as [N, 3, 32, 32] uint8 and [N] int64."""
    datasets: Any = import_torchvision().datasets
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer releases of NumPy warn of pickles this old
            found = datasets.CIFAR10(str(folder.parent), train=train)
    except (OSError, RuntimeError) as problem:
        raise DataError(f"cannot read {folder} ({' '.join(str(problem).split())}). {REMEDIES}") from problem
    targets = torch.tensor(found.targets)
    check_labels(targets, _CLASSES, str(folder))
    return Split(torch.from_numpy(found.data).permute(0, 3, 1, 2).contiguous(), targets, look)
