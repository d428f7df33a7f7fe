"""A traced graph for one sample: a batch of one, and nothing left to compute that does not depend on the input."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, ValueInfoProto

_ROUNDS: Final = 8  # shapes that are known make constants, which make shapes known
Shapes = dict[str, tuple[int, ...]]


def one_sample(proto: ModelProto, kept: Collection[str]) -> Shapes:
    """Fix the batch of a graph at one sample, in place, and put constants in place of what follows from constants.

    Args:
        proto: one input and one output, whose first dimension is the batch; nodes of foreign domains have one input
            and return its shape.
        kept: initializers that no constant may be made of, such as quantized weights.

    Returns:
        The shape of every tensor whose shape is known.
    """
    graph = proto.graph
    for each in (graph.input[0], graph.output[0]):
        each.type.tensor_type.shape.dim[0].dim_value = 1
    _say_types(proto)
    for _ in range(_ROUNDS):
        shapes = _shapes(proto)
        if not _fold(proto, shapes, kept):
            break
    used = {name for node in graph.node for name in node.input}
    unused = [each for each in graph.initializer if each.name not in used]
    for each in unused:
        graph.initializer.remove(each)
    return shapes


def _inferred(proto: ModelProto) -> list[ValueInfoProto]:
    """What ONNX infers of every tensor that is computed."""
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(proto)
    del model.graph.value_info[:]
    for node in model.graph.node:
        if node.domain:
            node.CopyFrom(onnx.helper.make_node("Identity", list(node.input), list(node.output)))
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    return [*graph.value_info, *graph.input, *graph.output]


def _say_types(proto: ModelProto) -> None:
    """Put `Cast` in place of `CastLike`, whose result depends on the type of its second input alone."""
    from onnx import helper

    types = {each.name: each.data_type for each in proto.graph.initializer}
    types |= {each.name: each.type.tensor_type.elem_type for each in _inferred(proto)}
    for node in proto.graph.node:
        if node.op_type == "CastLike" and node.input[1] in types:
            node.CopyFrom(helper.make_node("Cast", node.input[:1], node.output, node.name, to=types[node.input[1]]))


def _shapes(proto: ModelProto) -> Shapes:
    found: Shapes = {each.name: tuple(each.dims) for each in proto.graph.initializer}
    for each in _inferred(proto):
        dims = each.type.tensor_type.shape.dim
        if each.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            found[each.name] = tuple(dim.dim_value for dim in dims)
    return found


def _fold(proto: ModelProto, shapes: Shapes, kept: Collection[str]) -> bool:
    """Compute what depends on constants alone -> whether there was anything."""
    from onnx import numpy_helper

    graph = proto.graph
    constant = {each.name for each in graph.initializer} - set(kept) | {""}
    outputs = {each.name for each in graph.output}
    folded: list[NodeProto] = []
    values: dict[str, NDArray[Any]] = {}
    for node in graph.node:
        if node.op_type == "Shape" and not node.domain and node.input[0] in shapes:
            values[node.output[0]] = _part(shapes[node.input[0]], node)
        elif node.domain or not constant.issuperset(node.input) or outputs.intersection(node.output):
            continue
        constant.update(node.output)
        folded.append(node)
    if not folded:
        return False
    computed = [node for node in folded if node.output[0] not in values]
    values |= _run(proto, computed, values)
    rest = [node for node in graph.node if node not in folded]
    read = {name for node in rest for name in node.input}
    del graph.node[:]
    graph.node.extend(rest)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items() if name in read)
    return True


def _part(shape: tuple[int, ...], node: NodeProto) -> NDArray[np.int64]:
    said = {each.name: each.i for each in node.attribute}
    return np.array(shape[said.get("start", 0) : said.get("end", len(shape))], dtype=np.int64)


def _run(proto: ModelProto, nodes: Iterable[NodeProto], given: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What nodes return that read constants only."""
    from onnx import helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    nodes = list(nodes)
    read = {name for node in nodes for name in node.input}
    constants = [each for each in proto.graph.initializer if each.name in read]
    constants += [numpy_helper.from_array(value, name) for name, value in given.items() if name in read]
    wanted = [helper.make_empty_tensor_value_info(name) for node in nodes for name in node.output if name]
    graph = helper.make_graph(nodes, "constants", [], wanted, constants)
    standard = [each for each in proto.opset_import if not each.domain]
    model = helper.make_model(graph, opset_imports=standard)
    found = ReferenceEvaluator(model).run(None, {})
    return {each.name: np.asarray(value) for each, value in zip(wanted, found, strict=True)}
