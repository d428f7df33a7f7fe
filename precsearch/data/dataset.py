"""Images and labels in memory: splits, a data set, and batches of a split."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)  # compared by identity: tensors have no one equality
class Split:
    """One part of a data set.

    Attributes:
        inputs: [N, ...] float32.
        targets: [N] int64, class indices from 0.
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return int(self.targets.shape[0])

    def first(self, count: int) -> Split:
        """The first `count` images, sharing memory."""
        return Split(self.inputs[:count], self.targets[:count])

    def select(self, indices: Tensor) -> Split:
        """The images at `indices` ([M] int64), copied."""
        indices = indices.to(self.inputs.device)
        return Split(self.inputs.index_select(0, indices), self.targets.index_select(0, indices))

    def to(self, device: torch.device | str) -> Split:
        """The split on `device`; itself where it is there already."""
        inputs, targets = self.inputs.to(device), self.targets.to(device)
        return self if inputs is self.inputs and targets is self.targets else Split(inputs, targets)


@dataclass(frozen=True, eq=False)
class DataSet:
    """Everything one experiment learns from and is measured on; shared between trials, so never written to.

    Attributes:
        name: of the data set.
        train: what weights (and logits) learn from; in random order, classes mixed.
        validation: what objectives see.
        test: read once, for the report.
        classes: how many there are; targets lie in [0, classes).
        checksum: first 16 hex digits of SHA-256 over the tensors' bytes; computed where not given.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: int
    checksum: str = ""

    def __post_init__(self) -> None:
        if not self.checksum:
            object.__setattr__(self, "checksum", _checksum(self.train, self.validation, self.test))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, such as (1, 28, 28)."""
        return tuple(self.train.inputs.shape[1:])

    def limited(self, count: int) -> DataSet:
        """The same with only the first `count` training images; itself where there are no more than that."""
        if count >= len(self.train):
            return self
        return replace(self, train=self.train.first(count), checksum="")

    def to(self, device: torch.device | str) -> DataSet:
        """The data set on `device`; itself where it is there already."""
        train, validation, test = (split.to(device) for split in (self.train, self.validation, self.test))
        if train is self.train and validation is self.validation and test is self.test:
            return self
        return replace(self, train=train, validation=validation, test=test)


class Batches:
    """One split in batches, as often as it is iterated; no worker processes, since all of it is in memory.

    The last batch may be smaller, but is never a single image where a larger one is possible (BatchNorm
    cannot train on one): a single image left over joins the batch before it.

    Args:
        split: what to go through.
        batch_size: images a batch, >= 1.
        generator: shuffles: each iteration draws one permutation from it. In order where None.

    Raises:
        ValueError: `batch_size` < 1.
    """

    def __init__(self, split: Split, batch_size: int, generator: torch.Generator | None = None) -> None:
        if batch_size < 1:
            raise ValueError(f"`batch_size >= 1` must hold, but got {batch_size}")
        self.split = split
        self.batch_size = batch_size
        self.generator = generator

    def __len__(self) -> int:
        return len(self._starts())

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches (inputs [B, ...] float32, targets [B] int64) of one epoch."""
        order = None
        if self.generator is not None:  # drawn here, not at the first batch: what a checkpoint holds is plain
            order = torch.randperm(len(self.split), generator=self.generator, device=self.generator.device)
            order = order.to(self.split.inputs.device)
        return self._epoch(order)

    def to(self, device: torch.device | str) -> Batches:
        """The same batches with the split on `device`; the generator is shared and stays where it is."""
        return Batches(self.split.to(device), self.batch_size, self.generator)

    def _epoch(self, order: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
        starts = self._starts()
        for start, end in zip(starts, [*starts[1:], len(self.split)], strict=True):
            if order is None:
                yield self.split.inputs[start:end], self.split.targets[start:end]
            else:
                batch = self.split.select(order[start:end])
                yield batch.inputs, batch.targets

    def _starts(self) -> list[int]:
        starts = list(range(0, len(self.split), self.batch_size))
        if len(starts) > 1 and self.batch_size > 1 and starts[-1] == len(self.split) - 1:
            starts.pop()
        return starts


def _checksum(*splits: Split) -> str:
    digest = hashlib.sha256()
    for split in splits:
        for tensor in (split.inputs, split.targets):
            digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]
