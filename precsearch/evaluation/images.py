"""The images that a network is measured on, and what values they may take."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from precsearch.data import OF_PIXELS, Batches, DataSet
from precsearch.data.dataset import BaseSplit, Split
from precsearch.data.files import FileSplit
from precsearch.data.look import Look

_BATCH = 1000
_PICTURES = 4  # dimensions of a batch of them


@dataclass(frozen=True, eq=False)
class InputRange:
    """What inputs span: perturbations are told in parts of it, as if inputs lay from 0 to 1.

    Attributes:
        low: lowest value of each channel, float32 [C, 1, 1], or one for all, [].
        high: highest, likewise; at least `low`.
    """

    low: Tensor
    high: Tensor

    @property
    def span(self) -> Tensor:
        """How far the values reach from low to high."""
        return self.high - self.low

    def to(self, device: torch.device | str) -> InputRange:
        """The same on `device`."""
        return replace(self, low=self.low.to(device), high=self.high.to(device))


@dataclass(frozen=True, eq=False)
class Images:
    """Some images of a split, as a network takes them.

    Attributes:
        inputs: [N, ...] float32.
        targets: [N] int64.
        range: what values the inputs may take, on their device.
    """

    inputs: Tensor
    targets: Tensor
    range: InputRange

    @classmethod
    def of(cls, split: BaseSplit, count: int, range: InputRange) -> Images:
        """The first `count` images of `split`, or all where it has fewer."""
        batches = list(Batches(split.first(min(count, len(split))), _BATCH))
        inputs, targets = (torch.cat(parts) for parts in zip(*batches, strict=True))
        return cls(inputs, targets, range.to(inputs.device))

    def __len__(self) -> int:
        return len(self.targets)

    def first(self, count: int) -> Images:
        """The first `count`, sharing memory."""
        return self.take(slice(count))

    def take(self, part: slice | Tensor) -> Images:
        """Those of a range, or at indices ([M] int64)."""
        return replace(self, inputs=self.inputs[part], targets=self.targets[part])


def input_range(data: DataSet) -> InputRange:
    """What the inputs of a data set span.

    Known where they come from pixels, normalized or not. Of arrays and the user's own data it is taken from the
    training images: their smallest and largest value, by channel for pictures [N, C, H, W], else one of all features.
    """
    look = _look(data)
    if look is None:
        return _measured(data.train)
    black, white = (torch.full((1, _channels(look), 1, 1), level, dtype=torch.uint8) for level in (0, 255))
    low, high = (look.inputs(pixels)[0] for pixels in (black, white))
    return InputRange(low, high)


def _look(data: DataSet) -> Look | None:
    """How pixels became the inputs of `data`; None where nothing is known of it."""
    train = data.train
    if isinstance(train, FileSplit) or (isinstance(train, Split) and train.inputs.dtype == torch.uint8):
        return train.look
    return Look() if data.name in OF_PIXELS else None


def _channels(look: Look) -> int:
    return max(1, len(look.mean))


def _measured(split: BaseSplit) -> InputRange:
    lows, highs = [], []
    for inputs, _ in Batches(split, _BATCH):
        of = inputs.transpose(0, 1).flatten(1) if inputs.ndim == _PICTURES else inputs.reshape(1, -1)
        lows.append(of.amin(1))
        highs.append(of.amax(1))
    low, high = torch.stack(lows).amin(0), torch.stack(highs).amax(0)
    shape = (-1, 1, 1) if len(split.shape) == _PICTURES - 1 else ()
    return InputRange(low.reshape(shape), high.reshape(shape))
