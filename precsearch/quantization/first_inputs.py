"""The gradient for the bits of an input that needs none itself, such as an image, without its full gradient.

A convolution's gradient for an input of few channels is dear: for the images of a LeNet it costs more than all the
rest of the layer. Only two numbers of it are wanted, its inner products with ``e``, the change of the quantized
input with its step and with its reach. A convolution is linear, so

    <dL/dq, e> = <dL/dy, conv(e, w)> = <w, gradient of the weight for input e and dL/dy>,

and the gradient of a weight of few channels is cheap. Of one channel it costs nearly as much as of three: gray
images, and their two ``e``, go into one computation that gives the weight its own gradient as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import grad

from precsearch.quantization.base import Drawn
from precsearch.quantization.grids import Grid
from precsearch.quantization.kernels import Ranges, quantize
from precsearch.quantization.layouts import as_rows, dense, like, memory_format

_FEW: Final = 4  # channels; of more, the full gradient costs less than two of the weight
_GRADIENTS: Final[dict[Any, Callable[..., Tensor]]] = {
    nn.Conv1d.forward: grad.conv1d_weight,
    nn.Conv2d.forward: grad.conv2d_weight,
    nn.Conv3d.forward: grad.conv3d_weight,
}


def has_shortcut(module: Any) -> bool:
    """Whether the gradient for the bits of this module's input can be had so."""
    return bool(
        type(module).forward in _GRADIENTS  # a subclass may do anything in a forward of its own
        and module.in_channels <= _FEW
        and module.groups == 1
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )


def speak_for_input(
    output: Tensor, weight: Tensor, x: Tensor, drawn: Drawn, grid: Grid, kernels: str, module: Any
) -> Tensor:
    """`output` with its gradients: for the module's weight and bias, and for what its input was quantized with.

    Args:
        output: of the module, computed without gradients, [B, ...].
        weight: that it was computed with.
        x: its input before it was quantized.
        drawn: step and reach that it was quantized with, one row, with their gradients.
        grid: likewise.
        kernels: that it was quantized with.
        module: a convolution that `has_shortcut`.
    """
    apply: Callable[..., Tensor] = _SpeakForInput.apply
    return apply(output, weight, module.bias, drawn.step, drawn.reach, x, drawn.numbers, grid, kernels, module)


class _SpeakForInput(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        output: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        step: Tensor,
        reach: Tensor,
        x: Tensor,
        *settings: Any,
    ) -> Tensor:
        ctx.save_for_backward(weight, step, reach, x)
        ctx.settings = settings
        ctx.mark_dirty(output)  # a view could not be changed in place, as by ReLU(inplace=True); a copy takes a pass
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weight, step, reach, x = ctx.saved_tensors
        numbers, grid, kernels, module = ctx.settings
        x = dense(x)
        q = like(quantize(as_rows(x, reach), Ranges(step, reach, grid, numbers), kernels), x)
        inside = (x <= reach) & (x >= (-reach if grid.signed else 0))
        changes = [torch.where(inside, q - x, 0.0), torch.where(inside, 0.0, q)]
        if not ctx.needs_input_grad[1]:
            of_weight, of_changes = None, _of_weight(changes, weight, gradients[0], module)
        elif weight.shape[1] == 1:
            of_weight, *of_changes = _of_weight([q, *changes], weight, gradients[0], module)
        else:
            (of_weight,) = _of_weight([q], weight, gradients[0], module)
            of_changes = _of_weight(changes, weight, gradients[0], module)
        of_step, of_reach = ((each * weight).sum().view(1) for each in of_changes)
        of_bias = (
            gradients[0].sum([d for d in range(gradients[0].dim()) if d != 1]) if ctx.needs_input_grad[2] else None
        )
        return None, of_weight, of_bias, of_step / step, of_reach / reach, *[None] * 5


def _of_weight(inputs: list[Tensor], weight: Tensor, gradient: Tensor, module: Any) -> list[Tensor]:
    """For each of several inputs the gradient of the weight, in one computation."""
    joined = torch.cat(inputs, dim=1)
    joined = joined.contiguous(memory_format=memory_format(gradient))  # else both would be converted
    out, channels, *kernel = weight.shape
    found = _GRADIENTS[type(module).forward](
        joined, (out, len(inputs) * channels, *kernel), gradient,
        stride=module.stride, padding=module.padding, dilation=module.dilation,
    )  # fmt: skip
    return list(found.view(out, len(inputs), channels, *kernel).unbind(1))
