"""`state_dict`: a plain float state dict with the quantized weights in place of those they were made of."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file, save

from precsearch.allocation import Allocation
from precsearch.exports.network.leave import Run
from precsearch.exports.network.network import Network, in_batches
from precsearch.exports.network.plain import plain_copy, plain_state, without_weight_quantizers
from precsearch.exports.report import Kept, Written


class FloatWeights:
    """A safetensors file for `load_state_dict` of the float model; it says nothing of how inputs are quantized."""

    name = "state_dict"
    tolerance = 1e-6

    def write(self, network: Network, path: Path) -> Written:
        """Write the state."""
        state = plain_state(plain_copy(network.model))
        path.write_bytes(save({name: value.clone().contiguous() for name, value in state.items()}))
        return Written(kept=_kept(network.allocation))

    def read(self, network: Network, path: Path) -> Run:
        """Load the file into the network without weight quantizers; the input quantizers stay, which it leaves out."""
        model = without_weight_quantizers(network.model)
        state = load_file(path)
        model.load_state_dict(model.state_dict() | state)
        return lambda inputs: in_batches(model, inputs)


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
