"""The gradient for the bits of an input that needs none itself, such as an image, without its full gradient.

A convolution's gradient for an input of few channels is dear: for the images of a LeNet it costs more than all the
rest of the layer. Only two numbers of it are wanted, its inner products with ``e``, the change of the quantized
input with its step and with its reach. A convolution is linear, so

    <dL/dq, e> = <dL/dy, conv(e, w)> = <w, gradient of the weight for input e and dL/dy>,

and the gradient of a weight of few channels is cheap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import grad

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


def speak_for_input(output: Tensor, x: Tensor, ranges: Ranges, kernels: str, module: Any) -> Tensor:
    """`output`, whose gradient also reaches the step and the reach that the module's input was quantized with.

    Args:
        output: of the module, [B, ...].
        x: its input before it was quantized.
        ranges: one row; step and reach carry gradients.
        kernels: that it was quantized with.
        module: a convolution that `has_shortcut`, with the weight it has just used.
    """
    apply: Callable[..., Tensor] = _SpeakForInput.apply
    return apply(output, ranges.step, ranges.reach, x, module.weight.detach(), ranges.grid, kernels, module)


class _SpeakForInput(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, output: Tensor, step: Tensor, reach: Tensor, x: Tensor, weight: Tensor, *settings: Any
    ) -> Tensor:
        ctx.save_for_backward(step, reach, x, weight)
        ctx.settings = settings
        ctx.mark_dirty(output)  # a view could not be changed in place, as by ReLU(inplace=True); a copy takes a pass
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        step, reach, x, weight = ctx.saved_tensors
        grid, kernels, module = ctx.settings
        x = dense(x)
        q = like(quantize(as_rows(x, reach), Ranges(step, reach, grid), kernels), x)
        inside = (x <= reach) & (x >= (-reach if grid.signed else 0))
        changes = torch.cat([torch.where(inside, q - x, 0.0), torch.where(inside, 0.0, q)], dim=1)
        changes = changes.contiguous(memory_format=memory_format(gradients[0]))  # else both would be converted
        out, channels, *kernel = weight.shape
        of_weight = _GRADIENTS[type(module).forward](
            changes, (out, 2 * channels, *kernel), gradients[0],
            stride=module.stride, padding=module.padding, dilation=module.dilation,
        )  # fmt: skip
        products = (of_weight.view(out, 2, channels, *kernel) * weight.unsqueeze(1)).transpose(0, 1).flatten(1).sum(1)
        of_step, of_reach = products.split(1)
        return gradients[0], of_step / step, of_reach / reach, *[None] * 5
