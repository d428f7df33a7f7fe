"""Folders of test images that others corrupted: MNIST-C, CIFAR-10-C, and what has their layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from precsearch.data.dataset import DataSet, Split
from precsearch.errors import DataError
from precsearch.evaluation.accuracy import measure
from precsearch.evaluation.images import InputRange
from precsearch.measured import Corruption

_BRIGHTEST: Final = 255.0
_GREY_DIMS: Final = 3  # of grey images without a dimension for the channel
_SEVERITIES: Final = 5  # one after another in a file of CIFAR-10-C
_MNIST: Final = ("test_images.npy", "test_labels.npy")
_LABELS: Final = "labels.npy"


@dataclass(frozen=True, eq=False)
class ReadyImages:
    """One corruption of a folder; its images stay in their file until they are read.

    Attributes:
        name: of the folder and the corruption, such as ``mnist_c/fog``.
        pixels: [M, H, W, C] or [M, H, W] uint8; the images of a severity after those of the one before.
        labels: [M].
        severities: how many there are.
    """

    name: str
    pixels: NDArray[np.uint8]
    labels: NDArray[np.integer[Any]]
    severities: int

    def split(self, severity: int, count: int, values: InputRange) -> Split:
        """The first `count` images of a severity, from 0, as inputs that span `values`."""
        each = len(self.labels) // self.severities
        part = slice(severity * each, severity * each + min(count, each))
        pixels = torch.from_numpy(np.array(self.pixels[part]))
        pixels = pixels.unsqueeze(1) if pixels.ndim == _GREY_DIMS else pixels.permute(0, 3, 1, 2)
        inputs = values.low + pixels.float() / _BRIGHTEST * values.span
        return Split(inputs.contiguous(), torch.from_numpy(np.array(self.labels[part])).long())


def find_ready(folder: Path, data: DataSet) -> tuple[ReadyImages, ...]:
    """The corruptions that a folder has, by name.

    Args:
        folder: with ``NAME/test_images.npy`` and ``NAME/test_labels.npy`` as MNIST-C, or ``NAME.npy`` and
            ``labels.npy`` as CIFAR-10-C has them.
        data: that the images have to fit.

    Raises:
        DataError: when there are none, or a file cannot be read or does not fit; names it.
    """
    found = tuple(_found(folder))
    if not found:
        raise DataError(
            f"`evaluate.corrupted`: a folder with NAME/{_MNIST[0]} and NAME/{_MNIST[1]}, or with NAME.npy and "
            f"{_LABELS}, must be given, but {folder} {'has neither' if folder.is_dir() else 'is no folder'}; unpack "
            "MNIST-C or CIFAR-10-C there, or leave the key out"
        )
    for each in found:
        _check(each, data)
    return found


def measure_ready(
    model: nn.Module, found: tuple[ReadyImages, ...], count: int, values: InputRange
) -> tuple[Corruption, ...]:
    """Accuracy of `model` on the first `count` images of each severity of each."""
    return tuple(
        Corruption(
            corruption=each.name,
            accuracies=tuple(measure(model, each.split(k, count, values)).accuracy for k in range(each.severities)),
        )
        for each in found
    )


def _found(folder: Path) -> Iterator[ReadyImages]:
    for images in sorted(folder.glob(f"*/{_MNIST[0]}")):
        labels = _array(images.with_name(_MNIST[1]))
        yield ReadyImages(f"{folder.name}/{images.parent.name}", _array(images), labels, severities=1)
    if (folder / _LABELS).is_file():
        labels = _array(folder / _LABELS)
        for images in sorted(folder.glob("*.npy")):
            if images.name != _LABELS:
                yield ReadyImages(f"{folder.name}/{images.stem}", _array(images), labels, _SEVERITIES)


def _array(path: Path) -> NDArray[Any]:
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        told = " ".join(str(error).split())
        raise DataError(
            f"cannot read {path}: {told}; it must be a whole .npy file of numbers, fetch it again"
        ) from None


def _check(each: ReadyImages, data: DataSet) -> None:
    channels, *size = data.input_shape if len(data.input_shape) == _GREY_DIMS else (0, *data.input_shape)
    shapes = [(*size, channels), *([tuple(size)] if channels == 1 else [])]
    if each.pixels.dtype != np.uint8 or each.pixels.shape[1:] not in shapes:
        raise DataError(
            f"{each.name}: pixels of shape {list(shapes[0])} and type uint8, as data set {data.name!r} has them, must "
            f"hold, but got {list(each.pixels.shape[1:])} and {each.pixels.dtype}; leave `evaluate.corrupted` out, or "
            "give the folder that belongs to the data set"
        )
    if each.labels.shape != each.pixels.shape[:1] or len(each.labels) % each.severities or not len(each.labels):
        raise DataError(
            f"{each.name}: one label an image must hold, and as many images at each of {each.severities} severities, "
            f"but got {each.labels.shape} labels for {len(each.pixels)} images"
        )
    if each.labels.dtype.kind not in "iu" or not 0 <= int(each.labels.min()) <= int(each.labels.max()) < data.classes:
        raise DataError(f"{each.name}: labels from 0 to {data.classes - 1} must hold; the folder is of other images")
