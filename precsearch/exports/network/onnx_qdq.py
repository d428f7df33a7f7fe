"""`onnx`: the network in ONNX, its weights in integers of 2, 4, 8 or 16 bits, as onnxruntime runs it."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from torch import Tensor

import precsearch
from precsearch.exports.network.extras import require
from precsearch.exports.network.holdings import hold
from precsearch.exports.network.leave import Run, Watched, distances_of
from precsearch.exports.network.network import Network
from precsearch.exports.network.onnx_graph import onnx_graph, rounded_names
from precsearch.exports.network.onnx_session import ACCURACY, outputs_of, session, watched
from precsearch.exports.network.qdq import to_qdq
from precsearch.exports.report import Written

if TYPE_CHECKING:
    from onnx import ModelProto

ALLOCATION: Final = "precsearch.allocation"
VERSION: Final = "precsearch.version"


class OnnxQdq:
    """An ONNX file of QuantizeLinear and DequantizeLinear."""

    name = "onnx"
    tolerance = 1e-4

    def write(self, network: Network, path: Path) -> Written:
        """Write the model."""
        require(self.name, "onnx", "onnx", "onnxscript", "onnxruntime")
        holdings = hold(network)
        model = to_qdq(onnx_graph(network, holdings.opset), holdings)
        _describe(model, network)
        path.write_bytes(model.SerializeToString())
        stored = sum(len(each.raw_data) for each in model.graph.initializer)
        return Written(
            kept=holdings.kept(network),
            notes=(_versions(model), *_optimized(self, network, path)),
            header=path.stat().st_size - stored,
        )

    def read(self, network: Network, path: Path) -> Run:
        """Run the file with onnxruntime, its optimizations off."""
        plain = session(str(path), optimized=False)
        return lambda inputs: outputs_of(plain, inputs)

    def watch(self, network: Network, path: Path) -> Watched:
        """Run the file with onnxruntime, its optimizations off, and look at what it rounds."""
        return watched(str(path), rounded_names(import_module("onnx").load(path)))


def _describe(model: ModelProto, network: Network) -> None:
    from onnx import checker, helper

    model.producer_name, model.producer_version = "precsearch", precsearch.__version__
    model.graph.name = network.name
    allocation = json.dumps(json.loads(network.allocation.to_json()), separators=(",", ":"))
    helper.set_model_props(model, {ALLOCATION: allocation, VERSION: precsearch.__version__})
    checker.check_model(model)


def _versions(model: ModelProto) -> str:
    opset = next(each.version for each in model.opset_import if not each.domain)
    return f"ONNX opset {opset}, IR version {model.ir_version}"


def _optimized(how: OnnxQdq, network: Network, path: Path) -> tuple[str, ...]:
    """How the file runs as onnxruntime runs it unless told otherwise."""
    try:
        distances, agreement = _held_against(network, path, None)
    except Exception as error:  # onnxruntime has many classes, and no common one
        return (
            "with its optimizations, its default, onnxruntime does not load the file; turn them off "
            f"(graph_optimization_level = ORT_DISABLE_ALL). It says: {str(error).splitlines()[0]}",
        )
    if float(distances.max()) <= how.tolerance:
        return (f"with onnxruntime's optimizations, its default, outputs are within {distances.max():.1e} of torch's",)
    exact, exact_agreement = _held_against(network, path, 1)
    return (
        f"with onnxruntime's optimizations, its default, outputs are {distances.median():.1e} from torch's in the "
        f"median and {distances.max():.1e} at most, {100 * agreement:.2f} % with the same answer: its kernel for "
        "products with quantized weights rounds what they are multiplied with to 8 bits",
        f"with session option {ACCURACY}=1 it does not, and takes longer: {exact.median():.1e} in the median, "
        f"{exact.max():.1e} at most, {100 * exact_agreement:.2f} % with the same answer",
    )


def _held_against(network: Network, path: Path, accuracy: int | None) -> tuple[Tensor, float]:
    """Distance from torch's outputs of each input, and the share of those with the same answer."""
    expected = network.outputs
    found = outputs_of(session(str(path), optimized=True, accuracy=accuracy), network.inputs)
    return distances_of(found, expected), float((found.argmax(1) == expected.argmax(1)).double().mean())
