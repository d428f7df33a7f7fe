"""How pixels become a network's inputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_BRIGHTEST = 255.0


@dataclass(frozen=True)
class Look:
    """Scaling of pixels.

    Attributes:
        mean: of each channel, in units of the brightest pixel, subtracted; nothing is where empty.
        std: of each channel, divided by.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def inputs(self, pixels: Tensor) -> Tensor:
        """Inputs float32 of `pixels` [B, C, H, W] uint8: in [0, 1] unless normalized; float inputs as they are."""
        if pixels.dtype != torch.uint8:
            return pixels
        # To [0, 1] and no further: inputs without a sign need no sign bit when they are quantized.
        inputs = pixels.to(torch.float32).div_(_BRIGHTEST)
        if not self.mean:
            return inputs
        mean, std = (inputs.new_tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return inputs.sub_(mean).div_(std)
