"""From a graph with marks to one of QuantizeLinear and DequantizeLinear, in the shapes that onnxruntime fuses.

The weight of a Linear layer that nothing else reads is stored as [in, out], one scale for each output, and feeds a
MatMul; what is added to the product is subtracted negated, since onnxruntime would put MatMul and Add together first,
and then no longer see that the weight is quantized. Half a step that is to be added to such a weight is added to the
product instead: ``x (C s + s / 2) = (x C) s + sum(x) s / 2``.

Of a pair of a quantized input and a quantized weight onnxruntime multiplies the integers, where both take 8 bits. On
CPUs without VNNI (AVX2) its sums overflow if the codes are large: those pairs are kept apart.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from precsearch.exports.network.containers import ir_version
from precsearch.exports.network.holdings import Form, Held, Holdings
from precsearch.exports.network.integers import InputRange
from precsearch.exports.network.onnx_edit import Draft, attributes, readers
from precsearch.exports.network.onnx_graph import DOMAIN, OnnxGraph, QuantizedWeight, is_mark

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_MATRIX: Final = 2
_BYTE: Final = 8
# onnxruntime adds two products of bytes in 16 bits where a CPU has no VNNI, and takes signed inputs as unsigned.
_LARGEST_PRODUCT: Final = (2**15 - 1) // 2


def to_qdq(graph: OnnxGraph, holdings: Holdings) -> ModelProto:
    """The network as standard ONNX; `graph` is used up."""
    draft = Draft(graph.proto)
    reading = readers(graph.proto.graph.node)
    products: dict[str, _Product] = {}
    dropped: set[str] = set()
    largest = {layer: _largest_of_bytes(each, holdings) for each in graph.weights for layer in each.layers}
    for weight in graph.weights:
        held, product = holdings.weights[weight.layers[0]], _product_of(weight, reading)
        if product is None:
            _dequantize(draft, weight, held)
        else:
            product.prepare(draft, weight, held)
            products[product.node.output[0]] = product
            dropped |= product.dropped
    for node in graph.proto.graph.node:
        if is_mark(node):
            given = graph.range_at(node)
            product = next((each for each in products.values() if each.factor == node.output[0]), None)
            read = holdings.inputs[given.layer, given.position]
            fuses = _fuses(given, read, largest.get(given.layer), product is not None)
            _quantize_input(draft, node, given, read, fuses)
        elif node.output[0] in products:
            products[node.output[0]].write(draft)
        elif node.output[0] not in dropped:
            draft.nodes.append(node)
    model = draft.finish()
    model.ir_version = ir_version(holdings.opset)
    kept = [each for each in model.opset_import if each.domain != DOMAIN]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return model


def _dequantize(draft: Draft, weight: QuantizedWeight, held: Held) -> None:
    """A weight in its own layout, whatever reads it."""
    name, integers = weight.initializer, weight.integers
    axis, scale = integers.axis, _scale(weight, held)
    draft.constants.pop(name)
    codes = draft.constant(f"{name}_quantized", _codes(weight, held))
    along = {} if axis is None else {"axis": axis}
    if held.form is not Form.HALF:
        draft.node("DequantizeLinear", [codes, draft.constant(f"{name}_scale", scale)], name, **along)
        return
    half = scale / 2
    if axis is not None:
        half = half.reshape([-1 if dimension == axis else 1 for dimension in range(integers.codes.dim())])
    whole = draft.node("DequantizeLinear", [codes, draft.constant(f"{name}_scale", scale)], f"{name}_whole", **along)
    draft.node("Add", [whole, draft.constant(f"{name}_half_step", half)], name)


class _Product:
    """A product of something with the weight of a Linear layer, which nothing else reads.

    Args:
        node: that the product's result comes from.
        factor: what the weight is multiplied with.
        bias: name of what is added, or None.
        dropped: outputs of nodes that are not needed any more.
    """

    def __init__(self, node: NodeProto, factor: str, bias: str | None, dropped: set[str]) -> None:
        self.node, self.factor, self.bias, self.dropped = node, factor, bias, dropped
        self.weight, self.half = "", ""

    def prepare(self, draft: Draft, weight: QuantizedWeight, held: Held) -> None:
        """Store the weight as [in, out] with a scale for each output."""
        name, outputs = weight.initializer, weight.integers.codes.shape[0]
        draft.constants.pop(name)
        codes = draft.constant(f"{name}_quantized", np.ascontiguousarray(_codes(weight, held).T))
        scale = np.broadcast_to(_scale(weight, held), (outputs,)).copy()
        self.weight = draft.node("DequantizeLinear", [codes, draft.constant(f"{name}_scale", scale)], name, axis=1)
        if held.form is Form.HALF:
            self.half = draft.constant(f"{name}_half_step_negated", -scale / 2)

    def write(self, draft: Draft) -> None:
        """Append the product, and what is added to it."""
        output = self.node.output[0]
        product = f"{output}_product" if self.half or self.bias else output
        draft.node("MatMul", [self.factor, self.weight], product)
        negated = ""
        if self.bias in draft.constants:
            negated = draft.constant(f"{self.bias}_negated", -draft.constants[self.bias])
        if self.half:
            last = draft.constant("last_axis", np.array([-1], np.int64))
            total = draft.node("ReduceSum", [self.factor, last], f"{output}_sum", keepdims=1)
            shift = draft.node("Mul", [total, self.half], f"{output}_shift")
            if negated:
                shift = draft.node("Add", [shift, negated], f"{output}_shift_and_bias")
            elif self.bias:
                shift = draft.node("Sub", [shift, self.bias], f"{output}_shift_and_bias")
            draft.node("Sub", [product, shift], output)
        elif negated:
            draft.node("Sub", [product, negated], output)
        elif self.bias:
            draft.node("Add", [product, self.bias], output)


def _product_of(weight: QuantizedWeight, reading: dict[str, list[NodeProto]]) -> _Product | None:
    """The product that alone reads a weight: Gemm, or a MatMul behind a Transpose."""
    using = reading.get(weight.initializer, [])
    if len(using) != 1 or weight.integers.codes.dim() != _MATRIX or len(weight.layers) != 1:
        return None
    (node,) = using
    said = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0} | attributes(node)
    if node.op_type == "Gemm" and node.input[1] == weight.initializer and node.input[0] != weight.initializer:
        plain = said["alpha"] == said["beta"] == 1 and not said["transA"] and said["transB"]
        bias = node.input[2] if len(node.input) > _MATRIX else None
        return _Product(node, node.input[0], bias, set()) if plain else None
    after = reading.get(node.output[0], []) if node.op_type == "Transpose" and said.get("perm") == [1, 0] else []
    if len(after) == 1 and after[0].op_type == "MatMul" and list(after[0].input).index(node.output[0]) == 1:
        return _Product(after[0], after[0].input[0], None, {node.output[0]})
    return None


class _Fuses(Enum):
    """What onnxruntime should take a quantized input together with."""

    PAIR = "a weight of 8 bits: it multiplies integers"
    WEIGHT = "nothing: it has a kernel for the weight alone, or none at all"
    ANY = "whatever it finds"


def _fuses(given: InputRange, held: Held, largest: int | None, multiplied: bool) -> _Fuses:
    """What is fast where it is exact.

    Args:
        given: the input's range.
        held: how it is held.
        largest: code of the weight, where that takes 8 bits.
        multiplied: whether it is a factor of a product that keeps the weight as [in, out].
    """
    if held.container.bits != _BYTE or held.form is Form.HALF or (multiplied and largest is None):
        return _Fuses.WEIGHT
    top = 2**_BYTE - 1 if given.grid.signed else int(given.grid.levels(given.bits))
    if largest is not None and top * largest > _LARGEST_PRODUCT:
        return _Fuses.WEIGHT
    return _Fuses.PAIR if multiplied else _Fuses.ANY


def _largest_of_bytes(weight: QuantizedWeight, holdings: Holdings) -> int | None:
    held = holdings.weights[weight.layers[0]]
    return int(np.abs(_codes(weight, held).astype(np.int32)).max()) if held.container.bits == _BYTE else None


def _quantize_input(draft: Draft, node: NodeProto, given: InputRange, held: Held, fuses: _Fuses) -> None:
    """What the layer reads, rounded to its levels.

    A Clip goes where the integers have codes that the grid does not. Behind DequantizeLinear it also hides it from what
    multiplies.
    """
    x, output, name = node.input[0], node.output[0], f"{node.output[0]}_{given.layer}.input{given.position or ''}"
    scale = draft.constant(f"{name}_scale", np.float32(given.step))
    zero = draft.constant(f"{name}_zero", np.zeros((), held.container.dtype))
    low, high = -given.reach if given.grid.signed else 0.0, given.reach
    bounds = [draft.constant(f"{name}_low", np.float32(low)), draft.constant(f"{name}_high", np.float32(high))]
    half = draft.constant(f"{name}_half_step", np.float32(given.step / 2))
    exact = not given.grid.signed and held.container.bits == given.bits
    if held.form is Form.HALF:
        x = draft.node("Sub", [x, half], f"{name}_shifted")
    elif fuses is _Fuses.PAIR and not exact:
        x = draft.node("Clip", [x, *bounds], f"{name}_within")
    codes = draft.node("QuantizeLinear", [x, scale, zero], f"{name}_codes")
    if fuses is _Fuses.PAIR or (fuses is _Fuses.ANY and exact):
        draft.node("DequantizeLinear", [codes, scale, zero], output)
        return
    levels = draft.node("DequantizeLinear", [codes, scale, zero], f"{name}_levels")
    if held.form is Form.HALF:
        levels = draft.node("Add", [levels, half], f"{name}_halfway")
    draft.node("Clip", [levels, *bounds], output)


def _codes(weight: QuantizedWeight, held: Held) -> NDArray[Any]:
    codes = weight.integers.codes.numpy().astype(np.int32)
    return (2 * codes + 1 if held.form is Form.ODD else codes).astype(held.container.dtype)


def _scale(weight: QuantizedWeight, held: Held) -> NDArray[Any]:
    """[] or [R]."""
    step = weight.integers.step.detach().numpy()
    scale = step / 2 if held.form is Form.ODD else step
    return scale if weight.integers.axis is not None else scale.reshape(())
