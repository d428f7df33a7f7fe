"""The integers that ONNX files hold codes in, and which of them the installed onnxruntime runs."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

SIZES: Final = (2, 4, 8, 16)
# The first opset whose DequantizeLinear takes integers of so many bits, and the IR version that goes with an opset.
_OPSETS: Final = {2: 25, 4: 21, 8: 18, 16: 21}
_IR: Final = {18: 8, 21: 10, 25: 13}


@dataclass(frozen=True)
class Container:
    """One type of integers.

    Attributes:
        bits: of each.
        signed: whether they may be negative.
    """

    bits: int
    signed: bool

    @property
    def name(self) -> str:
        """ONNX's word for it."""
        return f"{'' if self.signed else 'U'}INT{self.bits}"

    @property
    def opset(self) -> int:
        """The first version of ONNX's operators that takes it, of those that are written."""
        return _OPSETS[self.bits]

    @property
    def dtype(self) -> Any:
        """Of NumPy, or of ml_dtypes for less than a byte."""
        import ml_dtypes

        name = self.name.lower()
        return np.dtype(getattr(ml_dtypes, name) if self.bits < 8 else name)  # noqa: PLR2004 -- bits of a byte


def ir_version(opset: int) -> int:
    """The IR version to write with an opset: the oldest that has its types, as runtimes refuse newer ones."""
    return _IR[opset]


def smallest(bits: int, signed: bool) -> Container | None:
    """The smallest integers of `bits` bits or more that the installed onnxruntime runs, or None."""
    fitting = (Container(size, signed) for size in SIZES if size >= bits)
    return next((each for each in fitting if runs(each)), None)


@functools.cache
def runs(container: Container) -> bool:
    """Whether the installed onnx can write these integers, and the installed onnxruntime runs them: it is tried."""
    from onnx import TensorProto, helper, numpy_helper

    from precsearch.exports.network.onnx_session import session

    try:
        zero = numpy_helper.from_array(np.zeros((), container.dtype), "zero")
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["codes"]),
            helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["y"]),
        ]
        x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
        scale = numpy_helper.from_array(np.array(0.5, np.float32), "scale")
        model = helper.make_model(
            helper.make_graph(nodes, "trial", [x], [y], [scale, zero]),
            opset_imports=[helper.make_opsetid("", container.opset)],
            ir_version=ir_version(container.opset),
        )
        made = session(model.SerializeToString(), optimized=False).run(None, {"x": np.array([0.6], np.float32)})
    except Exception:  # each release refuses what it does not know in its own way
        return False
    return bool(made[0][0] == 0.5)  # noqa: PLR2004 -- the level next to 0.6
