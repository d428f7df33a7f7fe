"""What every quantizer module is: the ranges of its candidate bit-widths, and the drawn one applied.

Legend: K candidates, R rows with a range each (1, or output channels).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from precsearch.allocation import TargetPrecision
from precsearch.quantization.fake_quantize import fake_quantize, straight_through
from precsearch.quantization.grids import Grid
from precsearch.quantization.scales import SCALE_RULES

# Training forwards between two looks at the data: ranges drift slowly, looking costs as much as quantizing.
REFRESH_EVERY = 8


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
