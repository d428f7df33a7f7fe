"""Taking the inventory of a model: one forward pass of an example, watched."""

from __future__ import annotations

import warnings
from typing import Final

from torch import nn

from precsearch.errors import ModelError, StaysFloatWarning
from precsearch.layers.example import Example, batch_of, plain_operations, run_example, tensors_in
from precsearch.layers.inventory import Inventory, Layer, SharedTensor, fingerprint
from precsearch.layers.streams import Streams
from precsearch.layers.watch import Calls, Watch, WeightUse
from precsearch.layers.weights import Weight, layer_type, weights_of
from precsearch.precision.kinds import Moment


def take_inventory(model: nn.Module, example_input: Example) -> Inventory:
    """Look at `model` while it runs once on `example_input`, in evaluation mode and without gradients.

    A layer is a parameter of two dimensions or more that enters a matrix product, a convolution or a table lookup.
    Its cost is counted with the formulas of `torch.utils.flop_counter`, operation by operation.

    Args:
        model: any module; it is left as it was.
        example_input: a batch as the model takes it: a tensor [B, ...], a tuple of the forward's arguments, or a
            mapping of them by name; the first tensor's first dimension counts the samples.

    Raises:
        ModelError: when the model does not run on the example or has no layer.
    """
    weights = weights_of(model)
    batch = batch_of(example_input)
    with plain_operations():
        watch = Watch(weights, tensors_in(example_input))
        with Calls(watch) as calls, watch:
            run_example(model, example_input)
        covered = _Covered(watch, calls)
        layers = [covered.layer(name, batch) for name in covered.names]
    if not layers:
        raise ModelError(
            "at least one layer (a weight that enters a matrix product, a convolution or a lookup) must be there, "
            f"but {type(model).__name__} has none that its forward uses"
        )
    for name, reason in covered.left_float.items():
        warnings.warn(f"{name} stays in float32: {reason}", StaysFloatWarning, stacklevel=3)
    return Inventory(
        layers=tuple(layers),
        left_float=covered.left_float,
        float_elements=_float_elements(model, [weights[layer.name] for layer in layers]),
        fingerprint=fingerprint((layer.name, layer.type, layer.shape) for layer in layers),
        shared=_shared(watch.streams, covered, layers),
        moments=_moments(watch.streams, covered, batch),
    )


INDICES: Final = "it has no float numbers"  # such as what an embedding looks up: nothing to quantize


class _Covered:
    """Which weights make layers, and why the others do not.

    Attributes:
        left_float: name -> why it makes no layer.
        names: of the layers.
        readers: module -> the layer whose input the module's first argument is.
        first: module -> its first layer.
    """

    def __init__(self, watch: Watch, calls: Calls) -> None:
        self.weights, self.uses, self.calls = watch.weights, watch.uses, calls
        self.left_float: dict[str, str] = {}
        self.names: list[str] = []
        self.readers: dict[int, str] = {}
        self.first: dict[int, str] = {}
        self._stored: dict[int, str] = {}
        for name, weight in self.weights.items():
            if reason := self._reason(weight, self.uses[name]):
                self.left_float[name] = reason
            else:
                self.names.append(name)
                self.first.setdefault(id(weight.module), name)

    def _reason(self, weight: Weight, use: WeightUse) -> str:
        if isinstance(weight.module, nn.ParameterList | nn.ParameterDict):
            return "it is in a ParameterList or ParameterDict, which cannot be parametrized"
        if use.products:
            return ""
        if use.others:
            return f"it enters no matrix product, convolution or lookup, only {', '.join(sorted(use.others))}"
        if self.calls.of(weight.module) is None:
            return "its forward was never called with the example input"
        return "the example input made no use of it"

    def layer(self, name: str, batch: int) -> Layer:
        """The layer of that name."""
        weight, use, call = self.weights[name], self.uses[name], self.calls.of(self.weights[name].module)
        uncovered = self._uncovered_input(weight, use)
        if not uncovered:
            self.readers.setdefault(id(weight.module), name)
        tied = self._stored.setdefault(id(weight.stored), name)
        return Layer(
            name=name,
            module=weight.module_name,
            type=layer_type(weight.module),
            shape=weight.shape,
            channels=weight.channels,
            inputs=use.inputs // batch,
            outputs=(call.outputs if call is not None else 0) // batch,
            macs=use.macs // batch,
            signed_input=call is None or call.signed,
            uncovered_input=uncovered,
            tied_to=tied if tied != name else None,
        )

    def _uncovered_input(self, weight: Weight, use: WeightUse) -> str:
        call = self.calls.of(weight.module)
        if call is None:
            return "its module's forward is bypassed: another function reads the weight"
        if not weight.reads or not (weight.of_torch or use.factors <= call.arguments):
            return "it is made inside the module's forward"
        if not call.reads_floats:
            return INDICES
        packed = isinstance(weight.module, nn.MultiheadAttention)
        if id(weight.module) in self.readers and not packed:
            return "another weight of the module reads it"
        return ""


def _shared(streams: Streams, covered: _Covered, layers: list[Layer]) -> tuple[SharedTensor, ...]:
    """What several layers read whose inputs can be quantized."""
    found = []
    for summed, modules in streams.streams():
        names = {covered.readers.get(module) for module in modules}
        readers = tuple(layer.name for layer in layers if layer.name in names)
        if len(readers) > 1:
            found.append(SharedTensor("residual" if summed else "shared_input", readers))
    return tuple(found)


def _moments(streams: Streams, covered: _Covered, batch: int) -> tuple[Moment, ...]:
    return tuple(
        Moment(
            covered.first[module],
            tuple(
                (reader, elements // batch)
                for readers, elements in live
                for reader in ([covered.readers.get(module) for module in readers] or [None])
            ),
        )
        for module, live in streams.live()
        if module in covered.first
    )


def _float_elements(model: nn.Module, weights: list[Weight]) -> int:
    """Elements of every parameter and float buffer that is no layer's weight."""
    searched = {id(weight.stored) for weight in weights}
    parameters = sum(p.numel() for p in model.parameters() if id(p) not in searched)
    return parameters + sum(buffer.numel() for buffer in model.buffers() if buffer.is_floating_point())
