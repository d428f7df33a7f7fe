"""A marked graph with QONNX's nodes: every quantized weight and input passes a `Quant` or a `BipolarQuant`.

`Quant` returns ``(clamp(round(x / scale + zero), low, high) - zero) * scale`` with the bounds of its integers:
``-2^(b-1) .. 2^(b-1) - 1`` signed, ``1 - 2^(b-1) .. 2^(b-1) - 1`` signed and narrow, ``0 .. 2^b - 1`` unsigned. So a
symmetric grid is signed and narrow, an unsigned one neither, and one whose codes lie halfway between whole numbers
(DoReFa's) signed with a zero of -1/2. One signed bit is `BipolarQuant`: ``scale`` or ``-scale``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from precsearch.exports.network.integers import Integers
from precsearch.exports.network.onnx_graph import DOMAIN as MARKS
from precsearch.exports.network.onnx_graph import OnnxGraph, is_mark
from precsearch.exports.network.onnx_static import Shapes, one_sample
from precsearch.quantization.grids import Grid

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

DOMAIN: Final = "qonnx.custom_op.general"
QUANT: Final = "Quant"
BIPOLAR: Final = "BipolarQuant"


def with_quant_nodes(graph: OnnxGraph) -> ModelProto:
    """The graph for a batch of one sample, lowered; every tensor's shape is said."""
    from onnx import helper

    proto = graph.proto
    quantized = {each.initializer: f"{each.initializer}/quantized" for each in graph.weights}
    shapes = one_sample(proto, quantized.keys())
    nodes = _Nodes()
    for weight in graph.weights:
        own = weight.integers
        nodes.quantize(weight.initializer, quantized[weight.initializer], own.grid, own.bits, _scale(own))
        shapes[quantized[weight.initializer]] = tuple(own.codes.shape)
    for node in proto.graph.node:
        inputs = [quantized.get(name, name) for name in node.input]
        if is_mark(node):
            read = graph.range_at(node)
            nodes.quantize(inputs[0], node.output[0], read.grid, read.bits, np.float32(read.step))
        else:
            nodes.keep(node, inputs)
    del proto.graph.node[:], proto.graph.value_info[:]
    proto.graph.node.extend(nodes.made)
    _drop_zero_biases(proto)
    proto.graph.initializer.extend(nodes.constants)
    _say_shapes(proto, shapes)
    kept = [each for each in proto.opset_import if each.domain != MARKS]
    del proto.opset_import[:]
    proto.opset_import.extend([*kept, helper.make_opsetid(DOMAIN, 1)])
    return proto


def operator_of(grid: Grid, bits: int) -> tuple[str, dict[str, Any]]:
    """The operator that rounds to a grid, and its attributes."""
    if bits == 1 and grid.signed:
        return BIPOLAR, {}
    narrow = grid.signed and not grid.offset
    return QUANT, {"signed": int(grid.signed), "narrow": int(narrow), "rounding_mode": "ROUND"}


class _Nodes:
    """Nodes and constants that are made."""

    def __init__(self) -> None:
        self.made: list[NodeProto] = []
        self.constants: list[Any] = []

    def quantize(self, source: str, output: str, grid: Grid, bits: int, scale: Any) -> None:
        """Quantize a tensor."""
        from onnx import helper

        operator, said = operator_of(grid, bits)
        bipolar = operator == BIPOLAR
        inputs = {"scale": scale * np.float32(0.5)} if bipolar else {"scale": scale, "zero": -grid.offset, "bits": bits}
        names = [self._constant(f"{output}/{what}", value) for what, value in inputs.items()]
        made = helper.make_node(operator, [source, *names], [output], f"{output}/{operator}", domain=DOMAIN, **said)
        self.made.append(made)

    def keep(self, node: NodeProto, inputs: list[str]) -> None:
        """Take a node over, with these inputs."""
        del node.input[:]
        node.input.extend(inputs)
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
        self.made.append(node)

    def _constant(self, name: str, value: Any) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=np.float32), name))
        return name


def _scale(weight: Integers) -> Any:
    """The steps of a weight, in a shape that broadcasts against it."""
    if weight.axis is None:
        return weight.step.numpy().reshape(())
    return weight.step.numpy().reshape([-1 if axis == weight.axis else 1 for axis in range(weight.codes.dim())])


def _drop_zero_biases(proto: ModelProto) -> None:
    """Convolutions without a bias were traced with one of zeros, which FPGA flows would add."""
    from onnx import numpy_helper

    constants = {each.name: each for each in proto.graph.initializer}
    for node in proto.graph.node:
        bias = node.input[2] if node.op_type in ("Conv", "ConvTranspose") and len(node.input) > 2 else None  # noqa: PLR2004
        if bias in constants and not numpy_helper.to_array(constants[bias]).any():
            del node.input[2]
    read = {name for node in proto.graph.node for name in node.input}
    for name in constants.keys() - read:
        proto.graph.initializer.remove(constants[name])


def _say_shapes(proto: ModelProto, shapes: Shapes) -> None:
    from onnx import TensorProto, helper

    said = {each.name for each in (*proto.graph.input, *proto.graph.output)}
    for node in proto.graph.node:
        for name in node.output:
            if name in shapes and name not in said:
                proto.graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]))
