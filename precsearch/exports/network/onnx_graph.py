"""A network as an ONNX graph in float32, with marks where its inputs are quantized: what the ONNX formats start from.

Every quantized weight is one initializer that holds the values torch computes with, under the name of its parameter;
every quantized input passes one node ``precsearch::QuantizedInput``, which a format replaces with its own.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from precsearch.errors import ExportError
from precsearch.exports.network.integers import InputRange, Integers, input_ranges, weights_in_integers
from precsearch.exports.network.network import Network
from precsearch.exports.network.plain import without_weight_quantizers
from precsearch.layers import weights_of
from precsearch.quantization.gradients import GradientQuantizer
from precsearch.quantization.quantizers import ActivationQuantizer

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

DOMAIN: Final = "precsearch"
MARK: Final = "QuantizedInput"
INPUT: Final = "input"
OUTPUT: Final = "output"
ROUNDED: Final = "rounded_input_"  # the names of quantized inputs begin so, with their place in the forward
_TRACED: Final = 2  # samples: one would be compiled in as a constant


@dataclass(frozen=True, eq=False)
class QuantizedWeight:
    """One initializer of the graph that holds a quantized weight.

    Attributes:
        initializer: its name, that of a parameter of the float model.
        layers: that compute with it; several where they are tied.
        integers: what it holds.
    """

    initializer: str
    layers: tuple[str, ...]
    integers: Integers


@dataclass(frozen=True, eq=False)
class OnnxGraph:
    """A network in float32 with marks.

    Attributes:
        proto: the model; its input is ``input`` [N, ...], its output ``output``.
        weights: quantized ones that the graph has, in the order of the layers.
        inputs: ranges by what the marks say, (layer, position of the argument).
    """

    proto: ModelProto
    weights: tuple[QuantizedWeight, ...]
    inputs: dict[tuple[str, int], InputRange]

    def range_at(self, node: NodeProto) -> InputRange:
        """How the input at a mark is quantized."""
        said = {each.name: each for each in node.attribute}
        return self.inputs[said["layer"].s.decode(), said["position"].i]


def is_mark(node: NodeProto) -> bool:
    """Whether a node stands for the quantizer of an input."""
    return bool(node.domain == DOMAIN and node.op_type == MARK)


def onnx_graph(network: Network, opset: int) -> OnnxGraph:
    """Trace a network into a graph; nothing in it is folded or optimized.

    Args:
        network: quantized, with known ranges.
        opset: version of ONNX's operators.

    Raises:
        ExportError: when torch cannot trace the network, or ONNX has no operator for one that it uses.
    """
    integers = weights_in_integers(network.model)
    model = marked(network.model)
    sample = network.inputs[:1].repeat(_TRACED, *[1] * (network.inputs.dim() - 1))
    proto = _traced(model, sample, opset, network.name)
    _name_marks(proto)
    present = {each.name for each in proto.graph.initializer}
    tied: dict[int, list[str]] = {}
    for name, weight in weights_of(network.model).items():
        if name in integers:
            tied.setdefault(id(weight.stored), []).append(name)
    weights = weights_of(model)
    found = []
    for layers in tied.values():
        names = [f"{weights[name].module_name}.{weights[name].parameter}".lstrip(".") for name in layers]
        found += [QuantizedWeight(name, tuple(layers), integers[layers[0]]) for name in names if name in present]
    _check_every_mark(proto, network.model)
    return OnnxGraph(proto, tuple(found), {(each.layer, each.position): each for each in input_ranges(network.model)})


def marked(model: nn.Module) -> nn.Module:
    """A copy with the quantized values as plain weights, tied ones still tied, and marks for input quantizers."""
    made = without_weight_quantizers(model)
    kept: dict[int, nn.Parameter] = {}
    copies = weights_of(made)
    for name, weight in weights_of(model).items():
        own = copies[name]
        own.module.register_parameter(own.parameter, kept.setdefault(id(weight.stored), _parameter(own.value)))
    for module in list(made.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, ActivationQuantizer):
                child.__class__ = _Mark
            elif isinstance(child, GradientQuantizer):
                setattr(module, name, nn.Identity())
    return made.eval()


def _parameter(value: Tensor) -> nn.Parameter:
    return value if isinstance(value, nn.Parameter) else nn.Parameter(value.detach())


class _Mark(ActivationQuantizer):
    """Leaves a node where the input is quantized."""

    def forward(self, x: Tensor) -> Tensor:
        """`x`, marked."""
        said: dict[str, Any] = {"layer": self.layer, "position": self.position}
        made: Tensor = torch.onnx.ops.symbolic(f"{DOMAIN}::{MARK}", (x,), said, dtype=x.dtype, shape=x.shape, version=1)
        return made


def _traced(model: nn.Module, sample: Tensor, opset: int, name: str) -> ModelProto:
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                model,
                (sample,),
                dynamo=True,
                optimize=False,  # it would fold BatchNorm into the weights, which are on a grid
                dynamic_shapes=({0: torch.export.Dim("N")},),
                opset_version=opset,
                input_names=[INPUT],
                output_names=[OUTPUT],
                verbose=False,
                external_data=False,
            )
    except Exception as error:  # what the exporter raises has no one class
        raise ExportError(f"torch.onnx cannot export {name!r}: {_reason(error)}") from error
    if program is None:
        raise ExportError(f"torch.onnx cannot export {name!r}: it returned nothing")
    proto: ModelProto = program.model_proto
    return proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of itself, and without shortcuts of attention that it has no operators for."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            # a recurrent module is given its quantized weights for the forward, and its parameters back after it
            warnings.filterwarnings("ignore", message="The tensor attributes? .*_flat_weights")
            warnings.simplefilter("ignore", FutureWarning)  # of functions that torch's own exporter calls
            warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"(onnxscript|onnx_ir|onnx)\b")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _reason(error: BaseException) -> str:
    """The first line of what went wrong at the bottom."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _name_marks(proto: ModelProto) -> None:
    """Let the results of marks say where in the forward they are."""
    marks = [node for node in proto.graph.node if is_mark(node)]
    names = {node.output[0]: f"{ROUNDED}{place:04d}" for place, node in enumerate(marks)}
    for node in proto.graph.node:
        for given in (node.input, node.output):
            renamed = [names.get(name, name) for name in given]
            del given[:]
            given.extend(renamed)
    for value in proto.graph.value_info:
        value.name = names.get(value.name, value.name)


def rounded_names(proto: ModelProto) -> list[str]:
    """Names of the quantized inputs that a lowered graph computes, in the order of the forward."""
    made = (name for node in proto.graph.node for name in node.output)
    return sorted(name for name in made if re.fullmatch(ROUNDED + r"\d+", name))


def _check_every_mark(proto: ModelProto, model: nn.Module) -> None:
    """Refuse graphs that lost the quantizer of an input: one that is never called."""
    left = {name for node in proto.graph.node if is_mark(node) for name in [_layer_of(node)]}
    lost = [each.layer for each in input_ranges(model) if each.layer not in left]
    if lost:
        raise ExportError(
            f"the inputs of {', '.join(lost)} are quantized in torch, but the traced graph never quantizes them; "
            "leave their activations out of the search (`pin`), or export `state_dict`"
        )


def _layer_of(node: NodeProto) -> str:
    said: str = next(each.s.decode() for each in node.attribute if each.name == "layer")
    return said
