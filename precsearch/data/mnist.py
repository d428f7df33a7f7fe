"""MNIST: 60,000 + 10,000 handwritten digits of 28 x 28, through torchvision."""

from __future__ import annotations

import contextlib
import importlib
import socket
import sys
import tempfile
import zlib
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from precsearch.data.checks import check_labels
from precsearch.data.dataset import DataSet, Split
from precsearch.data.splits import hold_out
from precsearch.errors import DataError
from precsearch.experiment import DataSettings
from precsearch.torchvision_import import import_torchvision

_KINDS = ("images-idx3-ubyte", "labels-idx1-ubyte")
_FILES = tuple(f"{part}-{kind}" for part in ("train", "t10k") for kind in _KINDS)
_SIZE = (28, 28)
_CLASSES = 10
_BRIGHTEST = 255.0
_SILENCE = 30.0  # seconds without an answer after which a download counts as failed
_REMEDIES = (
    "Use a folder that has them with `--set data.root=DIR`, or the bundled digits, which need no files: "
    "`precsearch run search_spaces/digits.yaml`"
)


def load_mnist(settings: DataSettings) -> DataSet:
    """Load MNIST from ``ROOT/MNIST/raw``; downloaded where it is missing and `settings.download` allows.

    Args:
        settings: `root`, `download` and `validation` are used.

    Returns:
        Inputs [N, 1, 28, 28] in [0, 1]; 10 classes; validation images from the 60,000, stratified.

    Raises:
        DataError: files are missing and cannot be fetched, or one is unreadable or not what it should be.
    """
    root = Path(settings.root).expanduser().absolute()
    if _missing(root):
        if not settings.download:
            raise DataError(f"{_not_found(root)}, and `data.download` is false. {_REMEDIES}")
        _download(root)
    raw = root / "MNIST" / "raw"
    train, validation = hold_out(_read(raw, "train"), settings.validation)
    return DataSet("mnist", _scaled(train), _scaled(validation), _scaled(_read(raw, "t10k")), _CLASSES)


def _scaled(split: Split) -> Split:
    # To [0, 1] and no further: inputs without a sign need no sign bit when they are quantized, which
    # subtracting a mean would cost them.
    return Split(split.inputs.to(torch.float32).div_(_BRIGHTEST).unsqueeze(1), split.targets)


def _missing(root: Path) -> list[str]:
    missing = []
    for name in _FILES:
        try:
            (root / "MNIST" / "raw" / name).stat()  # exists() calls a forbidden folder an empty one
        except (FileNotFoundError, NotADirectoryError):
            missing.append(name)
        except OSError as problem:
            raise DataError(f"cannot read the MNIST folder {root} ({problem}). {_REMEDIES}") from problem
    return missing


def _not_found(root: Path) -> str:
    missing = _missing(root)
    return f"no MNIST in {root / 'MNIST' / 'raw'} (missing: {', '.join(missing)})"


def _download(root: Path) -> None:
    """Fetch into a temporary folder and move whole files in: nothing half-written stays, workers may race."""
    mnist = import_torchvision().datasets.MNIST
    try:
        with _folder(root), tempfile.TemporaryDirectory(prefix=".download-", dir=root) as folder, _quiet():
            mnist(folder, train=True, download=True)
            raw = root / "MNIST" / "raw"
            raw.mkdir(parents=True, exist_ok=True)
            for name in _FILES:
                (Path(folder) / "MNIST" / "raw" / name).replace(raw / name)
    except (RuntimeError, OSError, HTTPException, EOFError, zlib.error) as problem:
        told = " ".join(str(problem).split()) or type(problem).__name__
        raise DataError(f"{_not_found(root)}, and the download failed: {told}. {_REMEDIES}") from problem


@contextlib.contextmanager
def _folder(root: Path) -> Iterator[None]:
    """Make `root`, and take away again what of it was made, where nothing came to lie in it."""
    made = [folder for folder in (root, *root.parents) if not folder.exists()]
    root.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep stdout for ``--json``, and a silent network from holding the trial for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SILENCE)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        socket.setdefaulttimeout(before)


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
        raise DataError(f"cannot read {file} ({problem.strerror or problem}). {_REMEDIES}") from problem
    except (AssertionError, KeyError, RuntimeError, TypeError, ValueError, OverflowError) as problem:
        raise DataError(
            f"{file} is not a whole IDX file ({type(problem).__name__}: {problem}): damaged or cut short; "
            f"delete it, and it is fetched again. {_REMEDIES}"
        ) from problem
    return tensor
