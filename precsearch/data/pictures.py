"""One picture from its file: decoded, made RGB, and brought to a size."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from precsearch.data.augment import Varied
from precsearch.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

CHANNELS = 3
_WIDE = ("I", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow's names of grey images of 16 bits
_HIGH_BYTE = 8


@dataclass(frozen=True)
class Fit:
    """How pictures are brought to one size.

    Attributes:
        size: pixels a side; each picture as it is where None.
        share: of the shorter side that the square in the middle takes, 0 to 1.
    """

    size: int | None = None
    share: float = 1.0

    def pixels(self, path: Path, varied: Varied | None = None, index: int = 0) -> Tensor:
        """The picture in a file -> [3, H, W] uint8.

        Args:
            path: of the file.
            varied: how training images are varied.
            index: of the image in the split, which tells its draw.

        Raises:
            DataError: the file is no picture, or cannot be read; names it.
        """
        picture = open_picture(path)
        box = None
        if varied is not None:
            box = varied.how.box(picture.height, picture.width, int(varied.draws[index]))
        if box is not None and self.size is not None:
            top, left, height, width = box
            picture = self._scaled(picture, (left, top, left + width, top + height))
        elif self.size is not None:
            side = min(picture.width, picture.height) * self.share
            x, y = (picture.width - side) / 2, (picture.height - side) / 2
            if (picture.width, picture.height, side) != (self.size, self.size, self.size):
                picture = self._scaled(picture, (x, y, x + side, y + side))
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()

    def _scaled(self, picture: Image, box: tuple[float, float, float, float]) -> Image:
        from PIL import Image

        size = self.size or 0
        # averages over the pixels that become one, as torchvision's antialiased resize does
        return picture.resize((size, size), Image.Resampling.BILINEAR, box=box)


def open_picture(path: Path) -> Image:
    """The picture in a file as 8-bit RGB; transparency is dropped, 16 bits of grey become their higher 8.

    Raises:
        DataError: as `Fit.pixels`.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # of metadata and palettes that look odd; a picture that cannot be decoded is an error below
            warnings.simplefilter("ignore")
            # whole at once: a decoder reads a few bytes at a time
            with Image.open(io.BytesIO(path.read_bytes())) as picture:
                return _rgb(picture)
    except FileNotFoundError as problem:
        raise DataError(f"{path} is gone: it was there when the folder was listed; put it back, or start again") from (
            problem
        )
    except PermissionError as problem:
        raise DataError(f"cannot read {path} (permission denied); change its permissions") from problem
    except DataError:
        raise
    except Exception as problem:  # damaged bytes make a decoder raise whatever it meets
        told = f"{type(problem).__name__}: {' '.join(str(problem).split())}"
        told = "of no known format" if isinstance(problem, UnidentifiedImageError) else told
        raise DataError(
            f"{path} is no picture that can be decoded ({told}): "
            "damaged, cut short, or something else under an image's name; replace or delete it"
        ) from problem


def _rgb(picture: Image) -> Image:
    from PIL import Image

    if picture.mode in _WIDE:
        values: Any = np.asarray(picture)
        return Image.fromarray((values.astype(np.int64) >> _HIGH_BYTE).clip(0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode == "F":
        raise ValueError("its pixels are floating-point numbers; save it with 8 or 16 bits")
    if "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return picture.convert("RGB")
