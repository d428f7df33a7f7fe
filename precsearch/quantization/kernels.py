"""The arithmetic of fake quantization: rounding, and pulling gradients back, each in as few passes as can be.

Training is bound by memory here: every pass over an activation costs about as much as its share of a convolution.
`eager` takes plain operations, few and in place; `compiled` takes one pass each way, made by ``torch.compile`` when
first used and kept by it on disk. Their outputs are equal to the bit; their inner products are summed in another order.

Legend: R rows with a range each (1, or output channels), M values a row; while a whole model is compiled, tensors have
their own shape instead of [R, M], the first dimension with R entries where R is not 1.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from precsearch.errors import ConfigurationError, PrecsearchWarning
from precsearch.quantization.grids import Grid

# Below so many values the operations that compiled code saves cost less than its call: rounding, and the way back
# (`benchmarks.kernels`).
_WORTH_ROUNDING = 2**19
_WORTH_PULLING = 2**18
# Tensors this large belong to networks whose trainings outlast loading or making the compiled code.
_WORTH_COMPILING = 2**19
_INFINITE = np.float32(np.inf)
_SMALLEST = float(np.nextafter(np.float32(0), np.float32(1)))


@dataclass(slots=True, eq=False)
class Ranges:
    """Where the levels are.

    Attributes:
        step: distance of neighbouring levels, positive, [R].
        reach: largest level, positive, [R].
        grid: codes are signed or not, on or between whole numbers.
        numbers: step and reach of a single row, where they are known as numbers.
    """

    step: Tensor
    reach: Tensor
    grid: Grid
    numbers: tuple[float, float] | None = None

    def plain(self) -> tuple[float, float]:
        """Step and reach of a single row as numbers; waits for a device, once."""
        if self.numbers is None:
            self.numbers = float(self.step), float(self.reach)
        return self.numbers


class Pulled(NamedTuple):
    """Gradients, pulled back from a quantized tensor.

    Attributes:
        inside: gradient where the value is inside the reach, 0 elsewhere, [R, M].
        step: of the step, [R]; None where it was not asked for.
        reach: of the reach, [R]; likewise.
    """

    inside: Tensor
    step: Tensor | None
    reach: Tensor | None


def quantize(x_RM: Tensor, ranges: Ranges, kernels: str) -> Tensor:
    """The nearest level of every value, [R, M], in the ranges' dtype or x's, whichever is finer."""
    if torch.compiler.is_compiling() or not _plain_numbers(x_RM, ranges):
        return _quantize(x_RM, *_columns(ranges, x_RM.dim()))
    if _compiles(x_RM, kernels, _WORTH_ROUNDING):
        made: Tensor = _compiled(_quantize)(x_RM.detach(), *_columns(ranges, x_RM.dim()))
        return made
    (step, reach), grid = ranges.plain(), ranges.grid
    code = x_RM / step
    if grid.offset:
        code.sub_(grid.offset).round_().add_(grid.offset)
    else:
        code.round_()
    return code.mul_(step).clamp_(-reach if grid.signed else 0.0, reach)


def pull_back(gradient_RM: Tensor, x_RM: Tensor, q_RM: Tensor | None, ranges: Ranges, kernels: str) -> Pulled:
    """Gradients of the values inside the reach, of the step and of the reach.

    With the rounding residual held fixed, ``dq/dstep = (q - x) / step`` inside and ``dq/dreach = +-1`` outside.

    Args:
        gradient_RM: of the quantized values.
        x_RM: the values.
        q_RM: the quantized values where they are at hand; None to round again.
        ranges: as they were rounded with.
        kernels: ``eager``, ``compiled`` or ``auto``.
    """
    if torch.compiler.is_compiling() or not _plain_numbers(x_RM, ranges):
        inside, level, clipped = _pull_back(gradient_RM, x_RM, *_columns(ranges, x_RM.dim()))
    elif _compiles(x_RM, kernels, _WORTH_PULLING):
        columns = _columns(ranges, x_RM.dim())
        inside, level, clipped = _compiled(_pull_back)(gradient_RM.detach(), x_RM.detach(), *columns)
    else:
        q_RM = quantize(x_RM, ranges, kernels) if q_RM is None else q_RM
        inside = pull_inside(gradient_RM, x_RM, ranges)
        flat, flowed, q = (each.view(-1) for each in (gradient_RM, inside, q_RM))
        within = torch.dot(flowed, q)
        level = (within - torch.dot(flowed, x_RM.view(-1))).view(1)
        clipped = (torch.dot(flat, q) - within).view(1)
    return Pulled(inside, level / ranges.step, clipped / ranges.reach)


def pull_inside(gradient_RM: Tensor, x_RM: Tensor, ranges: Ranges) -> Tensor:
    """The gradient where the value is inside the reach, 0 elsewhere, [R, M]."""
    if torch.compiler.is_compiling() or not _plain_numbers(x_RM, ranges):
        _, reach, low, _ = _columns(ranges, x_RM.dim())
        return torch.where((x_RM >= low) & (x_RM <= reach), gradient_RM, 0.0)
    top = ranges.plain()[1]
    # One pass; it leaves out the bounds themselves, which are inside.
    lowest = -_beyond(top) if ranges.grid.signed else -_SMALLEST
    inside: Tensor = torch.ops.aten.hardtanh_backward(gradient_RM, x_RM, lowest, _beyond(top))
    return inside


def check_kernels(kernels: str) -> str:
    """`kernels`, if it names some that work here.

    Raises:
        ConfigurationError: when it names none, or the compiled ones and no compiler is found.
    """
    if kernels not in KERNELS:
        raise ConfigurationError(f"kernels must be one of {', '.join(KERNELS)}, but got {kernels!r}")
    if kernels == "compiled" and (problem := _problem()) is not None:
        raise ConfigurationError(
            f"kernels: 'compiled' needs torch.compile with a C++ compiler, but it failed here: {problem}; "
            "install one (g++) or use kernels: 'eager'"
        )
    return kernels


KERNELS = ("auto", "eager", "compiled")


def _beyond(number: float) -> float:
    """The next larger number of single precision."""
    return float(np.nextafter(np.float32(number), _INFINITE))


def _plain_numbers(x: Tensor, ranges: Ranges) -> bool:
    """Whether single numbers can be read without waiting for a device, and mean what their tensors would."""
    return ranges.reach.numel() == 1 and x.device.type == "cpu" and x.dtype == ranges.reach.dtype == torch.float32


def _compiles(x: Tensor, kernels: str, least: int) -> bool:
    if kernels == "compiled":
        return x.numel() >= least
    return kernels == "auto" and x.numel() >= _WORTH_COMPILING and _problem(tell=True) is None


def _columns(ranges: Ranges, dimensions: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Step, reach, lowest level and offset, which broadcast against [R, ...] of so many: one code for every grid."""
    step, reach = (each.detach().view(-1, *[1] * (dimensions - 1)) for each in (ranges.step, ranges.reach))
    low = -reach if ranges.grid.signed else torch.zeros_like(reach)
    return step, reach, low, torch.full_like(step, ranges.grid.offset)


