"""Changes of images that know nothing of the network, at five severities.

After Hendrycks and Dietterich 2019 (arXiv:1903.12261, ImageNet-C and CIFAR-10-C) and Mu and Gilmer 2019
(arXiv:1906.02337, MNIST-C), with strengths that fit images of any size: lengths are parts of a side. What is random is
drawn alike at every severity, so that a higher one is the same change, only stronger.

Legend: N images, C channels, H and W their height and width; values from 0 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from precsearch.data.dataset import Split
from precsearch.errors import ConfigurationError
from precsearch.evaluation.accuracy import measure
from precsearch.evaluation.images import Images
from precsearch.evaluation.randomness import stream
from precsearch.measured import Corruption

_IMAGE: Final = 3  # dimensions of one
_REACH: Final = 3  # standard deviations that a Gaussian window reaches
_GREY: Final = 0.5


@dataclass(frozen=True)
class Corruptor:
    """One kind of change.

    Attributes:
        change: of images [N, C, H, W], by a strength, with a generator for what is random; may leave [0, 1].
        strengths: of the severities from 1.
    """

    change: Callable[[Tensor, float, torch.Generator], Tensor]
    strengths: tuple[float, ...]


def _gaussian_noise(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    return x + strength * torch.randn(x.shape, generator=generator).to(x)


def _impulse_noise(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    hit = torch.rand(x.shape, generator=generator).to(x.device) < strength
    white = torch.rand(x.shape, generator=generator).to(x.device) < _GREY
    return torch.where(hit, white.to(x), x)


def _blur(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    deviation = strength * min(x.shape[2:])
    reach = max(1, math.ceil(_REACH * deviation))
    window = torch.exp(-torch.arange(-reach, reach + 1, device=x.device).square() / (2 * deviation**2)).to(x)
    window = (window / window.sum()).expand(x.shape[1], 1, 1, -1)
    padded = nn.functional.pad(x, (reach, reach, reach, reach), mode="replicate")
    rows = nn.functional.conv2d(padded, window, groups=x.shape[1])
    return nn.functional.conv2d(rows, window.transpose(2, 3), groups=x.shape[1])


def _contrast(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (1 - strength) * (x - mean)


def _brightness(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    return x + strength


def _translation(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    angle = 2 * math.pi * torch.rand(len(x), generator=generator)
    theta = torch.eye(2, 3).repeat(len(x), 1, 1)
    theta[:, :, 2] = 2 * strength * torch.stack([angle.cos(), angle.sin()], 1)  # the whole side is 2
    grid = nn.functional.affine_grid(theta.to(x), list(x.shape), align_corners=False)
    return nn.functional.grid_sample(x, grid, align_corners=False)


def _occlusion(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    inside = []
    for dim, side in enumerate(x.shape[2:]):
        size = max(1, round(strength * side))
        begin = (torch.rand(len(x), generator=generator) * (side - size)).round().unsqueeze(1)
        place = torch.arange(side)
        shape = (len(x), 1, 1, side) if dim else (len(x), 1, side, 1)
        inside.append(((place >= begin) & (place < begin + size)).reshape(shape).to(x.device))
    return torch.where(inside[0] & inside[1], _GREY, x)


CORRUPTORS: Final[dict[str, Corruptor]] = {
    "gaussian_noise": Corruptor(_gaussian_noise, (0.08, 0.12, 0.18, 0.26, 0.38)),  # standard deviation
    "impulse_noise": Corruptor(_impulse_noise, (0.03, 0.06, 0.09, 0.17, 0.27)),  # share of the values
    "blur": Corruptor(_blur, (0.015, 0.025, 0.035, 0.05, 0.07)),  # standard deviation, parts of the shorter side
    "contrast": Corruptor(_contrast, (0.25, 0.5, 0.6, 0.7, 0.85)),  # share of it that is lost
    "brightness": Corruptor(_brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),  # what is added
    "translation": Corruptor(_translation, (0.04, 0.08, 0.12, 0.16, 0.2)),  # way, parts of the sides; black comes in
    "occlusion": Corruptor(_occlusion, (0.2, 0.3, 0.4, 0.5, 0.6)),  # side of a grey square, parts of the sides
}


def corrupt(images: Images, corruption: str, severity: int, seed: int) -> Tensor:
    """Changed inputs, of the shape and range of those of `images`.

    Args:
        images: [N, C, H, W].
        corruption: a name of `CORRUPTORS`.
        severity: from 1.
        seed: of what is random.
    """
    corruptor, span = CORRUPTORS[corruption], images.range.span
    unit = (images.inputs - images.range.low) / torch.where(span == 0, 1, span)
    changed = corruptor.change(unit, corruptor.strengths[severity - 1], stream(seed, corruption))
    return images.range.low + changed.clamp(0, 1) * span


def measure_corruptions(model: nn.Module, images: Images, names: tuple[str, ...], seed: int) -> tuple[Corruption, ...]:
    """Accuracy of `model` under each corruption at each severity."""

    def accuracy(name: str, severity: int) -> float:
        return measure(model, Split(corrupt(images, name, severity, seed), images.targets)).accuracy

    return tuple(
        Corruption(
            corruption=name,
            accuracies=tuple(accuracy(name, 1 + i) for i in range(len(CORRUPTORS[name].strengths))),
        )
        for name in names
    )


def check_corruptible(names: tuple[str, ...], shape: tuple[int, ...], data: str) -> None:
    """Refuse corruptions of what is not images.

    Args:
        names: of the corruptions asked for.
        shape: of one input.
        data: name of the data set.

    Raises:
        ConfigurationError: when there are names, and the inputs are not [C, H, W].
    """
    if names and len(shape) != _IMAGE:
        raise ConfigurationError(
            "`evaluate.corruptions` changes images, inputs of shape [channels, height, width], but data set "
            f"{data!r} has inputs of shape {list(shape)}; leave `corruptions` out"
        )
