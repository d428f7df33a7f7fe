"""Where perturbations of images may lie, and how hard they are looked for.

Legend: B images of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from precsearch.evaluation.images import Images, InputRange
from precsearch.evaluation.norms import Norm
from precsearch.evaluation.victims import Victim, slope


@dataclass(frozen=True)
class Effort:
    """How hard an attack tries.

    Attributes:
        steps: gradient steps of a run.
        restarts: runs from random starts.
        seed: of the starts.
    """

    steps: int = 20
    restarts: int = 1
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Room:
    """What perturbations some images may get: within epsilon, and such that the inputs stay in their range.

    A feature of an image that lies outside the range may stay where it is.

    Attributes:
        images: B of them.
        norm: what perturbations are measured in.
        epsilon: largest norm, [B].
        span: of the inputs' range, above 0, broadcasting against them.
        lowest: lowest inputs, [B, ...].
        highest: highest, likewise.
    """

    images: Images
    norm: Norm
    epsilon: Tensor
    span: Tensor
    lowest: Tensor
    highest: Tensor

    @classmethod
    def around(cls, images: Images, norm: Norm, epsilon: Tensor) -> Room:
        """Around `images`, epsilon [B]."""
        lowest, highest = (
            torch.minimum(images.inputs, images.range.low),
            torch.maximum(images.inputs, images.range.high),
        )
        return cls(images, norm, epsilon.to(images.inputs), span_of(images.range), lowest, highest)

    def take(self, part: Tensor) -> Room:
        """Around some of the images, by index or mask."""
        images = self.images.take(part)
        return replace(
            self, images=images, epsilon=self.epsilon[part], lowest=self.lowest[part], highest=self.highest[part]
        )

    def put(self, perturbation: Tensor) -> Tensor:
        """The perturbation [B, ...] brought into the room. Clipping leaves short enough what is so."""
        short, inputs = self.norm.project(perturbation, self.epsilon), self.images.inputs
        return short.clamp((self.lowest - inputs) / self.span, (self.highest - inputs) / self.span)

    def perturbed(self, perturbation: Tensor) -> Tensor:
        """The inputs so perturbed."""
        return (self.images.inputs + perturbation * self.span).clamp(self.lowest, self.highest)

    def slope(self, victim: Victim, perturbation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Which are answered right there [B], cross-entropies [B], and gradients for the perturbation."""
        answers, losses, gradient = slope(victim, self.perturbed(perturbation), self.images.targets)
        return answers.argmax(1) == self.images.targets, losses, gradient * self.span


def span_of(range: InputRange) -> Tensor:
    """How far inputs span; a little even of a feature that is always the same, since it is divided by."""
    return range.span.clamp_min(torch.finfo(range.low.dtype).tiny)
