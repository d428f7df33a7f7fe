"""Each layer quantized alone to each candidate, everything else in float32: where a network minds its bits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from precsearch.allocation import Target
from precsearch.conversion import Conversion, quantizers_of
from precsearch.data.dataset import Split
from precsearch.evaluation.accuracy import measure
from precsearch.evaluation.images import Images
from precsearch.layers.weights import weights_of
from precsearch.measured import Alone
from precsearch.quantization.base import Quantizer
from precsearch.quantization.quantizers import ActivationQuantizer, WeightQuantizer
from precsearch.quantization.whole_model import quantizers_in

Candidates = Mapping[tuple[str, Target], Sequence[int]]
_TARGETS: Final[tuple[Target, ...]] = ("weight", "activation")


def candidates_in(conversion: Conversion) -> Candidates:
    """Layer and target -> the bit-widths that it may get; what stays in float32 is left out."""
    found = {
        (layer.name, target): conversion.quantizer_bits(layer, target)
        for layer in conversion.layers
        for target in _TARGETS
        if target in conversion.targets
    }
    return {key: bits for key, bits in found.items() if bits}


def measure_alone(
    model: nn.Module, images: Images, ranges_from: Tensor, candidates: Candidates
) -> tuple[tuple[Alone, ...], float]:
    """Loss and accuracy with each layer's weight, or its input, quantized alone -> the rows, and the float loss.

    The weights are those that `model` has, trained for its own bits; ranges fit them and the float activations.
    Nothing of `model` is changed.

    Args:
        model: quantized, settled.
        images: to measure on.
        ranges_from: inputs that the ranges of activations are taken from, [N, ...]; training images.
        candidates: bit-widths of each layer and target.
    """
    split = Split(images.inputs, images.targets)
    with _in_float(model):
        probes = _probes(model, candidates)
        _see(model, ranges_from, [pair for pairs in probes.values() for pair in pairs])
        rows: dict[tuple[Any, int], Alone] = {}
        found = []
        for (layer, target), pairs in probes.items():
            for k, bits in enumerate(candidates[layer, target]):
                key = tuple(id(quantizer) for quantizer, _ in pairs), bits  # tied weights are the same measurement
                if key not in rows:
                    for _, probe in pairs:
                        probe.choose(k)
                    with _instead(pairs):
                        measured = measure(model, split)
                    rows[key] = Alone(
                        layer=layer, target=target, bits=bits, loss=measured.loss, accuracy=measured.accuracy
                    )
                found.append(rows[key].model_copy(update={"layer": layer}))
        return tuple(found), measure(model, split).loss


@contextmanager
def _in_float(model: nn.Module) -> Iterator[None]:
    quantizers = quantizers_in(model)
    enabled = [quantizer.enabled for quantizer in quantizers]
    try:
        for quantizer in quantizers:
            quantizer.enabled = False
        yield
    finally:
        for quantizer, on in zip(quantizers, enabled, strict=True):
            quantizer.enabled = on


def _probes(model: nn.Module, candidates: Candidates) -> dict[tuple[str, Target], list[tuple[Quantizer, Quantizer]]]:
    """For each layer and target, its quantizers and for each of them one like it that has every candidate."""
    weights, found = weights_of(model), {}
    for (layer, target), bits in candidates.items():
        own = quantizers_of(weights[layer]).get(target, [])
        if own:
            found[layer, target] = [(quantizer, _like(quantizer, bits)) for quantizer in own]
    return found


def _like(quantizer: Quantizer, bits: Sequence[int]) -> Quantizer:
    made: Quantizer
    if isinstance(quantizer, WeightQuantizer):
        rows = quantizer.reach.shape[1]
        made = WeightQuantizer(
            bits, quantizer.scale, quantizer.granularity, rows, quantizer.quantizer, quantizer.groups
        )
    else:
        own = cast(ActivationQuantizer, quantizer)
        made = ActivationQuantizer(bits, own.scale, own.signed, own.layer, own.position)
    return made.to(quantizer.reach.device).eval()


@torch.no_grad()
def _see(model: nn.Module, inputs: Tensor, pairs: Sequence[tuple[Quantizer, Quantizer]]) -> None:
    """Let the probes see what their quantizers read."""

    def look(probe: Quantizer, args: tuple[Tensor, ...]) -> None:
        probe.looking = True
        probe(args[0])

    handles = [
        quantizer.register_forward_hook(lambda module, args, output, probe=probe: look(probe, args))
        for quantizer, probe in pairs
    ]
    training = model.training
    try:
        model.eval()
        model(inputs)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()


@contextmanager
def _instead(pairs: Sequence[tuple[Quantizer, Quantizer]]) -> Iterator[None]:
    """The probes quantize where their quantizers let everything pass."""
    handles = [
        quantizer.register_forward_hook(lambda module, args, output, probe=probe: probe(output))
        for quantizer, probe in pairs
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
