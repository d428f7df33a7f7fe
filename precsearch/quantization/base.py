"""What every quantizer module is: the ranges of its candidate bit-widths, and the drawn one applied.

Legend: K candidates, R rows with a range each (1, or output channels).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from precsearch.allocation import TargetPrecision
from precsearch.quantization.fake_quantize import Manner, round_to
from precsearch.quantization.grids import Grid
from precsearch.quantization.kernels import Ranges
from precsearch.quantization.relaxed_ranges import relax
from precsearch.quantization.scales import ROUNDED, SCALE_RULES

# Training forwards between two looks at the data: ranges drift slowly, looking costs as much as quantizing.
REFRESH_EVERY = 8


# Attributes that change with every step, and hold no parameter, buffer or module: setting one as `nn.Module` does
# takes ten times as long, which adds up to a tenth of a small network's step.
_OF_A_STEP = frozenset({"_relaxed", "_ranges", "_chosen", "_age", "_grid", "_manner", "looking", "recipe"})


class Drawn(NamedTuple):
    """A step and a reach with their gradients.

    Attributes:
        step: [R].
        reach: [R].
        numbers: both of a single row, where they are known as numbers.
    """

    step: Tensor
    reach: Tensor
    numbers: tuple[float, float] | None = None


class Quantizer(nn.Module):
    """Fake-quantizes one target of one layer at the bit-width it is set to.

    What forwards depend on is held in tensors, so that a compiled forward is not compiled anew for every draw.

    Args:
        bits: candidate bit-widths, ascending; one of them for a target that is fixed.
        scale: name of the scale rule.
        rows: 1, or the number of output channels.

    Attributes:
        reach: range of each candidate, [K, R]; NaN until data was seen.
        measured: what `reach` was rounded from, [K, R]; None for the rules that do not round. It moves with the data
            by less than a rounded range could.
        age: training forwards seen, int64 []; up to date in the state dict.
        levels_K: largest code of each candidate, [K].
        power_KR: squared step of each candidate, [K, R].
        selected: the chosen candidate, int64 [1].
        enabled: off while warming up; ranges are kept up to date all the same.
        looking: whether the next forward looks at the data; for calibration, set it by hand.
        kernels: how the arithmetic is done, see `precsearch.quantization.kernels`.
    """

    # Whether the gradient of what it quantizes speaks for bits.
    teaches = True

    reach: Tensor
    measured: Tensor | None
    age: Tensor
    levels_K: Tensor
    power_KR: Tensor
    selected: Tensor

    def __init__(self, bits: Sequence[int], scale: str, rows: int = 1) -> None:
        super().__init__()
        self.bits = tuple(bits)
        self.scale = scale
        self.enabled = True
        self.looking = False
        self.kernels = "auto"
        self._chosen = 0
        # What the tensors say, since a look at one of them would wait for the GPU.
        self._known, self._age = False, 0
        self._relaxed: Tensor | None = None
        self._ranges: Drawn | None = None
        self.register_buffer("reach", torch.full((len(self.bits), rows), torch.nan))
        self.register_buffer("measured", self.reach.clone() if scale in ROUNDED else None)
        self.register_buffer("age", torch.zeros((), dtype=torch.int64))
        self.register_buffer("selected", torch.zeros(1, dtype=torch.int64), persistent=False)
        self.register_buffer("levels_K", torch.ones(len(self.bits)), persistent=False)
        self.register_buffer("power_KR", torch.full_like(self.reach, torch.nan), persistent=False)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OF_A_STEP:
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def choose(self, candidate: int, relaxed: Tensor | None = None, ranges: Drawn | None = None) -> None:
        """Set the bit-width of the next forwards.

        Args:
            candidate: index into `bits`.
            relaxed: probabilities of the candidates, [K], through which the gradient reaches the logits.
            ranges: instead of them, the candidate's step and reach, which carry this gradient already.
        """
        self._relaxed, self._ranges = relaxed, ranges
        if candidate != self._chosen:
            self._chosen = candidate
            self._choose_grid()

    def fix(self, candidate: int) -> None:
        """Forget every candidate but this one."""
        self._relaxed = self._ranges = None
        self._chosen = 0
        self.reach = self.reach[candidate : candidate + 1].clone()
        if self.measured is not None:
            self.measured = self.measured[candidate : candidate + 1].clone()
        self.bits = (self.bits[candidate],)
        self.levels_K, self.power_KR = torch.empty_like(self.reach[:, 0]), torch.empty_like(self.reach)
        self._derive()

    def tick(self) -> None:
        """A training forward begins: every eighth looks at the data, the first one above all."""
        self.looking = self._age % REFRESH_EVERY == 0
        self._age += 1

    @property
    def chosen_bits(self) -> int:
        """The bit-width of the next forwards."""
        return self.bits[self._chosen]

    @property
    def known(self) -> bool:
        """Whether the ranges are."""
        return self._known

    def grid(self, bits: int) -> Grid:
        """Grid at `bits` bits."""
        raise NotImplementedError

    def precision(self) -> TargetPrecision:
        """How this target is quantized now, as data."""
        raise NotImplementedError

    def levels(self, bits: int) -> float:
        """Largest code at `bits` bits."""
        return self.grid(bits).levels(bits)

    def quantize(self, x: Tensor, made: list[Tensor] | None = None) -> tuple[Tensor, Ranges]:
        """Fake-quantize `x` at the chosen bit-width; the gradient also reaches the relaxed sample.

        Args:
            x: rows first.
            made: where the backward pass may find the result made again; it takes it.

        Returns:
            The quantized tensor, and what it was rounded with.
        """
        drawn = self.ranges()
        # numbers would be compiled in, and anew for every draw
        numbers = None if torch.compiler.is_compiling() else drawn.numbers
        ranges = Ranges(drawn.step.detach(), drawn.reach.detach(), self._grid, numbers)
        return round_to(x, drawn.step, drawn.reach, ranges, self._manner, made), ranges

    @property
    def learns(self) -> bool:
        """Whether the gradient of what it returns reaches a relaxed sample."""
        drawn = self._relaxed is not None or self._ranges is not None
        return drawn and self.enabled and torch.is_grad_enabled()

    def ranges(self) -> Drawn:
        """Step and reach of the chosen candidate; through them the gradient reaches the relaxed sample."""
        learning = torch.is_grad_enabled()
        if learning and self._ranges is not None:
            return self._ranges
        if torch.compiler.is_compiling():
            reach = self.reach.index_select(0, self.selected)[0]
            step = reach / self.levels_K.index_select(0, self.selected)
        else:
            reach = self.reach[self._chosen].clone()  # the next look changes ranges in place
            step = reach / self.levels(self.chosen_bits)
        if learning and self._relaxed is not None:
            return Drawn(*relax(step, reach, self._relaxed, self.power_KR.T, self.reach.T))
        return Drawn(step, reach)

    def __getstate__(self) -> dict[str, Any]:
        # The relaxed sample belongs to the graph of one step, which can be neither copied nor pickled.
        return {**self.__dict__, "_relaxed": None, "_ranges": None}

    def _save_to_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self.age.fill_(self._age)
        super()._save_to_state_dict(*args, **kwargs)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._age = int(self.age)
        self._derive()

    @torch.no_grad()
    def _derive(self) -> None:
        """Bring what follows from the ranges and the grids up to date."""
        # In place: DistributedDataParallel keeps the very tensors alike that it found.
        self.levels_K.copy_(torch.tensor([self.levels(bits) for bits in self.bits]))
        self.power_KR.copy_((self.reach / self.levels_K.unsqueeze(1)).square())
        self._known = bool(torch.isfinite(self.reach[0, 0]))
        self._ranges = None
        self._choose_grid()

    def _choose_grid(self) -> None:
        self.selected.fill_(self._chosen)
        self._grid = self.grid(self.chosen_bits)
        self._manner = self.manner()

    def compute_with(self, kernels: str) -> None:
        """Set `kernels`."""
        self.kernels = kernels
        self._manner = self.manner()

    def manner(self) -> Manner:
        """How it quantizes at the chosen bit-width."""
        return Manner(clip_gradient=True, kernels=self.kernels)

    @torch.no_grad()
    def _see(self, x_K: Sequence[Tensor], part: float = 1.0) -> None:
        """Move the ranges this part of the way to those of these values; all of it where none are known yet."""
        grids, levels = [self.grid(bits) for bits in self.bits], [self.levels(bits) for bits in self.bits]
        if x_K[0].dtype != self.reach.dtype:
            x_K = [x.to(self.reach.dtype) for x in x_K]
        kept = self.reach if self.measured is None else self.measured
        found = SCALE_RULES[self.scale](x_K, grids, levels, kept if self._known else None)
        if part == 1 or not self._known:
            kept.copy_(found)
        else:
            # One batch of infinities must not outlast its own step.
            kept.lerp_(torch.where(found.isfinite(), found, kept), part)
        if self.measured is not None:
            rounded = ROUNDED[self.scale](x_K, grids, levels, kept)
            self.reach.copy_(torch.where(found.isfinite(), rounded, self.reach))
        self._derive()
