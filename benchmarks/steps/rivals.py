"""Rival tools' training steps, from their documented use; each needs its tool, see `benchmarks/rivals.txt`.

Every one quantizes the weight and the input of every convolution and linear layer, the image too.
"""

from __future__ import annotations

import copy
import os
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.steps.training import Make, Step, training

WORTH = 1e-3  # of the mean bit-width, in the loss of those that learn it


def brevitas(learned: bool) -> Make:
    """Brevitas: 8 bits, fixed or one learned width a quantizer; past the phase that collects statistics."""

    def make(net: nn.Module, inputs: Tensor, labels: Tensor) -> Step:
        from brevitas.inject.enum import BitWidthImplType
        from brevitas.loss import ActivationBitWidthWeightedBySize, WeightBitWidthWeightedBySize
        from brevitas.nn import QuantConv2d, QuantLinear
        from brevitas.quant import Int8ActPerTensorFloat, Int8WeightPerTensorFloat

        own: dict[str, Any] = {"bit_width_impl_type": BitWidthImplType.PARAMETER} if learned else {}
        # The first 300 steps would be dearer than all that follow.
        reads = type("Reads", (Int8ActPerTensorFloat,), {**own, "collect_stats_steps": 1})
        weighs = type("Weighs", (Int8WeightPerTensorFloat,), own)

        def swapped(layer: nn.Module) -> nn.Module | None:
            quantizers = {"weight_quant": weighs, "input_quant": reads, "bias": layer.bias is not None}
            if isinstance(layer, nn.Conv2d):
                sizes = {"stride": layer.stride, "padding": layer.padding, "groups": layer.groups}
                return QuantConv2d(layer.in_channels, layer.out_channels, layer.kernel_size, **sizes, **quantizers)
            return QuantLinear(layer.in_features, layer.out_features, **quantizers)

        model = copy.deepcopy(net)
        for name, layer in list(model.named_modules()):
            if isinstance(layer, nn.Conv2d | nn.Linear):
                new = swapped(layer)
                new.load_state_dict(layer.state_dict(), strict=False)
                model.set_submodule(name, new)
        model.train()
        costs = [kind(model) for kind in (WeightBitWidthWeightedBySize, ActivationBitWidthWeightedBySize)]

        def bits() -> Tensor:
            total = WORTH * sum(cost.retrieve() for cost in costs)
            for cost in costs:
                cost.zero_accumulated_values()
            return total

        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        return training(model, optimizer, inputs, labels, bits if learned else None)

    return make


def modelopt(net: nn.Module, inputs: Tensor, labels: Tensor) -> Step:
    """ModelOpt: INT8 quantization-aware training; ranges stay as calibrated, nothing is searched."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from modelopt.torch import quantization

        model = quantization.quantize(copy.deepcopy(net), quantization.INT8_DEFAULT_CFG, lambda each: each(inputs))
    optimizer = torch.optim.SGD(model.train().parameters(), lr=0.01)
    return training(model, optimizer, inputs, labels)


def pquantml(net: nn.Module, inputs: Tensor, labels: Tensor) -> Step:
    """PQuantML: bits learned per tensor by high-granularity quantization, without pruning, all terms of its loss."""
    os.environ.setdefault("KERAS_BACKEND", "torch")  # without, it looks for TensorFlow
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pquant
        from pquant.core.torch.layers import post_pretrain_functions

        config = pquant.pdp_config()
        config.pruning_parameters.enable_pruning = False
        quantization = config.quantization_parameters
        quantization.use_high_granularity_quantization = True
        quantization.default_data_keep_negatives = 1.0  # BatchNorm's inputs would be clipped at zero
        quantization.default_data_integer_bits, quantization.default_data_fractional_bits = 3.0, 4.0
        quantization.hgq_beta, quantization.hgq_gamma = 1e-12, 1e-9  # bits stay alive in a short run
        model = pquant.add_compression_layers(copy.deepcopy(net), config, inputs.shape).train()
        model(inputs)
        post_pretrain_functions(model, config)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    return training(model, optimizer, inputs, labels, lambda: pquant.get_model_losses(model, torch.zeros(())))


RIVALS: dict[str, Make] = {
    "Brevitas, 8 bits": brevitas(learned=False),
    "Brevitas, learned bits": brevitas(learned=True),
    "PQuantML, learned bits": pquantml,
    "ModelOpt, INT8": modelopt,
}
