"""`packed`: weights as packed integers with their scales, whatever else in float, in as many bytes as were promised."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn.utils import parametrize

from precsearch.errors import ExportError
from precsearch.exports.network.integers import input_ranges, weights_in_integers
from precsearch.exports.network.leave import Run
from precsearch.exports.network.loading import load_packed
from precsearch.exports.network.network import Network, in_batches
from precsearch.exports.network.packed_file import Packed, header_bytes
from precsearch.exports.network.plain import blank_copy, plain_copy, plain_state, same_tensors
from precsearch.exports.report import Kept, Written
from precsearch.layers import weights_of
from precsearch.quantization.quantizers import WeightQuantizer

_FLOAT_BYTES = 4


class PackedIntegers:
    """A safetensors file for `precsearch.load_packed`."""

    name = "packed"
    tolerance = 1e-6  # of the same operations; to the bit where torch multiplies in the same order

    def write(self, network: Network, path: Path) -> Written:
        """Write the file."""
        blob = pack_network(network).to_bytes()
        path.write_bytes(blob)
        header = header_bytes(blob)
        notes = [f"{header:,} bytes are the header: what the tensors are, with the allocation and a checksum"]
        notes += [f"{abs(size):,} bytes {'beyond' if size > 0 else 'less than'} the promised size: {what}"
                  for what, size in beyond_promise(network).items()]  # fmt: skip
        return Written(kept=_kept(network), notes=tuple(notes), header=header)

    def read(self, network: Network, path: Path) -> Run:
        """Load the file into the float model again, which has lost every number that the file should bring."""
        model = blank_copy(network.model)
        load_packed(model, path)
        return lambda inputs: in_batches(model, inputs)

    def watch(self, network: Network, path: Path) -> None:
        """Torch runs the file, as it runs the network."""


def pack_network(network: Network) -> Packed:
    """What a packed file of the network holds.

    Raises:
        ExportError: when a quantized weight is not float32, or something in the model's state is no tensor.
    """
    model = network.model
    state = plain_state(plain_copy(model))
    same = same_tensors(state)
    weights = weights_of(model)
    integers = {}
    for layer, each in weights_in_integers(_float32(model)).items():
        name = f"{weights[layer].module_name}.{weights[layer].parameter}".lstrip(".")
        integers[same.get(name, name)] = each
    floats = {name: value for name, value in state.items() if name not in same and name not in integers}
    return Packed(network.name, network.allocation, integers, input_ranges(model), floats, same)


def beyond_promise(network: Network) -> dict[str, int]:
    """Bytes of the file's tensors that the promised model size does not count, or counts where the file has none.

    The size counts a range for each layer that reads quantized inputs, and every parameter and floating-point buffer
    outside of the quantized weights in float32.
    """
    model = network.model
    plain = plain_copy(model)
    state = plain_state(plain)
    same = same_tensors(state)
    own = [value for name, value in state.items() if name not in same]
    floats = [value for value in own if value.is_floating_point()]
    ranges = input_ranges(model)
    kept = {value.data_ptr() for value in own}
    made = [value for value in plain.buffers() if value.is_floating_point() and value.data_ptr() not in kept]
    extras = {
        "further inputs of layers that read several": _FLOAT_BYTES
        * (len(ranges) - len({each.layer for each in ranges})),
        "buffers of whole numbers, such as what BatchNorm has counted": sum(
            value.nbytes for value in own if not value.is_floating_point()
        ),
        "float parameters and buffers that are not of 32 bits": sum(
            value.nbytes - _FLOAT_BYTES * value.numel() for value in floats
        ),
        "buffers that the model makes itself and does not save": -_FLOAT_BYTES * sum(value.numel() for value in made),
        "what weights were made of, such as weight_norm's parts": _FLOAT_BYTES * _parts_left_out(network),
    }
    return {what: size for what, size in extras.items() if size}


def _parts_left_out(network: Network) -> int:
    """Elements that parametrizations besides ours made of what is in the file, less those that they made it of."""
    weights = weights_of(network.model)
    layers = {id(weights[layer.name].stored) for layer in network.allocation.layers}
    seen: set[int] = set()
    total = 0
    for chain in (each for each in network.model.modules() if isinstance(each, parametrize.ParametrizationList)):
        ours = {id(each) for link in chain if isinstance(link, WeightQuantizer) for each in link.buffers()}
        parts = [*chain.parameters(), *(each for each in chain.buffers() if each.is_floating_point())]
        new = [each for each in parts if id(each) not in ours | seen]
        if new and not any(id(each) in layers for each in new):
            total += chain().numel()
        total -= sum(each.numel() for each in new if id(each) not in layers)
        seen |= {id(each) for each in new}
    return total


def _float32(model: nn.Module) -> nn.Module:
    for layer, weight in weights_of(model).items():
        if weight.value.dtype != torch.float32 and parametrize.is_parametrized(weight.module, weight.parameter):
            raise ExportError(
                f"a quantized weight is exported from float32, but that of {layer!r} is {weight.value.dtype}"
            )
    return model


def _kept(network: Network) -> tuple[Kept, ...]:
    return tuple(
        Kept(
            layer=layer.name,
            target=target,
            bits=precision.bits,
            held_as="FLOAT32" if precision.bits is None else f"{precision.bits} bits",
        )
        for layer in network.allocation.layers
        for target, precision in layer.targets.items()
        if target != "gradient"
    )
