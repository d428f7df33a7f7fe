"""Inputs on which no two programs need agree: a value to be rounded lies between two levels.

Sums of float32 in another order differ by about 1e-7 of their largest term, in torch itself between batch sizes. Where
a value lies that close to the middle between two levels, one program rounds it up and the other down, and the outputs
differ by as much as one level of one value makes, though both are right. A large network has such values for nearly
every input, so that there are some excuses nothing: torch is run with the other program's roundings wherever they are
such ties, must agree with every other one, and must then return what the other program did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from precsearch.quantization.quantizers import ActivationQuantizer

_CLOSE: Final = 2e-6  # of the middle between two levels, in parts of the tensor's largest value


@dataclass
class _Replay:
    """One forward with the roundings of another program.

    Attributes:
        rounded: what the other program rounded each quantized input to, in the order of the forward.
        calls: of quantizers so far.
        agrees: whether every other value was rounded alike, so far.
    """

    rounded: Sequence[Tensor]
    calls: int = 0
    agrees: bool = True

    def take(self, quantizer: ActivationQuantizer, args: tuple[Any, ...], own: Tensor) -> Tensor:
        """A forward hook -> what `quantizer` returned, but the other level where the other program took that one."""
        call, self.calls = self.calls, self.calls + 1
        if call >= len(self.rounded) or self.rounded[call].shape != own.shape:
            self.agrees = False
            return own
        theirs, step = self.rounded[call], quantizer.ranges().step
        differs = (theirs - own).abs() > step / 2
        other = own + step * torch.sign(args[0] - own)
        tie = differs & ((theirs - other).abs() < step / 4) & _between_levels(quantizer, args[0])
        self.agrees &= bool((tie == differs).all())
        return torch.where(tie, other, own)


@torch.no_grad()
def with_roundings(model: nn.Module, inputs: Tensor, rounded: Sequence[Tensor]) -> Tensor | None:
    """What the model returns where values between two levels are rounded as another program rounded them.

    Args:
        model: quantized, in evaluation mode.
        inputs: [N, ...].
        rounded: what the other program rounded each quantized input to, in the order of the forward.

    Returns:
        The outputs; None where the other program rounded anything otherwise that does not lie between two levels.
    """
    replay = _Replay(rounded)
    with _watched(model, replay):
        outputs: Tensor = model(inputs)
    return outputs if replay.agrees and replay.calls == len(rounded) else None


@contextmanager
def _watched(model: nn.Module, replay: _Replay) -> Iterator[None]:
    quantizers = [module for module in model.modules() if isinstance(module, ActivationQuantizer)]
    hooks = [quantizer.register_forward_hook(replay.take) for quantizer in quantizers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _between_levels(quantizer: ActivationQuantizer, x: Tensor) -> Tensor:
    """Which values lie in the middle between two levels, within what sums of float32 differ by; of the shape of `x`."""
    drawn, grid = quantizer.ranges(), quantizer.grid(quantizer.chosen_bits)
    code = x / drawn.step - grid.offset
    return (code - code.floor() - 0.5).abs() * drawn.step <= _CLOSE * x.abs().max()
