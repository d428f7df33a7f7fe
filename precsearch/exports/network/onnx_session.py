"""Running ONNX files with onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Final

import torch
from torch import Tensor

_BATCH: Final = 100
_ERRORS_ONLY: Final = 3
ACCURACY: Final = "session.qdq_matmulnbits_accuracy_level"


def session(model: bytes | str, optimized: bool, accuracy: int | None = None) -> Any:
    """An `onnxruntime.InferenceSession` on the CPU, with as many threads as torch has.

    Args:
        model: serialized, or the path of a file.
        optimized: with all of the runtime's optimizations, its default; else with none.
        accuracy: of fused products of quantized weights, `ACCURACY`; 1 computes them in float32.
    """
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = torch.get_num_threads()
    if not optimized:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if accuracy is not None:
        options.add_session_config_entry(ACCURACY, str(accuracy))
    return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def outputs_of(session: Any, inputs: Tensor) -> Tensor:
    """What a file of one input and one output returns for `inputs`, a hundred at a time."""
    name = session.get_inputs()[0].name
    parts = [session.run(None, {name: batch.numpy()})[0] for batch in torch.split(inputs, _BATCH)]
    return torch.cat([torch.from_numpy(part) for part in parts])


def watched(path: str, names: Sequence[str]) -> Callable[[Tensor], tuple[Tensor, list[Tensor]]]:
    """What runs a file without optimizations -> its output, and the values of these names inside it.

    Args:
        path: of a file of one input and one output.
        names: of float32 tensors.
    """
    onnx = import_module("onnx")
    model = onnx.load(path)
    told = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names]
    model.graph.output.extend(told)
    inside = session(model.SerializeToString(), optimized=False)

    def run(inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
        output, *rounded = map(torch.from_numpy, inside.run(None, {inside.get_inputs()[0].name: inputs.numpy()}))
        return output, rounded

    return run
