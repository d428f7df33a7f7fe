"""Random bit flips in the packed weights: memory at low voltage, or under radiation.

A quantized weight of b bits is stored as its code: in two's complement where zero is a level (``symmetric``), else
counted from the lowest level (``dorefa``, and every 1-bit weight). A weight in float32 is stored as it is, in 32 bits,
and a flip in its exponent can make it huge. Biases, scales and vectors are left alone.

Legend: R rows with a step each, M weights a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn

from precsearch.conversion import quantizers_of
from precsearch.data.batches import Batches
from precsearch.data.dataset import Split
from precsearch.evaluation.images import Images
from precsearch.evaluation.randomness import stream
from precsearch.evaluation.victims import MeanOverDraws, mean_of
from precsearch.layers.weights import weights_of
from precsearch.measured import BitFlips
from precsearch.quantization.grids import Grid
from precsearch.quantization.quantizers import WeightQuantizer
from precsearch.quantization.rows import from_rows, to_rows

_BATCH = 1000
_WORD_BITS: Final = 32
_WORD: Final = (1 << _WORD_BITS) - 1


def measure_bit_flips(
    model: nn.Module, images: Images, rates: tuple[float, ...], draws: int, seed: int
) -> tuple[BitFlips, ...]:
    """Accuracy of `model` with bits of its weights flipped, for each rate and independent draw of flips.

    An answer that is no longer finite is wrong. Of the mean over drawn allocations each is packed by itself and gets
    flips of its own; the answer is the mean over all of them.
    """
    split = Split(images.inputs, images.targets)

    def accuracy(rate: float, draw: int) -> float:
        outputs = _faulty_outputs(model, split, rate, (seed, "bit_flips", rate, draw))
        right = (outputs.argmax(1) == split.targets) & outputs.isfinite().all(1)
        return int(right.sum()) / len(split)

    return tuple(BitFlips(rate=rate, accuracies=tuple(accuracy(rate, draw) for draw in range(draws))) for rate in rates)


@contextmanager
def flipped(model: nn.Module, rate: float, generator: torch.Generator) -> Iterator[None]:
    """A context in which every bit of the weights is flipped with probability `rate`.

    The flips stay the same within it, as a fault of memory does. No parameter or buffer is written to; a weight in
    float32 is another parameter meanwhile.

    Args:
        model: quantized, settled, in evaluation mode whenever it runs here.
        rate: 0 to 1.
        generator: on the CPU.
    """
    with ExitStack() as restored:
        made: dict[int, Any] = {}  # tied weights are stored once
        for weight in weights_of(model).values():
            quantizers = [each for each in quantizers_of(weight).get("weight", []) if isinstance(each, WeightQuantizer)]
            for quantizer in quantizers:
                if quantizer.enabled and id(quantizer) not in made:
                    made[id(quantizer)] = faulty = _faulty(quantizer, weight.stored, rate, generator)
                    hook = quantizer.register_forward_hook(lambda module, args, output, faulty=faulty: faulty)
                    restored.callback(hook.remove)
            if not quantizers and weight.value.dtype == torch.float32 and isinstance(weight.stored, nn.Parameter):
                stored = weight.stored
                if id(stored) not in made:
                    made[id(stored)] = nn.Parameter(_faulty_float(stored, rate, generator), stored.requires_grad)
                setattr(weight.module, weight.parameter, made[id(stored)])
                restored.callback(setattr, weight.module, weight.parameter, stored)
        yield


def encode(codes: Tensor, grid: Grid, bits: int) -> Tensor:
    """What is stored for codes: int64, its lowest `bits` bits are the packed ones.

    Args:
        codes: levels counted in steps, as `Grid` counts them: whole or halves.
        grid: of the codes.
        bits: 1 to 16.
    """
    if grid.signed and not grid.offset:
        return codes.round().long() & ((1 << bits) - 1)
    lowest = -grid.levels(bits) if grid.signed else 0.0
    return (codes - lowest).round().long()


def decode(stored: Tensor, grid: Grid, bits: int) -> Tensor:
    """The codes, float64, that are read from what `encode` stores, or from what became of it.

    In two's complement there is one more code than a symmetric grid has levels, ``-2^(bits - 1)``: a flip may make it,
    and then it is read as it stands.
    """
    if grid.signed and not grid.offset:
        half = 1 << (bits - 1)
        return ((stored ^ half) - half).double()
    lowest = -grid.levels(bits) if grid.signed else 0.0
    return stored.double() + lowest


def flip_bits(stored: Tensor, bits: int, rate: float, generator: torch.Generator) -> Tensor:
    """`stored` with each of its lowest `bits` bits flipped with probability `rate`, independently."""
    for bit in range(bits):
        hit = torch.rand(stored.shape, generator=generator, dtype=torch.float64) < rate
        stored = stored ^ (hit.to(stored) << bit)
    return stored


@torch.no_grad()
def _faulty_float(weight: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """A float32 weight after the flips of its 32 bits; the very same numbers where none was hit."""
    words = weight.detach().contiguous().view(torch.int32)
    after = flip_bits(words.long() & _WORD, _WORD_BITS, rate, generator)
    return (after - ((after >> (_WORD_BITS - 1)) << _WORD_BITS)).to(torch.int32).view(torch.float32)


def _faulty_outputs(model: nn.Module, split: Split, rate: float, labels: tuple[Any, ...]) -> Tensor:
    """Logits or log-probabilities [N, classes] with flips from the stream that the labels name."""
    if isinstance(model, MeanOverDraws):
        parts = enumerate(model.each())
        return mean_of([_faulty_outputs(one, split, rate, (*labels, i)).log_softmax(1) for i, one in parts])
    with flipped(model, rate, stream(*labels)), torch.no_grad():
        return torch.cat([model(inputs) for inputs, _ in Batches(split, _BATCH)])


@torch.no_grad()
def _faulty(quantizer: WeightQuantizer, weight: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """The weight that the layer computes with after the flips, of the shape of `weight`."""
    bits, grid = quantizer.chosen_bits, quantizer.grid(quantizer.chosen_bits)
    exact_RM = to_rows(quantizer(weight), quantizer.groups)
    step_R1 = quantizer.ranges().step.double().reshape(-1, *[1] * (exact_RM.ndim - 1))
    stored = encode(exact_RM.double() / step_R1, grid, bits)
    after = flip_bits(stored, bits, rate, generator)
    # What no flip has hit stays equal to the bit: its level was clamped to the reach after it was rounded.
    faulty = torch.where(after == stored, exact_RM, (decode(after, grid, bits) * step_R1).to(exact_RM.dtype))
    return from_rows(faulty, quantizer.groups)
