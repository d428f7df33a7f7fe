"""The float shadow of a network: the same weights, nothing quantized."""

from __future__ import annotations

import copy

from torch import nn

from precsearch.quantization.whole_model import quantizers_in


def float_shadow(model: nn.Module) -> nn.Module:
    """A copy of `model` that computes in float32 with the weights as they are stored; `model` is left as it is.

    Args:
        model: frozen, from `apply_allocation`, or without quantizers.
    """
    shadow = copy.deepcopy(model)
    for quantizer in quantizers_in(shadow):
        quantizer.enabled = False
    return shadow
