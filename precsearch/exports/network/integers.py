"""A quantized network in whole numbers: codes and scales of its weights, ranges of what its layers read.

Legend: R rows with a range each (1, or output channels).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from precsearch.allocation import Target
from precsearch.conversion.describe import quantizers_of
from precsearch.errors import ExportError
from precsearch.layers import Weight, weights_of
from precsearch.quantization.grids import Grid
from precsearch.quantization.quantizers import ActivationQuantizer, WeightQuantizer
from precsearch.quantization.rows import from_rows, to_rows

_WEIGHT: Target = "weight"


@dataclass(frozen=True, eq=False)
class Integers:
    """A weight in whole numbers: ``(codes + grid.offset) * step``, within the reach.

    Attributes:
        codes: of the weight's shape, int16; ``bits`` bits hold each, signed, in two's complement.
        reach: largest level of each row, float32 [R].
        bits: bit-width, 1 to 16.
        grid: the levels.
        groups: of a transposed convolution with a row for each output channel, else 0; see `to_rows`.
    """

    codes: Tensor
    reach: Tensor
    bits: int
    grid: Grid
    groups: int = 0

    @property
    def step(self) -> Tensor:
        """Distance of neighbouring levels of each row, float32 [R]."""
        return self.reach / self.grid.levels(self.bits)

    @property
    def axis(self) -> int | None:
        """The dimension of the weight that rows count; None for one range of the whole tensor.

        Raises:
            ExportError: for a grouped transposed convolution with a range a channel, whose channels are no dimension.
        """
        if self.reach.numel() == 1:
            return None
        if self.groups > 1:
            raise ExportError(
                f"a range for each channel of a transposed convolution in {self.groups} groups lies along no dimension "
                "of its weight; search with `granularity: tensor`"
            )
        return 1 if self.groups else 0

    def weight(self) -> Tensor:
        """The weight that torch computes with, float32, to the bit."""
        rows = to_rows(self.codes, self.groups)
        column = (-1, *[1] * (rows.dim() - 1))
        step, reach = self.step.view(column), self.reach.view(column)
        value = (rows.float() + self.grid.offset) * step
        return from_rows(torch.minimum(torch.maximum(value, -reach), reach), self.groups)


@dataclass(frozen=True, eq=False)
class InputRange:
    """How one argument of a layer is quantized.

    Attributes:
        layer: its name.
        module: the module's dotted name.
        position: of the argument.
        bits: bit-width, 1 to 16.
        grid: the levels.
        reach: the largest level.
    """

    layer: str
    module: str
    position: int
    bits: int
    grid: Grid
    reach: float

    @property
    def step(self) -> float:
        """Distance of neighbouring levels, rounded as torch rounds it."""
        return float(torch.tensor(self.reach) / self.grid.levels(self.bits))


def weights_in_integers(model: nn.Module) -> dict[str, Integers]:
    """The quantized weights by layer, in the order of the model's modules; those of tied layers once for each.

    Args:
        model: quantized, with known ranges.
    """
    found = {name: (weight, _weight_quantizer(weight)) for name, weight in weights_of(model).items()}
    return {name: _in_integers(weight, own) for name, (weight, own) in found.items() if own is not None}


def input_ranges(model: nn.Module) -> list[InputRange]:
    """How the layers' inputs are quantized, in the order of the model's modules.

    Args:
        model: quantized, with known ranges.
    """
    return [
        InputRange(
            layer=name,
            module=weight.module_name,
            position=each.position,
            bits=each.chosen_bits,
            grid=each.grid(each.chosen_bits),
            reach=float(each.ranges().reach),
        )
        for name, weight in weights_of(model).items()
        for each in cast(list[ActivationQuantizer], quantizers_of(weight).get("activation", []))
    ]


def _weight_quantizer(weight: Weight) -> WeightQuantizer | None:
    own = quantizers_of(weight).get(_WEIGHT)
    return cast(WeightQuantizer, own[0]) if own else None


@torch.no_grad()
def _in_integers(weight: Weight, quantizer: WeightQuantizer) -> Integers:
    bits, value = quantizer.chosen_bits, weight.value.detach().contiguous()
    grid, (step, reach, *_) = quantizer.grid(bits), quantizer.ranges()
    rows = to_rows(value, quantizer.groups)
    codes = (rows / step.view(-1, *[1] * (rows.dim() - 1)) - grid.offset).round().to(torch.int16)
    made = Integers(from_rows(codes, quantizer.groups).contiguous(), reach, bits, grid, quantizer.groups)
    if not torch.equal(made.weight(), value):
        raise ExportError(f"layer {weight.layer!r}: its weight is not on the {bits}-bit grid of its range")
    return made
