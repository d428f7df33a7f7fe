"""Varying training images: a registry of names.

What is done to an image depends on one whole number drawn for it, and on nothing else: not on the batch it is
in, nor on who reads it. So a resumed trial sees what an uninterrupted one does, with any number of workers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from precsearch.errors import ConfigurationError

_HIGHEST = 2**62
_PAD = 8  # one part in so many of the side: 4 pixels of 32
_BITS = 20  # of a draw, for each number made of it
_TRIES = 10
_IMAGES = 4
_AREA = (0.08, 1.0)
_RATIO = (math.log(3 / 4), math.log(4 / 3))

Box = tuple[int, int, int, int]
"""Top, left, height and width of a part of a picture, in pixels."""


class Augmentation(Protocol):
    """One way to vary images."""

    def box(self, height: int, width: int, draw: int) -> Box | None:
        """What part of a whole picture is taken; None for what all other images are taken of."""

    def pixels(self, pixels: Tensor, draws: Tensor) -> Tensor:
        """Vary a batch [B, C, H, W], of any dtype, by one draw an image ([B] int64) -> the same shape."""


class CropFlip:
    """For small images: black around them, a random crop of their size, mirrored half of the time."""

    def box(self, height: int, width: int, draw: int) -> Box | None:
        """None: cropped are the images as they are stored."""
        return None

    def pixels(self, pixels: Tensor, draws: Tensor) -> Tensor:
        """Shift each image by up to 1/8 of its side, and mirror half of them."""
        count, channels, height, width = pixels.shape
        down, right = max(1, height // _PAD), max(1, width // _PAD)
        padded = torch.nn.functional.pad(pixels, (right, right, down, down))
        tops = _share(draws, 0) % (2 * down + 1)
        lefts = _share(draws, 1) % (2 * right + 1)
        rows = tops[:, None] + torch.arange(height, device=pixels.device)
        columns = lefts[:, None] + torch.arange(width, device=pixels.device)
        columns = torch.where((_share(draws, 2) % 2 == 1)[:, None], columns.flip(1), columns)
        images = torch.arange(count, device=pixels.device)[:, None, None, None]
        planes = torch.arange(channels, device=pixels.device)[None, :, None, None]
        varied: Tensor = padded[images, planes, rows[:, None, :, None], columns[:, None, None, :]]
        return varied


class RandomResizedCrop:
    """For photographs: a part of 8 to 100 % of the area, 3:4 to 4:3, mirrored half of the time."""

    def box(self, height: int, width: int, draw: int) -> Box | None:
        """A part drawn as torchvision's RandomResizedCrop does; the middle where none fits."""
        numbers = torch.rand(_TRIES, 4, generator=torch.Generator().manual_seed(draw), dtype=torch.float64).tolist()
        for area, ratio, top, left in numbers:
            target = height * width * (_AREA[0] + (_AREA[1] - _AREA[0]) * area)
            aspect = math.exp(_RATIO[0] + (_RATIO[1] - _RATIO[0]) * ratio)
            w, h = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
            if 0 < w <= width and 0 < h <= height:
                return int(top * (height - h + 1)), int(left * (width - w + 1)), h, w
        narrow = min(max(width / height, math.exp(_RATIO[0])), math.exp(_RATIO[1]))
        w, h = min(width, round(height * narrow)), min(height, round(width / narrow))
        return (height - h) // 2, (width - w) // 2, h, w

    def pixels(self, pixels: Tensor, draws: Tensor) -> Tensor:
        """Mirror half of the images."""
        mirrored = (_share(draws, 2) % 2 == 1)[:, None, None, None]
        return torch.where(mirrored, pixels.flip(3), pixels)


AUGMENTATIONS: dict[str, Augmentation | None] = {
    "none": None,
    "crop-flip": CropFlip(),
    "random-resized-crop": RandomResizedCrop(),
}


@dataclass(frozen=True, eq=False)
class Varied:
    """An augmentation for one epoch.

    Attributes:
        how: the augmentation.
        draws: [N] int64, one an image of the split.
    """

    how: Augmentation
    draws: Tensor

    @classmethod
    def drawn(cls, how: Augmentation, count: int, generator: torch.Generator) -> Varied:
        """For an epoch over `count` images; takes one number from `generator`, whatever `count` is."""
        seed = int(torch.randint(_HIGHEST, (), generator=generator, device=generator.device))
        return cls(how, torch.randint(_HIGHEST, (count,), generator=torch.Generator().manual_seed(seed)))

    def pixels(self, pixels: Tensor, part: slice | Tensor) -> Tensor:
        """Vary the images of one part of the split.

        Raises:
            ConfigurationError: they are no images.
        """
        if pixels.ndim != _IMAGES:
            raise ConfigurationError(
                f"`data.augment` needs images [N, channels, height, width], but got {list(pixels.shape)}; "
                "set `data.augment: none`"
            )
        part = part if isinstance(part, slice) else part.to(self.draws.device)
        return self.how.pixels(pixels, self.draws[part].to(pixels.device))


def _share(draws: Tensor, place: int) -> Tensor:
    return torch.bitwise_and(draws >> (place * _BITS), 2**_BITS - 1)
