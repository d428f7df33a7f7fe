"""Scale rules: how far a grid reaches, for each candidate bit-width.

Legend: K candidates, F fractions, R rows (1, or output channels), M values a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
    rows = []
    for k, (x, grid, level) in enumerate(zip(x_K, grids, levels, strict=True)):
        if level >= _FINE:
            rows.append(x.abs().amax(1))
            continue
        sample = _thin(x, SAMPLE if previous is None else _SAMPLE_AGAIN)
        if previous is None:
            reach = _search(sample, grid, level)
        else:
            reach = _best(torch.stack([previous[k] * factor for factor in _NEARBY]), sample, grid, level)
        for _ in range(_SETTLE if previous is None else 1):
            reach = _settle(sample, reach, grid, level)
        rows.append(reach)
    return _positive(torch.stack(rows))


SCALE_RULES: dict[str, ScaleRule] = {"l2": l2_reach, "max": max_reach}


def codes(x: Tensor, reach: Tensor, grid: Grid, levels: float) -> Tensor:
    """Nearest code of every value; x [R, M], reach [..., R] -> [..., R, M]."""
    step = (reach / levels).unsqueeze(-1)
    low = -levels if grid.signed else 0.0
    return ((x / step - grid.offset).round() + grid.offset).clamp(low, levels)


def _settle(x: Tensor, reach: Tensor, grid: Grid, levels: float) -> Tensor:
    code = codes(x, reach, grid, levels)
    power = (code * code).sum(1)
    # Every value rounds to zero where the reach is far too large; starting from the maximum lets it shrink back.
    return torch.where(power > 0, (x * code).sum(1) / power.clamp_min(1e-30) * levels, x.abs().amax(1))


def _search(x: Tensor, grid: Grid, levels: float) -> Tensor:
    width = _positive(x.abs().amax(1)) / _FRACTIONS
    counts_F1 = torch.arange(1 - _FRACTIONS, _FRACTIONS + 1, device=x.device).to(x).unsqueeze(1)
    coarse = _best(width * counts_F1[_FRACTIONS:], x, grid, levels)
    return _best(coarse + width * (counts_F1 / _FRACTIONS), x, grid, levels)


def _best(reach_FR: Tensor, x: Tensor, grid: Grid, levels: float) -> Tensor:
    """For each row the reach of least squared error, [R]."""
    error_FR = (x - codes(x, reach_FR, grid, levels) * (reach_FR / levels).unsqueeze(-1)).square().sum(-1)
    return reach_FR.gather(0, error_FR.argmin(0, keepdim=True))[0]


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
