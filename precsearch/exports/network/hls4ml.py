"""`hls4ml`: the profile of QONNX that hls4ml takes to fixed-point hardware with exactly the searched bits.

hls4ml knows one scale a tensor, a power of two, and whole codes of two bits or more. It reads convolutions with their
channels last, and products of matrices with their weight second.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from contextlib import redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, Final

from precsearch.allocation import Allocation, TargetPrecision
from precsearch.errors import ExportError
from precsearch.exports.network.extras import require
from precsearch.exports.network.leave import Run
from precsearch.exports.network.network import Network
from precsearch.exports.network.qonnx import executor, kept_in_nodes, part_of_qonnx, quantized_graph, quiet
from precsearch.exports.report import Written

KEYS: Final = "inner: {quantizer: symmetric, granularity: tensor, scale: power-of-two}"
_WRITTEN: Final = "convert it with hls4ml.converters.convert_from_onnx_model, as docs/export-qonnx.md shows"
_ADDED: Final = ("Add", "Sub", "Mul", "Div")
_SHOWN: Final = 8  # names in a message
_OUTER: Final = 2  # dimensions of a linear layer's input


class Hls4ml:
    """A QONNX file as hls4ml reads it; its input is ``global_in``, as qonnx's cleanup names it."""

    name = "hls4ml"
    tolerance = 1e-4

    def write(self, network: Network, path: Path) -> Written:
        """Write the model."""
        check_profile(network.allocation)
        require(self.name, "hls4ml", "onnx", "onnxscript", "onnxruntime", "qonnx")
        model = _for_hls4ml(network)
        told = check_operators(model, _known_operators())
        path.write_bytes(model.SerializeToString())
        return Written(kept=kept_in_nodes(network), notes=(told, _WRITTEN))

    def read(self, network: Network, path: Path) -> Run:
        """Run the file with qonnx's own executor; hls4ml's C++ takes minutes to compile, and a compiler."""
        return executor(path)

    def watch(self, network: Network, path: Path) -> None:
        """Its layout is not torch's; steps of powers of two make sums exact, but for biases."""


def check_profile(allocation: Allocation) -> None:
    """Refuse what hls4ml would compute otherwise.

    Raises:
        ExportError: when a layer's scales, grid or bits are not those that hls4ml has; it names them.
    """
    wrong: dict[str, list[str]] = {}
    for layer in allocation.layers:
        for target, precision in layer.targets.items():
            if target != "gradient":
                for what in _wrong(precision, target == "weight"):
                    wrong.setdefault(what, []).append(f"{layer.name}.{target}")
    if wrong:
        told = "; ".join(f"{what}: {_some(names)}" for what, names in wrong.items())
        raise ExportError(
            "format 'hls4ml' holds symmetric levels of 2 bits or more with one power-of-two scale a tensor, but this "
            f"allocation has {told}; search with {KEYS} and candidates of 2 bits or more, or export `qonnx`"
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _wrong(precision: TargetPrecision, weight: bool) -> list[str]:
    if precision.bits is None:
        return ["float weights"] if weight else []
    found = []
    if precision.scale != "power-of-two":
        found.append(f"scale {precision.scale}")
    if weight and precision.quantizer != "symmetric":
        found.append(f"quantizer {precision.quantizer}")
    if weight and precision.granularity != "tensor":
        found.append(f"granularity {precision.granularity}")
    if precision.bits == 1:
        found.append("1 bit")
    return found


def check_operators(model: Any, known: Collection[str] | None) -> str:
    """Refuse operators that hls4ml does not read -> what to tell where they are all known, or cannot be checked.

    Raises:
        ExportError: when there is one.
    """
    if known is None:
        return "hls4ml is not installed here, so whether it reads every operator was not checked"
    unknown = {node.op_type for node in model.graph.node} - set(known)
    if unknown:
        raise ExportError(
            f"format 'hls4ml': the installed hls4ml does not read {', '.join(sorted(unknown))}, which the network "
            "uses; change the network (a pooling of fixed size, for one), or export `qonnx`"
        )
    return "the installed hls4ml reads every operator of the file"


def _known_operators() -> list[str] | None:
    """What hls4ml reads; None where it is not installed."""
    if find_spec("hls4ml") is None:
        return None
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")  # of its own code, and of what it imports
        import_module("hls4ml.converters")  # here its readers are registered
        readers: list[str] = import_module("hls4ml.converters.onnx_to_hls").get_supported_onnx_layers()
    return [*readers, "Dropout", "Identity"]  # it skips these


def _for_hls4ml(network: Network) -> Any:
    """The model after what hls4ml asks of a QONNX model."""
    cleanup = part_of_qonnx("util.cleanup.cleanup_model")
    graph = quantized_graph(network)
    with quiet():
        try:
            model = cleanup(part_of_qonnx("core.modelwrapper.ModelWrapper")(graph))
            if network.inputs.dim() > _OUTER:
                channels_last = part_of_qonnx("transformation.channels_last.ConvertToChannelsLastAndClean")
                model = model.transform(channels_last())
            model = cleanup(model.transform(part_of_qonnx("transformation.gemm_to_matmul.GemmToMatMul")()))
        except Exception as error:  # assertions and more, of what qonnx does not know
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ExportError(f"qonnx cannot bring {network.name!r} into hls4ml's form: {reason}") from error
    _without_batch(model)
    return model.model


def _without_batch(model: Any) -> None:
    """Constants that are added or multiplied, without dimensions of one in front: hls4ml has no batch dimension."""
    for node in model.graph.node:
        for name in node.input if node.op_type in _ADDED else ():
            value = model.get_initializer(name)
            while value is not None and value.ndim > 1 and value.shape[0] == 1:
                value = value[0]
                model.set_initializer(name, value)
