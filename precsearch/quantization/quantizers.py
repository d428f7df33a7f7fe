"""Quantizer modules: hold the ranges of every candidate bit-width, apply the drawn one.

Legend: K candidates, R rows with a range each (1, or output channels).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from precsearch.allocation import TargetPrecision
from precsearch.errors import ModelError
from precsearch.quantization.fake_quantize import fake_quantize, straight_through
from precsearch.quantization.grids import Grid, activation_grid, weight_grid
from precsearch.quantization.scales import SCALE_RULES

# Training forwards between two looks at the data: ranges drift slowly, looking costs as much as quantizing.
REFRESH_EVERY = 8
_MOMENTUM = 0.3


class Quantizer(nn.Module):
    """Fake-quantizes one target of one layer at the bit-width it is set to.

    Args:
        bits: candidate bit-widths, ascending; one of them for a target that is fixed.
        scale: name of the scale rule.
        rows: 1, or the number of output channels.

    Attributes:
        reach: range of each candidate, [K, R]; NaN until data was seen.
        age: training forwards seen, int64 [].
        enabled: off while warming up; ranges are kept up to date all the same.
    """

    reach: Tensor
    age: Tensor

    def __init__(self, bits: Sequence[int], scale: str, rows: int = 1) -> None:
        super().__init__()
        self.bits = tuple(bits)
        self.scale = scale
        self.enabled = True
        self._chosen = 0
        self._relaxed: Tensor | None = None
        self._powers = (-1, torch.empty(0))
        self.register_buffer("reach", torch.full((len(self.bits), rows), torch.nan))
        self.register_buffer("age", torch.zeros((), dtype=torch.int64))

    def choose(self, candidate: int, relaxed: Tensor | None = None) -> None:
        """Set the bit-width of the next forwards.

        Args:
            candidate: index into `bits`.
            relaxed: probabilities of the candidates, [K], through which the gradient reaches the logits.
        """
        self._chosen = candidate
        self._relaxed = relaxed

    def fix(self, candidate: int) -> None:
        """Forget every candidate but this one."""
        self.choose(0)
        self.reach = self.reach[candidate : candidate + 1].clone()
        self.bits = (self.bits[candidate],)

    @property
    def chosen_bits(self) -> int:
        """The bit-width of the next forwards."""
        return self.bits[self._chosen]

    def grid(self, bits: int) -> Grid:
        """Grid at `bits` bits."""
        raise NotImplementedError

    def precision(self) -> TargetPrecision:
        """How this target is quantized now, as data."""
        raise NotImplementedError

    def levels(self, bits: int) -> float:
        """Largest code at `bits` bits."""
        return self.grid(bits).levels(bits)

    def quantize(self, x: Tensor, clip_gradient: bool) -> Tensor:
        """Fake-quantize `x` at the chosen bit-width; the gradient also reaches the relaxed sample."""
        bits = self.chosen_bits
        reach = self.reach[self._chosen]
        step = reach / self.levels(bits)
        if self._relaxed is not None and torch.is_grad_enabled():
            step, reach = self._relax(step, reach, self._relaxed)
        return fake_quantize(x, step, reach, self.grid(bits), clip_gradient)

    def _relax(self, step: Tensor, reach: Tensor, relaxed: Tensor) -> tuple[Tensor, Tensor]:
        """Step and reach with the drawn values and the relaxed sample's gradients.

        The noise power of a candidate goes with its squared step, so a relative change of the drawn step is
        half a relative change of the expected noise power: ``d step / step = d log E[step^2] / 2``. Dividing
        by the expected power, not the drawn one, keeps draws of many bits from shouting: their tiny error
        would be scaled up to speak of two bits.
        """
        soft_step = step * (relaxed @ self._power()).log() / 2
        return straight_through(step, soft_step), straight_through(reach, relaxed @ self.reach)

    def _power(self) -> Tensor:
        """Squared step of every candidate, [K, R]; computed anew when the ranges have changed."""
        version, power_KR = self._powers
        if version != self.reach._version or power_KR.shape != self.reach.shape:
            levels_K = self.reach.new_tensor([self.levels(bits) for bits in self.bits])
            power_KR = (self.reach / levels_K.unsqueeze(1)).square()
            self._powers = (self.reach._version, power_KR)
        return power_KR

    def __getstate__(self) -> dict[str, Any]:
        # The relaxed sample belongs to the graph of one step, which can be neither copied nor pickled.
        return {**self.__dict__, "_relaxed": None}

    def _due(self) -> bool:
        """Whether this forward looks at the data; counts training forwards."""
        if not self.training:
            return False
        age = int(self.age)
        self.age += 1
        return age % REFRESH_EVERY == 0

    @torch.no_grad()
    def _measure(self, x_K: Sequence[Tensor], previous: Tensor | None) -> Tensor:
        grids = [self.grid(bits) for bits in self.bits]
        x_K = [x.to(self.reach.dtype) for x in x_K]
        return SCALE_RULES[self.scale](x_K, grids, [self.levels(bits) for bits in self.bits], previous)

    def _known(self) -> bool:
        return bool(torch.isfinite(self.reach[0, 0]))


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
    """

    def __init__(self, bits: Sequence[int], scale: str, granularity: str, channels: int, quantizer: str) -> None:
        super().__init__(bits, scale, channels if granularity == "channel" else 1)
        self.granularity = granularity
        self.quantizer = quantizer

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
        if self._due() or not self._known():
            self.refresh(weight)
        if not self.enabled:
            return weight
        return self.quantize(self._squash(weight, self.chosen_bits), clip_gradient=False)

    @torch.no_grad()
    def refresh(self, weight: Tensor) -> None:
        """Set the ranges of every candidate from `weight`."""
        rows = weight.reshape(self.reach.shape[1], -1)
        squashed = [self._squash(rows, bits) for bits in self.bits]
        self.reach.copy_(self._measure(squashed, self.reach if self._known() else None))

    def _squash(self, weight: Tensor, bits: int) -> Tensor:
        return weight.tanh() if self.quantizer == "dorefa" and bits > 1 else weight


