"""Inputs on which no two programs need agree: a value to be rounded lies between two levels.

Sums of float32 in another order differ by about 1e-7 of their largest term, in torch itself between batch sizes. Where
a value lies that close to the middle between two levels, one program rounds it up and the other down, and the outputs
differ by as much as one level of one value makes, though both are right. A large network has such values for nearly
every input, so that there are some excuses nothing: rounded the other way in torch, they must give what was found.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn

from precsearch.quantization.quantizers import ActivationQuantizer

_CLOSE: Final = 1e-6  # in parts of the tensor's largest value
_MOST_AT_ONCE: Final = 4  # values that one input may have rounded otherwise
_MOST_TRIED: Final = 300  # of the values of one input, the closest first


@dataclass(frozen=True, order=True)
class Tie:
    """A value that lies between two levels.

    Attributes:
        distance: from the middle between them, in parts of the largest value beside it.
        quantizer: that rounds it, by its place in the model.
        call: of the quantizer within one forward.
        index: of the value in the flat tensor.
        move: from the level that torch takes to the other one.
    """

    distance: float
    quantizer: int
    call: int
    index: int
    move: float


@dataclass
class _Forward:
    """One forward of a model, some ties rounded otherwise.

    Attributes:
        turned: these ties.
        found: every tie of the forward.
        calls: of each quantizer so far.
    """

    turned: dict[tuple[int, int], list[Tie]]
    found: list[Tie] = field(default_factory=list)
    calls: dict[int, int] = field(default_factory=dict)

    def look(self, place: int, quantizer: ActivationQuantizer, x: Tensor, rounded: Tensor) -> Tensor:
        """Note the ties of `x` -> what it is rounded to."""
        call = self.calls.get(place, 0)
        self.calls[place] = call + 1
        self.found += _ties_of(quantizer, x, place, call)
        turned = self.turned.get((place, call), [])
        if turned:
            rounded = rounded.clone(memory_format=torch.contiguous_format)
            for tie in turned:
                rounded.view(-1)[tie.index] += tie.move
        return rounded


@torch.no_grad()
def ties_of(model: nn.Module, sample: Tensor) -> list[Tie]:
    """The values that lie between two levels, within what sums of float32 differ by; the closest first.

    Args:
        model: quantized, in evaluation mode.
        sample: one input, [1, ...].
    """
    return _run(model, sample, ())[1]


@torch.no_grad()
def rounded_otherwise(model: nn.Module, sample: Tensor, output: Tensor, tolerance: float) -> bool:
    """Whether the model returns `output` where some values between two levels are rounded the other way.

    The tie that brings the model closest is turned, then those of what follows, up to four.

    Args:
        model: quantized, in evaluation mode.
        sample: one input, [1, ...].
        output: what another program returned for it, [1, ...].
        tolerance: how far the model may be from it, in the output's unit.
    """
    turned: tuple[Tie, ...] = ()
    for _ in range(_MOST_AT_ONCE + 1):
        found, ties = _run(model, sample, turned)
        distance = _distance(found, output)
        if distance <= tolerance:
            return True
        nearest = None
        for tie in [tie for tie in ties if tie not in turned][:_MOST_TRIED]:
            reached = _distance(_run(model, sample, (*turned, tie))[0], output)
            if reached < distance:
                distance, nearest = reached, tie
            if reached <= tolerance:
                return True
        if nearest is None:
            return False
        turned = (*turned, nearest)
    return False


def _run(model: nn.Module, sample: Tensor, turned: tuple[Tie, ...]) -> tuple[Tensor, list[Tie]]:
    by_place: dict[tuple[int, int], list[Tie]] = {}
    for tie in turned:
        by_place.setdefault((tie.quantizer, tie.call), []).append(tie)
    forward = _Forward(by_place)
    with _watched(model, forward):
        output: Tensor = model(sample)
    return output, sorted(forward.found)


@contextmanager
def _watched(model: nn.Module, forward: _Forward) -> Iterator[None]:
    quantizers = [module for module in model.modules() if isinstance(module, ActivationQuantizer)]

    def watch(place: int) -> Any:
        return lambda quantizer, args, rounded: forward.look(place, quantizer, args[0], rounded)

    hooks = [quantizer.register_forward_hook(watch(place)) for place, quantizer in enumerate(quantizers)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _ties_of(quantizer: ActivationQuantizer, x: Tensor, place: int, call: int) -> list[Tie]:
    drawn, grid = quantizer.ranges(), quantizer.grid(quantizer.chosen_bits)
    x = x.reshape(-1)
    code = x / drawn.step - grid.offset
    above = code - code.floor() - 0.5
    distance = above.abs() * drawn.step / x.abs().max().clamp_min(1e-30)
    inside = (x < drawn.reach) & (x > (-drawn.reach if grid.signed else 0.0))
    near = (inside & (distance < _CLOSE)).nonzero()[:, 0]
    up = code[near].round() > code[near]  # as torch rounds them: the even one, where they lie in the very middle
    moves = torch.where(up, -drawn.step, drawn.step)
    listed = zip(distance[near].tolist(), near.tolist(), moves.tolist(), strict=True)
    return [Tie(each, place, call, index, move) for each, index, move in listed]


def _distance(found: Tensor, output: Tensor) -> float:
    return float((found - output).abs().max())
