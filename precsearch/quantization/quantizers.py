"""Quantizer modules: of a weight, as a parametrization, and of a layer's input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from precsearch.allocation import TargetPrecision
from precsearch.errors import ModelError
from precsearch.quantization.base import Quantizer
from precsearch.quantization.fake_quantize import Manner
from precsearch.quantization.grids import Grid, activation_grid, weight_grid
from precsearch.quantization.layouts import as_rows, dense
from precsearch.quantization.rounded_again import Recipe, rounds_again
from precsearch.quantization.rows import from_rows, to_rows
from precsearch.quantization.squash import squash

# How far one look at a batch moves the range of an activation.
_MOMENTUM = 0.3


class WeightQuantizer(Quantizer):
    """A parametrization of a layer's weight.

    `dorefa` quantizes tanh(w) on a grid without zero (Zhou et al. 2016, eq. 9), but keeps the weight's own
    scale, where the paper stretches it to [-1, 1]: a network without BatchNorm keeps its function.
    `symmetric` quantizes w on whole multiples of the step (Sung et al. 2015). One bit is +-mean|w| in both.

    Args:
        bits: candidate bit-widths, ascending.
        scale: name of the scale rule.
        granularity: ``tensor`` or ``channel``.
        channels: output channels of the weight.
        quantizer: ``dorefa`` or ``symmetric``.
        groups: of a transposed convolution, whose weight has its inputs first; 0 for every other weight.
    """

    def __init__(
        self, bits: Sequence[int], scale: str, granularity: str, channels: int, quantizer: str, groups: int = 0
    ) -> None:
        super().__init__(bits, scale, channels if granularity == "channel" else 1)
        self.granularity = granularity
        self.quantizer = quantizer
        self.groups = groups if granularity == "channel" else 0
        self._derive()

    def grid(self, bits: int) -> Grid:
        """Grid at `bits` bits."""
        return weight_grid(self.quantizer, bits)

    def precision(self) -> TargetPrecision:
        """How the weight is quantized now, as data."""
        return TargetPrecision.model_validate(
            {
                "bits": self.chosen_bits,
                "granularity": self.granularity,
                "scale": self.scale,
                "quantizer": self.quantizer,
            }
        )

    def forward(self, weight: Tensor) -> Tensor:
        """The weight the layer computes with, of the shape of `weight`."""
        if self.looking or not self._known:
            self.refresh(weight)
        if not self.enabled:
            return weight
        quantized, _ = self.quantize(to_rows(weight, self.groups))
        return from_rows(quantized, self.groups)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def refresh(self, weight: Tensor) -> None:
        """Set the ranges of every candidate from `weight`."""
        self.looking = False
        rows = to_rows(weight, self.groups).reshape(self.reach.shape[1], -1)
        squashed = squash(rows) if self.quantizer == "dorefa" else rows
        values = [squashed if bits > 1 else rows for bits in self.bits]
        self._see(values)

    def manner(self) -> Manner:
        """How it quantizes at the chosen bit-width."""
        squashes = self.quantizer == "dorefa" and self.chosen_bits > 1
        return Manner(clip_gradient=False, squashes=squashes, kernels=self.kernels)


class ActivationQuantizer(Quantizer):
    """Quantizes the input of a layer.

    DoReFa bounds activations to [0, 1] and quantizes there (Zhou et al. 2016, eq. 5); here the range follows
    the scale rule, averaged over batches. A layer whose input was never negative gets an unsigned grid.

    Args:
        bits: candidate bit-widths, ascending.
        scale: name of the scale rule.
        signed: whether the input was seen negative; becomes true for good when it is seen later.
        layer: name of the layer, for messages.
        position: of the argument of the module's forward that it quantizes.

    Attributes:
        recipe: of what the last forward returned, for who takes it; None where the backward pass needs none.
    """

    negative: Tensor

    def __init__(self, bits: Sequence[int], scale: str, signed: bool, layer: str, position: int = 0) -> None:
        super().__init__(bits, scale)
        self.layer = layer
        self.position = position
        self.signed = signed
        self.recipe: Recipe | None = None
        self.register_buffer("negative", torch.tensor(signed))
        self._derive()

    def grid(self, bits: int) -> Grid:
        """Grid at `bits` bits; it has negative levels where `signed`."""
        return activation_grid(self.signed, bits)

    def precision(self) -> TargetPrecision:
        """How the input is quantized now, as data."""
        return TargetPrecision(bits=self.chosen_bits, signed=self.signed, scale=self.scale, quantizer="uniform")

    def forward(self, x: Tensor) -> Tensor:
        """The input the layer computes with, of the shape of `x`."""
        if self.looking or (self.training and not self._known):
            self.refresh(x)
        if not self.enabled:
            return x
        if not self._known:
            raise ModelError(
                f"the activation range of layer {self.layer!r} is not known yet; load the saved weights, "
                "run a batch in training mode first, or call `precsearch.calibrate(model, batch)`"
            )
        if not rounds_again():
            return self.quantize(x)[0]
        made: list[Tensor] = []
        x = dense(x)
        quantized, ranges = self.quantize(x, made)
        self.recipe = Recipe(x.detach(), ranges, self.kernels, quantized.data_ptr(), x._version, made)
        return quantized

    def take_recipe(self) -> Recipe | None:
        """How to make again what the last forward returned; once."""
        recipe, self.recipe = self.recipe, None
        return recipe

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "recipe": None}

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def refresh(self, x: Tensor) -> None:
        """Move the ranges of every candidate towards those of this batch."""
        self.looking = False
        if not self.signed and bool(x.amin() < 0):
            self.negative.fill_(True)
            self.reach.fill_(math.nan)
            self._derive()
        rows = as_rows(dense(x.detach()), self.reach[0])  # as it lies in memory: a copy would be dear
        self._see([rows] * len(self.bits), _MOMENTUM)

    def _derive(self) -> None:
        self.signed = bool(self.negative)
        super()._derive()
