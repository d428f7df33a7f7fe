"""What QONNX's own inference cost says of a network: `pip install qonnx`, then `python tests/qonnx_costs.py`.

Prints JSON. Its figures stand in test_costs_by_hand.py, so that they are checked where qonnx is not installed.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

SIDE = 8
# name, input channels, output channels, kernel, stride, groups, weight bits, activation bits
CONVOLUTIONS = [("conv", 3, 8, 3, 1, 1, 4, 8), ("depth", 8, 8, 3, 2, 8, 3, 6), ("mixed", 8, 12, 3, 1, 4, 2, 5)]
LINEAR = ("fc", 12 * (SIDE // 2) ** 2, 10, 6, 3)  # name, inputs, outputs, weight bits, activation bits


def graph() -> Any:
    """The network as an ONNX graph with `Quant` nodes on every weight and every layer's input."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants = [], []

    def constant(name: str, value: Any) -> str:
        constants.append(numpy_helper.from_array(np.asarray(value, dtype=np.float32), name))
        return name

    def quantize(source: str, bits: int, signed: int) -> str:
        inputs = [source, *(constant(f"{source}.{part}", value) for part, value in
                            (("scale", 0.1), ("zero", 0.0), ("bits", bits)))]  # fmt: skip
        nodes.append(
            helper.make_node(
                "Quant",
                inputs,
                [f"{source}.q"],
                domain="qonnx.custom_op.general",
                signed=signed,
                narrow=0,
                rounding_mode="ROUND",
            )
        )
        return f"{source}.q"

    now, rng = "x", np.random.default_rng(0)
    for name, inputs, outputs, kernel, stride, groups, weight_bits, input_bits in CONVOLUTIONS:
        weight = constant(f"{name}.weight", rng.normal(size=(outputs, inputs // groups, kernel, kernel)))
        nodes.append(
            helper.make_node(
                "Conv",
                [quantize(now, input_bits, 1), quantize(weight, weight_bits, 1)],
                [name],
                group=groups,
                kernel_shape=[kernel, kernel],
                strides=[stride, stride],
                pads=[kernel // 2] * 4,
                dilations=[1, 1],
            )
        )
        nodes.append(helper.make_node("Relu", [name], [f"{name}.relu"]))
        now = f"{name}.relu"
    name, inputs, outputs, weight_bits, input_bits = LINEAR
    nodes.append(helper.make_node("Flatten", [now], ["flat"], axis=1))
    weight = constant(f"{name}.weight", rng.normal(size=(inputs, outputs)))
    nodes.append(helper.make_node("MatMul", [quantize("flat", input_bits, 0), quantize(weight, weight_bits, 1)], ["y"]))
    shapes = {"x": [1, CONVOLUTIONS[0][1], SIDE, SIDE], "y": [1, outputs]}
    x, y = (helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in shapes.items())
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("qonnx.custom_op.general", 1)]
    return helper.make_model(helper.make_graph(nodes, "net", [x], [y], constants), opset_imports=opsets)


def costs() -> dict[str, float]:
    """MACs, BitOPs, weight elements and weight bits, as `qonnx.util.inference_cost` counts them."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.util.inference_cost import inference_cost

    found = inference_cost(ModelWrapper(graph()), discount_sparsity=False)["total_cost"]
    return {key: found[key] for key in ("total_macs", "total_bops", "total_mem_w_elems", "total_mem_w_bits")}


if __name__ == "__main__":
    print(json.dumps(costs()))
