"""`state_dict`: a plain float state dict with the quantized weights in place of those they were made of."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file, save
from torch import Tensor, nn

from precsearch.allocation import Allocation
from precsearch.exports.network.integers import input_ranges
from precsearch.exports.network.leave import Run, share
from precsearch.exports.network.network import Network, in_batches
from precsearch.exports.network.packed_file import header_bytes
from precsearch.exports.network.plain import (
    blank_copy,
    parametrized_otherwise,
    plain_copy,
    plain_state,
    same_tensors,
    without_weight_quantizers,
)
from precsearch.exports.report import Kept, Written


class FloatWeights:
    """A safetensors file for `load_state_dict` of the float model; it says nothing of how inputs are quantized."""

    name = "state_dict"
    tolerance = 1e-6

    def write(self, network: Network, path: Path) -> Written:
        """Write the state."""
        plain = plain_copy(network.model)
        state = plain_state(plain)
        blob = save({name: value.cpu().clone().contiguous() for name, value in state.items()})
        path.write_bytes(blob)
        notes = [
            *_of_inputs(network, plain),
            *_of_parametrizations(parametrized_otherwise(network.model)),
            *_of_ties(same_tensors(state)),
        ]
        return Written(kept=_kept(network.allocation), notes=tuple(notes), header=header_bytes(blob))

    def read(self, network: Network, path: Path) -> Run:
        """Load the file as its user will, then quantize inputs as the network does, which the file leaves out."""
        plain = blank_copy(network.model)
        plain.load_state_dict(load_file(path))
        model = without_weight_quantizers(network.model)
        model.load_state_dict(model.state_dict() | plain.state_dict())
        return lambda inputs: in_batches(model, inputs)

    def watch(self, network: Network, path: Path) -> None:
        """Torch runs the file, as it runs the network."""


def _of_inputs(network: Network, plain: nn.Module) -> list[str]:
    """What the float model makes of the file, where the network quantizes what its layers read."""
    if not input_ranges(network.model):
        return []
    own, searched = in_batches(plain, network.inputs).argmax(1), network.outputs.argmax(1)
    answers = f"the same answer on {_percent(own == searched)} of {len(own):,} inputs"
    if network.targets is not None:
        right = _percent(own == network.targets)
        answers = f"accuracy {right} (with quantized inputs {_percent(searched == network.targets)}), {answers}"
    return [f"what layers read is not quantized in the float model that loads this file: {answers}"]


def _percent(which: Tensor) -> str:
    return f"{100 * share(which):.2f} %"


def _of_parametrizations(names: list[str]) -> list[str]:
    if not names:
        return []
    return [
        f"{', '.join(names)}: plain, though the model parametrized it; load the file into the model without that "
        "parametrization (`torch.nn.utils.parametrize.remove_parametrizations`)"
    ]


def _of_ties(same: dict[str, str]) -> list[str]:
    return [f"{name} is {owner}, and in the file under both names" for name, owner in same.items()]


def _kept(allocation: Allocation) -> tuple[Kept, ...]:
    left_out = "a state dict says nothing of what a layer reads"
    return tuple(
        Kept(layer=layer.name, target=target, bits=precision.bits, held_as="FLOAT32")
        if target == "weight"
        else Kept(layer=layer.name, target=target, bits=precision.bits, held_as="left out", why=left_out)
        for layer in allocation.layers
        for target, precision in layer.targets.items()
        if target != "gradient"
    )
