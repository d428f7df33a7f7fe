"""MNIST: 60,000 + 10,000 handwritten digits of 28 x 28, through torchvision."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from precsearch.data.checks import check_labels
from precsearch.data.dataset import DataSet, Split
from precsearch.data.fetching import REMEDIES, Source, fetched
from precsearch.data.splits import hold_out
from precsearch.errors import DataError
from precsearch.experiment import DataSettings
from precsearch.torchvision_import import import_torchvision

_KINDS = ("images-idx3-ubyte", "labels-idx1-ubyte")
_FILES = tuple(f"{part}-{kind}" for part in ("train", "t10k") for kind in _KINDS)
_SIZE = (28, 28)
_CLASSES = 10
_BRIGHTEST = 255.0


def _fetch(folder: str) -> None:
    import_torchvision().datasets.MNIST(folder, train=True, download=True)


SOURCE = Source("MNIST", Path("MNIST") / "raw", _FILES, _fetch)


def load_mnist(settings: DataSettings) -> DataSet:
    """Load MNIST from ``ROOT/MNIST/raw``; downloaded where it is missing and `settings.download` allows.

    Args:
        settings: `root`, `download` and `validation` are used.

    Returns:
        Inputs [N, 1, 28, 28] in [0, 1]; 10 classes; validation images from the 60,000, stratified.

    Raises:
        DataError: files are missing and cannot be fetched, or one is unreadable or not what it should be.
    """
    raw = fetched(SOURCE, settings)
    train, validation = hold_out(_read(raw, "train"), settings.validation)
    return DataSet("mnist", _scaled(train), _scaled(validation), _scaled(_read(raw, "t10k")), _CLASSES)


def _scaled(split: Split) -> Split:
    # To [0, 1] and no further: inputs without a sign need no sign bit when they are quantized, which
    # subtracting a mean would cost them.
    return Split(split.inputs.to(torch.float32).div_(_BRIGHTEST).unsqueeze(1), split.targets)


def _read(raw: Path, part: str) -> Split:
    """One of torchvision's two parts as [N, 28, 28] uint8 and [N] int64."""
    import_torchvision()
    reader: Any = importlib.import_module("torchvision.datasets.mnist")
    images_file, labels_file = (raw / f"{part}-{kind}" for kind in _KINDS)
    images = _read_file(reader.read_image_file, images_file)
    labels = _read_file(reader.read_label_file, labels_file)
    if tuple(images.shape[1:]) != _SIZE:
        raise DataError(f"{images_file}: images of 28 x 28 must hold, but got {list(images.shape[1:])}")
    if len(images) != len(labels):
        raise DataError(f"{labels_file}: one label an image must hold, but got {len(labels)} for {len(images)} images")
    check_labels(labels, _CLASSES, str(labels_file))
    return Split(images, labels)


def _read_file(read: Any, file: Path) -> Tensor:
    try:
        tensor: Tensor = read(str(file))
    except OSError as problem:
        raise DataError(f"cannot read {file} ({problem.strerror or problem}). {REMEDIES}") from problem
    except (AssertionError, KeyError, RuntimeError, TypeError, ValueError, OverflowError) as problem:
        raise DataError(
            f"{file} is not a whole IDX file ({type(problem).__name__}: {problem}): damaged or cut short; "
            f"delete it, and it is fetched again. {REMEDIES}"
        ) from problem
    return tensor
