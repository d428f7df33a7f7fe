"""Scale rules: how far a grid reaches, for each candidate bit-width.

Legend: K candidates, F fractions, R rows (1, or output channels), M values a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from precsearch.quantization.grids import Grid

# Values looked at when a range is searched; more change the L2-optimal reach by less than its own noise.
SAMPLE = 16384
# Looks at a range that is known come often, and each may move it a little.
_SAMPLE_AGAIN = 4096
_NEARBY = (0.9, 1.0, 1.1)
_FRACTIONS = 24
_SETTLE = 4
_FINE = 2.0**11 - 1  # levels of 12 signed bits

ScaleRule = Callable[[Sequence[Tensor], Sequence[Grid], Sequence[float], "Tensor | None"], Tensor]
Rounding = Callable[[Sequence[Tensor], Sequence[Grid], Sequence[float], Tensor], Tensor]


def max_reach(x_K: Sequence[Tensor], grids: Sequence[Grid], levels: Sequence[float], previous: Tensor | None) -> Tensor:
    """Reach up to the largest magnitude; 1 signed bit reaches mean|x| (DoReFa eq. 7, Sung et al. section 3).

    Args:
        x_K: values for each candidate, each [R, M].
        grids: grid of each candidate.
        levels: levels of each candidate.
        previous: unused.

    Returns:
        Positive reaches, [K, R].
    """
    rows = [
        x.abs().mean(1) if grid.signed and level < 1 else _largest(x)
        for x, grid, level in zip(x_K, grids, levels, strict=True)
    ]
    return _positive(torch.stack(rows))


def l2_reach(x_K: Sequence[Tensor], grids: Sequence[Grid], levels: Sequence[float], previous: Tensor | None) -> Tensor:
    """Reach that minimizes the squared quantization error, for each candidate.

    Alternates between rounding and the least-squares step ``<x, code> / <code, code>`` (Hwang and Sung 2014;
    Sung et al. 2015), from the best of several fractions of the maximum, or of several close to `previous`: at
    many bits the alternation alone hardly moves, and would leave a range behind data that shrank. From 12 bits on
    rounding errs less than a sample knows of the largest values, and the reach is their maximum.

    Args:
        x_K: values for each candidate, each [R, M].
        grids: grid of each candidate.
        levels: levels of each candidate.
        previous: reaches to settle from, [K, R]; searched afresh where None.

    Returns:
        Positive reaches, [K, R].
    """
    if previous is not None:
        return _positive(_follow(x_K, grids, levels, previous))
    rows = []
    for x, grid, level in zip(x_K, grids, levels, strict=True):
        if level >= _FINE:
            rows.append(_largest(x))
            continue
        sample, codes = _thin(x, SAMPLE), _Codes.of([grid], [level], x)
        reach = _search(sample, codes)
        for _ in range(_SETTLE):
            reach = codes.settled(sample, reach)
        rows.append(reach[0])
    return _positive(torch.stack(rows))


def power_of_two_reach(x_K: Sequence[Tensor], grids: Sequence[Grid], levels: Sequence[float], reach: Tensor) -> Tensor:
    """Reach whose step is a power of two: of the two next to the measured step, the one of less squared error.

    Args:
        x_K: values for each candidate, each [R, M].
        grids: grid of each candidate.
        levels: levels of each candidate.
        reach: as measured, [K, R].

    Returns:
        Positive reaches, [K, R]: in float32 and finer exactly `levels` times a power of two.
    """
    levels_K1 = reach.new_tensor(levels).unsqueeze(1)
    below = _power_of_two(reach / levels_K1)
    around_FKR, made = torch.stack([below, 2 * below]) * levels_K1, torch.empty_like(reach)
    fine, coarse = _by_levels(levels)
    groups = [([k], x_K[k].unsqueeze(0)) for k in fine]  # whole: clipping what a sample left out costs too much
    for own, sample in [*groups, (coarse, _sample_of(x_K, coarse))] if coarse else groups:
        codes = _Codes.of([grids[k] for k in own], [levels[k] for k in own], sample)
        made[own] = codes.best(sample, around_FKR[:, own])
    return made


SCALE_RULES: dict[str, ScaleRule] = {"l2": l2_reach, "max": max_reach, "power-of-two": l2_reach}
# What a rule makes of the reach that it measured, where it is not that itself.
ROUNDED: dict[str, Rounding] = {"power-of-two": power_of_two_reach}


@dataclass(frozen=True)
class _Codes:
    """The codes of several candidates at once.

    Attributes:
        levels: [K, 1].
        low: lowest code, [K, 1].
        offset: [K, 1]; None where all codes are whole numbers.
    """

    levels: Tensor
    low: Tensor
    offset: Tensor | None

    @classmethod
    def of(cls, grids: Sequence[Grid], levels: Sequence[float], like: Tensor) -> _Codes:
        """Those of candidates with these grids and levels."""
        lows = [-level if grid.signed else 0.0 for grid, level in zip(grids, levels, strict=True)]
        offsets = [grid.offset for grid in grids]
        table = torch.tensor([levels, lows, offsets], dtype=like.dtype).to(like.device).unsqueeze(2)
        return cls(table[0], table[1], table[2] if any(offsets) else None)

    def at(self, x: Tensor, reach: Tensor) -> Tensor:
        """Nearest code of every value; x [1 or K, R, M], reach [..., K, R] -> [..., K, R, M]."""
        code = x / (reach / self.levels).unsqueeze(-1)
        if self.offset is None:
            code.round_()
        else:
            code.sub_(self.offset.unsqueeze(-1)).round_().add_(self.offset.unsqueeze(-1))
        return code.clamp_(self.low.unsqueeze(-1), self.levels.unsqueeze(-1))

    def settled(self, x: Tensor, reach: Tensor) -> Tensor:
        """The least-squares reach for the codes at `reach`, [K, R] -> [K, R]."""
        code = self.at(x, reach)
        power = (code * code).sum(-1)
        fitted = (x * code).sum(-1) / power.clamp_min(1e-30) * self.levels
        # Every value rounds to zero where the reach is far too large; the maximum lets it shrink back.
        return torch.where(power > 0, fitted, x.abs().amax(-1))

    def best(self, x: Tensor, reach_FKR: Tensor) -> Tensor:
        """For each candidate and row the reach of least squared error, [K, R]."""
        error_FKR = self.at(x, reach_FKR).mul_((reach_FKR / self.levels).unsqueeze(-1)).sub_(x).square_().sum(-1)
        return reach_FKR.gather(0, error_FKR.argmin(0, keepdim=True))[0]


def _follow(x_K: Sequence[Tensor], grids: Sequence[Grid], levels: Sequence[float], previous: Tensor) -> Tensor:
    """[K, R] reaches that follow the data from `previous`; all candidates together, as looks are frequent."""
    reach = torch.empty_like(previous)
    fine, coarse = _by_levels(levels)
    for k in fine:  # of one tensor, mostly
        alike = next((j for j in fine if j < k and x_K[j] is x_K[k]), None)
        reach[k] = _largest(x_K[k]) if alike is None else reach[alike]
    if coarse:
        sample = _sample_of(x_K, coarse)
        codes = _Codes.of([grids[k] for k in coarse], [levels[k] for k in coarse], sample)
        near = torch.stack([previous[coarse] * factor for factor in _NEARBY])
        reach[coarse] = codes.settled(sample, codes.best(sample, near))
    return reach


def _by_levels(levels: Sequence[float]) -> tuple[list[int], list[int]]:
    """The candidates of 12 bits and more, and the others."""
    fine = [k for k, level in enumerate(levels) if level >= _FINE]
    return fine, [k for k, level in enumerate(levels) if level < _FINE]


def _sample_of(x_K: Sequence[Tensor], own: Sequence[int]) -> Tensor:
    """Values of these candidates, [1 or candidates, R, M]: one tensor, mostly, or two: of all but one bit."""
    distinct = {id(x): x for x in (x_K[k] for k in own)}
    thinned = {place: _thin(x, _SAMPLE_AGAIN) for place, x in distinct.items()}
    samples = [thinned[id(x_K[k])] for k in own]
    return samples[0].unsqueeze(0) if len(distinct) == 1 else torch.stack(samples)


def _power_of_two(step: Tensor) -> Tensor:
    """The largest power of two that is at most `step`, in single precision: its exponent alone."""
    return (step.float().view(torch.int32) & 0x7F800000).view(torch.float32).to(step)


def _search(x: Tensor, codes: _Codes) -> Tensor:
    """[1, R] for one candidate."""
    width = (_positive(_largest(x)) / _FRACTIONS).unsqueeze(0)
    counts_F = torch.arange(1 - _FRACTIONS, _FRACTIONS + 1, device=x.device).to(x)[:, None, None]
    coarse = codes.best(x, width * counts_F[_FRACTIONS:])
    return codes.best(x, coarse + width * (counts_F / _FRACTIONS))


def _largest(x: Tensor) -> Tensor:
    """Largest magnitude of each row, [R], in one pass."""
    largest: Tensor = torch.linalg.vector_norm(x, torch.inf, dim=1)
    return largest


def _thin(x: Tensor, sample: int) -> Tensor:
    """At most about `sample` values, spread evenly and out of step with any image row or channel."""
    keep = max(1, sample // x.shape[0])
    if x.shape[1] <= keep:
        return x
    golden = torch.arange(keep, device=x.device, dtype=torch.float64).mul_(0.6180339887498949)
    return x[:, golden.frac_().mul_(x.shape[1]).long()]


def _positive(reach: Tensor) -> Tensor:
    """Tensors of zeros get a reach too small to matter, and never a division by zero."""
    return reach.clamp_min(1e-20)
