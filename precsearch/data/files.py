"""A split whose images are read from their files, batch by batch, or all at once into memory."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from precsearch.data.augment import Varied
from precsearch.data.dataset import BaseSplit, Part, Split
from precsearch.data.look import Look
from precsearch.data.pictures import CHANNELS, Fit
from precsearch.errors import DataError

_READ = 250  # images at a time, on their way into memory


@dataclass(frozen=True, eq=False)
class Files:
    """Files below one folder, kept as bytes: a million paths as Python objects would be copied by every worker.

    Attributes:
        root: the folder.
        names: [M] bytes, paths below it.
        sizes: [M] int64, bytes.
    """

    root: Path
    names: NDArray[np.bytes_]
    sizes: NDArray[np.int64]

    def path(self, row: int) -> Path:
        """Of one file."""
        return self.root / os.fsdecode(bytes(self.names[row]))


@dataclass(frozen=True, eq=False)
class FileSplit(BaseSplit):
    """One part of a data set, in files; same interface as `Split`.

    Attributes:
        files: of the whole folder.
        rows: [N] int64, which of them are the images.
        targets: [N] int64, class indices from 0.
        size: height and width of every image, pixels.
        like: path of the image that the size was taken from.
        fit: how pictures are brought to it.
        look: how pixels become inputs.
        workers: processes that read ahead; 0 reads in this one.
        device: of the batches.
    """

    files: Files
    rows: Tensor
    targets: Tensor
    size: tuple[int, int]
    like: Path
    fit: Fit = field(default_factory=Fit)
    look: Look = field(default_factory=Look)
    workers: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input: (3, height, width)."""
        return (CHANNELS, *self.size)

    def first(self, count: int) -> FileSplit:
        """The first `count` images."""
        return replace(self, rows=self.rows[:count], targets=self.targets[:count])

    def select(self, indices: Tensor) -> FileSplit:
        """The images at `indices` ([M] int64); nothing is read."""
        indices = indices.to(self.rows.device)
        return replace(self, rows=self.rows[indices], targets=self.targets[indices])

    def to(self, device: torch.device | str) -> FileSplit:
        """The split with its batches on `device`."""
        return self if torch.device(device) == self.device else replace(self, device=torch.device(device))

    def read(self, parts: Sequence[Part], varied: Varied | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """One batch a part: inputs [B, 3, H, W] float32 and targets [B] int64.

        Raises:
            DataError: a file cannot be read, is no picture, or has another size; names it.
        """
        for part, read in zip(parts, self._pixels(parts, varied), strict=True):
            pixels = read.to(self.device)
            if varied is not None:
                pixels = varied.pixels(pixels, part)
            yield self.look.inputs(pixels), self.targets[part].to(self.device)

    def in_memory(self) -> Split:
        """The same, decoded: 1 byte a value.

        Raises:
            DataError: as `read`.
        """
        inputs = torch.empty((len(self), *self.shape), dtype=torch.uint8)
        parts: list[Part] = [slice(start, start + _READ) for start in range(0, len(self), _READ)]
        for part, pixels in zip(parts, self._pixels(parts, None), strict=True):
            inputs[part] = pixels
        return Split(inputs, self.targets, self.look)

    def sign(self, digest: Any) -> None:
        """Feed the sorted paths, the files' sizes, the classes, and what is made of the files to a hash."""
        rows = self.rows.numpy()
        names = self.files.names[rows]
        order = np.argsort(names)
        digest.update(b"\0".join(names[order].tolist()))
        for values in (self.files.sizes[rows][order], self.targets.numpy()[order]):
            digest.update(np.ascontiguousarray(values, dtype="<i8").data)
        digest.update(repr((self.size, self.fit, self.look)).encode())

    def _pixels(self, parts: Sequence[Part], varied: Varied | None) -> Iterator[Tensor]:
        workers = self.workers if len(parts) > 1 else 0
        with warnings.catch_warnings():
            # who asks for more workers than processors may be waiting for a network's disk
            warnings.filterwarnings("ignore", message=r".*worker processes in total")
            loader: DataLoader[Any] = DataLoader(
                _Reading(self, varied),
                batch_size=None,  # an entry of `sampler` is a whole batch
                sampler=parts,
                num_workers=workers,
                worker_init_fn=_begin_worker if workers else None,
                # forked, whatever Python's default is: one that starts anew imports torch and the user's script
                multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
                generator=torch.Generator(),  # or each epoch would take a number from the trial's own
            )
            # newer Pythons warn of every fork beside threads; these workers touch nothing that threads hold
            warnings.filterwarnings("ignore", message=r".*is multi-threaded, use of fork", category=DeprecationWarning)
            batches: Any = iter(loader)
        try:
            while True:
                try:
                    batch = next(batches)
                except StopIteration:
                    return
                except RuntimeError as problem:  # torch tells by it that a worker died
                    raise RuntimeError(
                        f"a process that reads images from {self.files.root} ended ({problem}); fewer `data.workers` "
                        "or a smaller `data.batch_size` need less memory, and in a container `--shm-size` gives more"
                    ) from problem
                if isinstance(batch, str):
                    raise DataError(batch)
                yield batch
        finally:
            # at once: a traceback that somebody keeps would keep the iterator, and with it the workers
            if workers:
                batches._shutdown_workers()


class _Reading(Dataset[Any]):
    """Batches of pixels by part; a file that cannot be read as its error's text, which torch would reword."""

    def __init__(self, split: FileSplit, varied: Varied | None) -> None:
        self.split = split
        self.varied = varied

    def __getitem__(self, part: Part) -> Tensor | str:
        try:
            return self._read(part)
        except DataError as problem:
            return str(problem)

    def _read(self, part: Part) -> Tensor:
        split = self.split
        indices = range(*part.indices(len(split))) if isinstance(part, slice) else part.tolist()
        pixels = torch.empty((len(indices), *split.shape), dtype=torch.uint8)
        for place, index in enumerate(indices):
            path = split.files.path(int(split.rows[index]))
            image = split.fit.pixels(path, self.varied, index)
            if tuple(image.shape) != split.shape:
                raise mixed_sizes(path, image, split)
            pixels[place] = image
        return pixels


def mixed_sizes(path: Path, image: Tensor, split: FileSplit) -> DataError:
    """What is wrong where an image has another size than the first of its split's folder."""
    height, width = image.shape[1:]
    return DataError(
        f"images of one size must hold, but {split.like} has {split.size[1]} x {split.size[0]} pixels and "
        f"{path} has {width} x {height}; add a size that all are brought to, such as `--set data.image_size=32`"
    )


def _begin_worker(_number: int) -> None:
    # Ctrl-C reaches every process of the terminal: the trial's own decides what becomes of its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not what a Ray worker does at it, which a fork takes over
