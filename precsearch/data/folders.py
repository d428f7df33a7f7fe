"""Folders of images, a folder a class: one's own, and ILSVRC12's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import numpy as np
import torch

from precsearch.data.dataset import DataSet
from precsearch.data.files import Files, FileSplit
from precsearch.data.look import Look
from precsearch.data.pictures import CHANNELS, Fit
from precsearch.data.splits import hold_out
from precsearch.errors import DataError
from precsearch.experiment import DataSettings, FolderSettings, ImageNetSettings, data_keys

MEMORY_LIMIT: Final = 2**31
"""Bytes of decoded images that `data.in_memory: auto` keeps; of all splits together."""

ENDINGS: Final = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
_TEST_FOLDERS: Final = ("test", "val")
_FEWEST_CLASSES: Final = 2
_TOLD: Final = 5
_IMAGENET_SHARE: Final = 224 / 256
_UNPACK: Final = (
    "ILSVRC12 is not downloaded by precsearch; `torchvision.datasets.ImageNet(ROOT, split='train')`, and then with "
    "split='val', unpacks its archives into this layout"
)


@dataclass(frozen=True)
class _Listed:
    """The images of one folder of class folders."""

    place: Path
    classes: tuple[str, ...]
    files: Files
    targets: torch.Tensor


def load_image_folder(settings: DataSettings) -> DataSet:
    """Load ``ROOT/train/CLASS/*`` and ``ROOT/test/CLASS/*`` (or ``val``).

    Args:
        settings: `root`, `validation` and the keys of `FolderSettings` are used.

    Returns:
        Inputs [N, 3, H, W], in [0, 1] unless normalized; validation images from the training folder, stratified.

    Raises:
        DataError: a folder or an image is missing, unreadable or not what it should be.
    """
    keys = cast(FolderSettings, data_keys(settings))
    return _load(settings, keys, Fit(keys.image_size), "")


def load_imagenet(settings: DataSettings) -> DataSet:
    """Load ILSVRC12 from ``ROOT/train/WNID/*`` and ``ROOT/val/WNID/*``; its validation images are the test split.

    Args:
        settings: `root`, `validation` and the keys of `ImageNetSettings` are used.

    Returns:
        As `load_image_folder`; a subset of the classes will do.

    Raises:
        DataError: as `load_image_folder`.
    """
    keys = cast(ImageNetSettings, data_keys(settings))
    return _load(settings, keys, Fit(keys.image_size, _IMAGENET_SHARE), f". {_UNPACK}")


def _load(settings: DataSettings, keys: FolderSettings, fit: Fit, advice: str) -> DataSet:
    root = Path(settings.root).expanduser().absolute()
    names = _TEST_FOLDERS if keys.test is None else (keys.test,)
    train = _listed(_found(root, (keys.train,), "train", advice), advice)
    test = _listed(_found(root, names, "test", advice), advice)
    _check_classes(train, test)
    like = train.files.path(0)
    first = fit.pixels(like)
    look = Look(*keys.mean_and_std)
    size = (int(first.shape[1]), int(first.shape[2]))
    whole, tested = (
        FileSplit(part.files, torch.arange(len(part.targets)), part.targets, size, like, fit, look, keys.workers)
        for part in (train, test)
    )
    splits = [*hold_out(whole, settings.validation), tested]
    keep = _fits(keys, splits)
    learnt, validation, tested_on = (split.in_memory() if keep else split for split in splits)
    return DataSet(settings.name, learnt, validation, tested_on, len(train.classes))


def _fits(keys: FolderSettings, splits: list[FileSplit]) -> bool:
    if keys.in_memory != "auto":
        return keys.in_memory
    if keys.augment == "random-resized-crop":  # takes its crops of the pictures as they are in their files
        return False
    height, width = splits[0].size
    return sum(len(split) for split in splits) * CHANNELS * height * width <= MEMORY_LIMIT


def _found(root: Path, names: tuple[str, ...], key: str, advice: str) -> Path:
    for name in names:
        try:
            (root / name).stat()  # exists() calls a forbidden folder an absent one
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as problem:
            raise _unreadable(root / name, problem) from problem
        return root / name
    wanted = " or ".join(str(root / name) for name in names)
    inside = ""
    if root.is_dir():
        inside = f" ({root} has {_some(sorted(entry.name for entry in _entries(root))) or 'nothing in it'})"
    raise DataError(
        f"a folder of {key} images must lie in {wanted}, but there is none{inside}; set `data.root` to the folder "
        f"that has it, or `data.{key}` to its name{advice}"
    )


def _listed(place: Path, advice: str) -> _Listed:
    """List the images of every class, sorted by path.

    Raises:
        DataError: there are fewer than two classes, one has no images, or a file is empty.
    """
    classes = sorted(entry.name for entry in _entries(place) if _is_folder(entry))
    if not classes:
        raise DataError(
            f"{place} must have a folder for each class, with its images in it, but has "
            f"{_some(sorted(entry.name for entry in _entries(place))) or 'nothing in it'}{advice}"
        )
    if len(classes) < _FEWEST_CLASSES:
        raise DataError(f"{place} must have folders of at least 2 classes, but has only {classes[0]!r}{advice}")
    names: list[bytes] = []
    sizes: list[int] = []
    targets: list[int] = []
    for label, name in enumerate(classes):
        before = len(names)
        for path, size in sorted(_images(place / name, ())):
            if size == 0:
                raise DataError(f"{path} is empty (0 bytes); copy it again, or delete it")
            names.append(os.fsencode(path.relative_to(place)))
            sizes.append(size)
        if len(names) == before:
            raise DataError(
                f"{place / name} has no images ({', '.join(ENDINGS)}), so its class cannot be learned; add some, or "
                "delete the folder here and beside it"
            )
        targets += [label] * (len(names) - before)
    files = Files(place, np.array(names, dtype=np.bytes_), np.array(sizes, dtype=np.int64))
    return _Listed(place, tuple(classes), files, torch.tensor(targets))


def _images(folder: Path, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[Path, int]]:
    """Images at any depth, and their sizes in bytes; `above` identifies the folders it lies in."""
    try:
        status = folder.stat()
    except OSError as problem:
        raise _unreadable(folder, problem) from problem
    if (here := (status.st_dev, status.st_ino)) in above:
        raise DataError(f"{folder} is a link to a folder that it lies in, which has no end; delete the link")
    for entry in _entries(folder):
        if _is_folder(entry):
            yield from _images(Path(entry.path), (*above, here))
        elif entry.name.lower().endswith(ENDINGS):
            try:
                yield Path(entry.path), entry.stat().st_size
            except OSError as problem:  # a link to nothing
                raise _unreadable(Path(entry.path), problem) from problem


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as problem:  # a link to itself
        raise _unreadable(Path(entry.path), problem) from problem


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What a folder has; names with a dot in front are other programs' own."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as problem:
        raise _unreadable(folder, problem) from problem


def _unreadable(path: Path, problem: OSError) -> DataError:
    return DataError(f"cannot read {path} ({problem.strerror or problem}); mend or delete it")


def _check_classes(train: _Listed, test: _Listed) -> None:
    for one, other in ((train, test), (test, train)):
        lacking = sorted(set(one.classes) - set(other.classes))
        if lacking:
            raise DataError(
                f"the classes of {train.place} and {test.place} must be the same, but {other.place} lacks "
                f"{_some(lacking)}; they are told by their folders' names"
            )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return ", ".join(names[:_TOLD]) + more
