"""One split in batches, in or out of order."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from precsearch.data.augment import Augmentation, Varied
from precsearch.data.dataset import BaseSplit, Part


class Batches:
    """One split in batches, as often as it is iterated.

    The last batch may be smaller, but is never a single image where a larger one is possible (BatchNorm
    cannot train on one): a single image left over joins the batch before it.

    Args:
        split: what to go through; one that is not in memory reads ahead, with worker processes of its own that
            end with the iteration.
        batch_size: images a batch, >= 1.
        generator: shuffles: each iteration draws one permutation from it. In order where None.
        augmentation: varies the images; each iteration draws one number more. Needs a generator.

    Raises:
        ValueError: `batch_size` < 1, or an augmentation without a generator.
    """

    def __init__(
        self,
        split: BaseSplit,
        batch_size: int,
        generator: torch.Generator | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"`batch_size >= 1` must hold, but got {batch_size}")
        if augmentation is not None and generator is None:
            raise ValueError("a generator must be given with an augmentation, but got None")
        self.split = split
        self.batch_size = batch_size
        self.generator = generator
        self.augmentation = augmentation

    def __len__(self) -> int:
        return len(self._starts())

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches (inputs [B, ...] float32, targets [B] int64) of one epoch."""
        order = varied = None
        if self.generator is not None:  # drawn here, not at the first batch: what a checkpoint holds is plain
            order = torch.randperm(len(self.split), generator=self.generator, device=self.generator.device)
            order = order.to(self.split.targets.device)
            if self.augmentation is not None:
                varied = Varied.drawn(self.augmentation, len(self.split), self.generator)
        return self.split.read(self._parts(order), varied)

    def plain(self) -> Batches:
        """The same batches of images as they are; the generator is shared."""
        return Batches(self.split, self.batch_size, self.generator)

    def to(self, device: torch.device | str) -> Batches:
        """The same batches with the split on `device`; the generator is shared and stays where it is."""
        return Batches(self.split.to(device), self.batch_size, self.generator, self.augmentation)

    def _parts(self, order: Tensor | None) -> list[Part]:
        starts = self._starts()
        ranges = [slice(*ends) for ends in zip(starts, [*starts[1:], len(self.split)], strict=True)]
        return [*ranges] if order is None else [order[each] for each in ranges]

    def _starts(self) -> list[int]:
        starts = list(range(0, len(self.split), self.batch_size))
        if len(starts) > 1 and self.batch_size > 1 and starts[-1] == len(self.split) - 1:
            starts.pop()
        return starts