def _quantize(x: Tensor, step: Tensor, reach: Tensor, low: Tensor, offset: Tensor) -> Tensor:
    code = (x / step - offset).round() + offset
    return torch.minimum(torch.maximum(code * step, low), reach)


def _pull_back(
    gradient: Tensor, x: Tensor, step: Tensor, reach: Tensor, low: Tensor, offset: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    q = _quantize(x, step, reach, low, offset)
    inside = torch.where((x >= low) & (x <= reach), gradient, 0.0)
    return inside, _of_rows(inside * (q - x), step), _of_rows((gradient - inside) * q, step)


def _of_rows(x: Tensor, step: Tensor) -> Tensor:
    """Sum of the values that share a range, [R]."""
    rows = step.numel()
    return x.sum().view(1) if rows == 1 else x.reshape(rows, -1).sum(1)


@functools.cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` in one pass, tried on two values: what the compiler is made of warns when it is first imported."""
    made = torch.compile(function, dynamic=True, fullgraph=True)
    one = torch.ones(1, 2)
    tried = _columns(Ranges(one[0, :1], one[0, :1], Grid(True, 0.0)), one.dim())
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        made(*[one] * (1 if function is _quantize else 2), *tried)
    return made


def compiler_problem() -> str | None:
    """What keeps this machine from compiling, in words; None where it does."""
    return _problem()


@functools.cache
def _problem(tell: bool = False) -> str | None:
    """What keeps this machine from compiling; None where it does."""
    if tell:
        problem = _problem()
        if problem is not None:
            warnings.warn(
                f"quantizing goes on with plain operations, which cost more time, since compiling failed ({problem}); "
                "install a C++ compiler (g++), or set kernels: 'eager' to not be told",
                PrecsearchWarning,
                stacklevel=2,
            )
        return problem
    try:
        for function in (_quantize, _pull_back):
            _compiled(function)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    return None
