"""Scale rules: how far a grid reaches, for each candidate bit-width.

Legend: K candidates, R rows (1, or output channels), M values a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from precsearch.quantization.grids import Grid

# Values looked at when a range is searched; more change the L2-optimal reach by less than its own noise.
SAMPLE = 16384
_FRACTIONS = 24
_SETTLE = 4

ScaleRule = Callable[[Sequence[Tensor], Sequence[Grid], Sequence[float], "Tensor | None"], Tensor]


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
        x.abs().mean(1) if grid.signed and level < 1 else x.abs().amax(1)
        for x, grid, level in zip(x_K, grids, levels, strict=True)
    ]
    return _positive(torch.stack(rows))


def l2_reach(x_K: Sequence[Tensor], grids: Sequence[Grid], levels: Sequence[float], previous: Tensor | None) -> Tensor:
    """Reach that minimizes the squared quantization error, for each candidate.

    Alternates between rounding and the least-squares step ``<x, code> / <code, code>`` (Hwang and Sung 2014;
    Sung et al. 2015), from the best of several fractions of the maximum, or from `previous`.

    Args:
        x_K: values for each candidate, each [R, M].
        grids: grid of each candidate.
        levels: levels of each candidate.
        previous: reaches to settle from, [K, R]; searched afresh where None.

    Returns:
        Positive reaches, [K, R].
    """
    rows = []
    for k, (x, grid, level) in enumerate(zip(x_K, grids, levels, strict=True)):
        sample = _thin(x)
        reach = _best_fraction(sample, grid, level) if previous is None else previous[k]
        for _ in range(_SETTLE if previous is None else 1):
            reach = _settle(sample, reach, grid, level)
        rows.append(reach)
    return _positive(torch.stack(rows))


SCALE_RULES: dict[str, ScaleRule] = {"l2": l2_reach, "max": max_reach}


def codes(x: Tensor, reach: Tensor, grid: Grid, levels: float) -> Tensor:
    """Nearest code of every value; x [R, M], reach [R] -> [R, M]."""
    step = (reach / levels).unsqueeze(1)
    low = -levels if grid.signed else 0.0
    return ((x / step - grid.offset).round() + grid.offset).clamp(low, levels)


def _settle(x: Tensor, reach: Tensor, grid: Grid, levels: float) -> Tensor:
    code = codes(x, reach, grid, levels)
    power = (code * code).sum(1)
    # Every value rounds to zero where the reach is far too large; starting from the maximum lets it shrink back.
    return torch.where(power > 0, (x * code).sum(1) / power.clamp_min(1e-30) * levels, x.abs().amax(1))


def _best_fraction(x: Tensor, grid: Grid, levels: float) -> Tensor:
    top = _positive(x.abs().amax(1))
    best, least = top, torch.full_like(top, torch.inf)
    for i in range(1, _FRACTIONS + 1):
        reach = top * (i / _FRACTIONS)
        error = (x - codes(x, reach, grid, levels) * (reach / levels).unsqueeze(1)).square().sum(1)
        best = torch.where(error < least, reach, best)
        least = torch.minimum(error, least)
    return best


def _thin(x: Tensor) -> Tensor:
    """At most about SAMPLE values, spread evenly and out of step with any image row or channel."""
    keep = max(1, SAMPLE // x.shape[0])
    if x.shape[1] <= keep:
        return x
    golden = torch.arange(keep, device=x.device, dtype=torch.float64).mul_(0.6180339887498949)
    return x[:, golden.frac_().mul_(x.shape[1]).long()]


def _positive(reach: Tensor) -> Tensor:
    """Tensors of zeros get a reach too small to matter, and never a division by zero."""
    return reach.clamp_min(1e-8)
