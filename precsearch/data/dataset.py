"""Splits and data sets: images and labels, in memory here, or read from files by a split of another kind."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor

from precsearch.data.augment import Varied
from precsearch.data.look import Look

Part = slice | Tensor
"""Which images a batch has: a range, or indices ([B] int64)."""


class BaseSplit(ABC):
    """One part of a data set, wherever its images are.

    Attributes:
        targets: [N] int64, class indices from 0.
    """

    targets: Tensor

    def __len__(self) -> int:
        return int(self.targets.shape[0])

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Of one input, such as (1, 28, 28)."""

    @abstractmethod
    def first(self, count: int) -> Self:
        """The first `count` images, sharing memory."""

    @abstractmethod
    def select(self, indices: Tensor) -> Self:
        """The images at `indices` ([M] int64)."""

    @abstractmethod
    def to(self, device: torch.device | str) -> Self:
        """The split with its batches on `device`; itself where they are there already."""

    @abstractmethod
    def read(self, parts: Sequence[Part], varied: Varied | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """One batch a part: inputs [B, ...] float32 and targets [B] int64.

        Args:
            parts: what to read, in this order.
            varied: how training images are varied; by nothing where None.
        """

    @abstractmethod
    def sign(self, digest: Any) -> None:
        """Feed what tells this split from others to a hash."""


@dataclass(frozen=True, eq=False)  # compared by identity: tensors have no one equality
class Split(BaseSplit):
    """One part of a data set, in memory.

    Attributes:
        inputs: [N, ...] float32, or pixels [N, C, H, W] uint8.
        targets: [N] int64, class indices from 0.
        look: how pixels become inputs; not used for inputs that are float32 already.
    """

    inputs: Tensor
    targets: Tensor
    look: Look = field(default_factory=Look)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input, such as (1, 28, 28)."""
        return tuple(self.inputs.shape[1:])

    def first(self, count: int) -> Split:
        """The first `count` images, sharing memory."""
        return replace(self, inputs=self.inputs[:count], targets=self.targets[:count])

    def select(self, indices: Tensor) -> Split:
        """The images at `indices` ([M] int64), copied."""
        indices = indices.to(self.inputs.device)
        inputs, targets = self.inputs.index_select(0, indices), self.targets.index_select(0, indices)
        return replace(self, inputs=inputs, targets=targets)

    def to(self, device: torch.device | str) -> Split:
        """The split on `device`; itself where it is there already."""
        inputs, targets = self.inputs.to(device), self.targets.to(device)
        same = inputs is self.inputs and targets is self.targets
        return self if same else replace(self, inputs=inputs, targets=targets)

    def read(self, parts: Sequence[Part], varied: Varied | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """One batch a part: inputs [B, ...] float32 and targets [B] int64."""
        for part in parts:
            if isinstance(part, slice):
                inputs, targets = self.inputs[part], self.targets[part]
            else:
                batch = self.select(part)
                inputs, targets = batch.inputs, batch.targets
            if varied is not None:
                inputs = varied.pixels(inputs, part)
            yield self.look.inputs(inputs), targets

    def sign(self, digest: Any) -> None:
        """Feed the tensors' bytes to a hash."""
        for tensor in (self.inputs, self.targets):
            digest.update(tensor.detach().cpu().contiguous().numpy().data)
        if self.inputs.dtype == torch.uint8:
            digest.update(repr((self.look.mean, self.look.std)).encode())


@dataclass(frozen=True, eq=False)
class DataSet:
    """Everything one experiment learns from and is measured on; shared between trials, so never written to.

    Attributes:
        name: of the data set.
        train: what weights (and logits) learn from; in random order, classes mixed.
        validation: what objectives see.
        test: read once, for the report.
        classes: how many there are; targets lie in [0, classes).
        checksum: first 16 hex digits of SHA-256; computed where not given: over the tensors' bytes of what is in
            memory; over the sorted paths and the sizes of files that are read one by one, not over what they hold.
    """

    name: str
    train: BaseSplit
    validation: BaseSplit
    test: BaseSplit
    classes: int
    checksum: str = ""

    def __post_init__(self) -> None:
        if not self.checksum:
            object.__setattr__(self, "checksum", _checksum(self.train, self.validation, self.test))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, such as (1, 28, 28)."""
        return self.train.shape

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


def _checksum(*splits: BaseSplit) -> str:
    digest = hashlib.sha256()
    for split in splits:
        split.sign(digest)
    return digest.hexdigest()[:16]
