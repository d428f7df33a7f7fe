"""How large a perturbation is, and what a norm makes of a gradient: a registry of norms.

Legend: B images; perturbations are [B, ...], in units of inputs that span 0 to 1.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

_SMALLEST = 1e-30


def per_image(values: Tensor, like: Tensor) -> Tensor:
    """[B] in a shape that broadcasts against [B, ...]."""
    return values.view(-1, *[1] * (like.ndim - 1))


class Norm(Protocol):
    """One way to measure perturbations."""

    def length(self, perturbation: Tensor) -> Tensor:
        """[B] norms."""

    def whole(self, features: int) -> float:
        """Norm of the largest perturbation there is, from the lowest to the highest value in every feature."""

    def steepest(self, gradient: Tensor) -> Tensor:
        """The perturbation of norm 1 that raises the loss most, to first order; 0 where the gradient is."""

    def project(self, perturbation: Tensor, epsilon: Tensor) -> Tensor:
        """The nearest of norm at most `epsilon` [B]."""

    def inside(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        """Drawn evenly from those of norm at most 1; on the CPU."""

    def surface(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        """Random noise of norm 1; on the CPU."""


class LInf:
    """The largest change of any feature."""

    def length(self, perturbation: Tensor) -> Tensor:
        """[B] norms."""
        return perturbation.flatten(1).abs().amax(1)

    def whole(self, features: int) -> float:
        """1: every feature may change by all it spans."""
        return 1.0

    def steepest(self, gradient: Tensor) -> Tensor:
        """Its signs."""
        return gradient.sign()

    def project(self, perturbation: Tensor, epsilon: Tensor) -> Tensor:
        """Every feature clipped."""
        bound = per_image(epsilon, perturbation)
        return torch.maximum(torch.minimum(perturbation, bound), -bound)

    def inside(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        """Even in every feature."""
        return torch.rand(shape, generator=generator) * 2 - 1

    def surface(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        """Random signs."""
        return torch.randint(2, shape, generator=generator) * 2.0 - 1


class L2:
    """The Euclidean distance."""

    def length(self, perturbation: Tensor) -> Tensor:
        """[B] norms."""
        found: Tensor = torch.linalg.vector_norm(perturbation.flatten(1), dim=1)
        return found

    def whole(self, features: int) -> float:
        """The diagonal of the unit cube."""
        return math.sqrt(features)

    def steepest(self, gradient: Tensor) -> Tensor:
        """Its direction, however small it is."""
        largest = per_image(gradient.flatten(1).abs().amax(1), gradient)
        scaled = torch.where(largest > 0, gradient / largest, 0.0)  # squares of small numbers would be zeros
        return scaled / per_image(self.length(scaled), gradient).clamp_min(_SMALLEST)

    def project(self, perturbation: Tensor, epsilon: Tensor) -> Tensor:
        """Shortened to epsilon."""
        factor = (epsilon / self.length(perturbation).clamp_min(_SMALLEST)).clamp_max(1.0)
        return perturbation * per_image(factor, perturbation)

    def inside(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        """Of a random direction and a length that fills the ball evenly."""
        direction = self.surface(shape, generator)
        lengths = torch.rand(shape[0], generator=generator) ** (1 / max(1, shape[1:].numel()))
        return direction * per_image(lengths, direction)

    def surface(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        """A random direction."""
        return self.steepest(torch.randn(shape, generator=generator))


NORMS: dict[str, Norm] = {"linf": LInf(), "l2": L2()}