class ActivationQuantizer(Quantizer):
    """Quantizes the input of a layer.

    DoReFa bounds activations to [0, 1] and quantizes there (Zhou et al. 2016, eq. 5); here the range follows
    the scale rule, averaged over batches. A layer whose input was never negative gets an unsigned grid.

    Args:
        bits: candidate bit-widths, ascending.
        scale: name of the scale rule.
        signed: whether the input was seen negative; becomes true for good when it is seen later.
        layer: name of the layer, for messages.
    """

    negative: Tensor

    def __init__(self, bits: Sequence[int], scale: str, signed: bool, layer: str) -> None:
        super().__init__(bits, scale)
        self.layer = layer
        self.register_buffer("negative", torch.tensor(signed))

    @property
    def signed(self) -> bool:
        """Whether the grid has negative levels."""
        return bool(self.negative)

    def grid(self, bits: int) -> Grid:
        """Grid at `bits` bits."""
        return activation_grid(self.signed, bits)

    def precision(self) -> TargetPrecision:
        """How the input is quantized now, as data."""
        return TargetPrecision(bits=self.chosen_bits, signed=self.signed, scale=self.scale, quantizer="uniform")

    def forward(self, x: Tensor) -> Tensor:
        """The input the layer computes with, of the shape of `x`."""
        if self._due() or (self.training and not self._known()):
            self.refresh(x)
        if not self.enabled:
            return x
        if not self.training and not self._known():
            raise ModelError(
                f"the activation range of layer {self.layer!r} is not known yet; load the saved weights, "
                "or run a batch in training mode first"
            )
        return self.quantize(x, clip_gradient=True)

    @torch.no_grad()
    def refresh(self, x: Tensor) -> None:
        """Move the ranges of every candidate towards those of this batch."""
        if not self.negative and bool(x.amin() < 0):
            self.negative.fill_(True)
            self.reach.fill_(math.nan)
        rows = x.detach().reshape(1, -1)
        if not self._known():
            self.reach.copy_(self._measure([rows] * len(self.bits), None))
        else:
            measured = self._measure([rows] * len(self.bits), self.reach)
            # One batch of infinities must not outlast its own step.
            self.reach.lerp_(torch.where(measured.isfinite(), measured, self.reach), _MOMENTUM)
