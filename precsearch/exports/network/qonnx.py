"""`qonnx`: the network in ONNX with a quantization node for every weight and input, of any bits, for FPGA flows."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

import precsearch
from precsearch.allocation import Target, TargetPrecision
from precsearch.errors import ExportError
from precsearch.exports.network.extras import require
from precsearch.exports.network.leave import Run, Watched
from precsearch.exports.network.network import Network
from precsearch.exports.network.onnx_graph import onnx_graph, rounded_names
from precsearch.exports.network.quant_nodes import operator_of, with_quant_nodes
from precsearch.exports.report import Kept, Written
from precsearch.quantization.grids import activation_grid, weight_grid

if TYPE_CHECKING:
    from onnx import ModelProto

_OPSET: Final = 18  # the oldest that torch writes
_BATCH: Final = 100
_ERRORS_ONLY, _WARNINGS = 3, 2  # onnxruntime's words for what it logs
_STORED: Final = "weights are stored in float32, on their grids; what reads the file takes their bits from its nodes"


class Qonnx:
    """An ONNX file with QONNX's `Quant` and `BipolarQuant`, for a batch of one sample."""

    name = "qonnx"
    tolerance = 1e-4

    def write(self, network: Network, path: Path) -> Written:
        """Write the model."""
        require(self.name, "qonnx", "onnx", "onnxscript", "onnxruntime", "qonnx")
        path.write_bytes(quantized_graph(network).SerializeToString())
        return Written(kept=kept_in_nodes(network), notes=(_STORED,))

    def read(self, network: Network, path: Path) -> Run:
        """Run the file with qonnx's own executor."""
        return executor(path)

    def watch(self, network: Network, path: Path) -> Watched:
        """Run the file with qonnx's own executor, sample by sample, and look at what it rounds."""
        with quiet():
            model = part_of_qonnx("core.modelwrapper.ModelWrapper")(str(path))
        names = rounded_names(model.model)

        def run(inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
            with quiet():
                found = [_values(model, sample) for sample in torch.split(inputs, 1)]
            inside = [torch.cat([torch.from_numpy(values[name]) for values in found]) for name in names]
            return torch.cat([torch.from_numpy(values[model.graph.output[0].name]) for values in found]), inside

        return run


def quantized_graph(network: Network) -> ModelProto:
    """The network with quantization nodes; its input is ``input`` [1, ...], its output ``output``.

    Raises:
        ExportError: when torch cannot trace it.
    """
    model = with_quant_nodes(onnx_graph(network, _OPSET))
    model.producer_name, model.producer_version = "precsearch", precsearch.__version__
    model.graph.name = network.name
    return model


def kept_in_nodes(network: Network) -> tuple[Kept, ...]:
    """Every target that was searched: each passes a node of exactly its bits."""
    return tuple(
        Kept(layer=layer.name, target=target, bits=precision.bits, held_as=_word(target, precision))
        for layer in network.allocation.layers
        for target, precision in layer.targets.items()
        if target != "gradient"
    )


def _word(target: Target, precision: TargetPrecision) -> str:
    bits = precision.bits
    if bits is None:
        return "FLOAT32"
    weight = target == "weight"
    grid = weight_grid(precision.quantizer, bits) if weight else activation_grid(precision.signed, bits)
    return operator_of(grid, bits)[0] if bits == 1 and grid.signed else f"Quant {'' if grid.signed else 'U'}INT{bits}"


def executor(path: Path) -> Run:
    """What runs a QONNX file node by node with qonnx's own executor, a hundred samples at a time where it can."""
    with quiet():
        model = part_of_qonnx("core.modelwrapper.ModelWrapper")(str(path))

    def run(inputs: Tensor) -> Tensor:
        with quiet():
            try:
                return torch.cat([_execute(_for_batch(model, len(part)), part) for part in torch.split(inputs, _BATCH)])
            except Exception:  # a graph whose constants know the batch; each part of it refuses in its own way
                return torch.cat([_execute(model, part) for part in torch.split(inputs, 1)])

    return run


def part_of_qonnx(name: str) -> Any:
    """Of the package qonnx, by the name that it has there, such as ``core.modelwrapper.ModelWrapper``."""
    module, _, own = name.rpartition(".")
    return getattr(import_module(f"qonnx.{module}"), own)


def _for_batch(model: Any, size: int) -> Any:
    changed = model.transform(part_of_qonnx("transformation.change_batchsize.ChangeBatchSize")(size))
    return changed.transform(part_of_qonnx("transformation.infer_shapes.InferShapes")())


def _execute(model: Any, inputs: Tensor) -> Tensor:
    return torch.from_numpy(_values(model, inputs)[model.graph.output[0].name])


def _values(model: Any, inputs: Tensor) -> dict[str, Any]:
    """Everything that a model computes, by name."""
    # By the name in the file: an input of another name is passed over in silence.
    given = {model.graph.input[0].name: inputs.numpy()}
    try:
        found: dict[str, Any] = part_of_qonnx("core.onnx_exec.execute_onnx")(
            model, given, return_full_exec_context=True
        )
    except Exception as error:  # whatever onnxruntime, NumPy or qonnx raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ExportError(
            f"qonnx cannot run the written file: {reason}; it needs the onnx of pip install 'precsearch[qonnx]'"
        ) from error
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """Without what qonnx and what it uses say of their own code, and of single nodes that it hands to onnxruntime."""
    onnxruntime = import_module("onnxruntime")
    onnxruntime.set_default_logger_severity(_ERRORS_ONLY)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.filterwarnings("ignore", category=UserWarning, module=r"qonnx\.")  # what it makes is run again
            yield
    finally:
        onnxruntime.set_default_logger_severity(_WARNINGS)
