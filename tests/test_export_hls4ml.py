"""hls4ml converts what is exported for it, and the C++ that it compiles equals qonnx's executor; minutes, needs g++."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from precsearch import Budget, SearchableModel
from precsearch.data.digits import load_digits
from precsearch.experiment import DataSettings
from precsearch.exports import export_model
from precsearch.models import mlp

pytest.importorskip("hls4ml")
pytest.importorskip("qonnx")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="hls4ml compiles with g++"),
    # of hls4ml's own code, and of what it imports
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

TRIED = 60
# Wide enough for biases and inputs, which stay in float32: 28 bits behind the point.
WIDE = "fixed<40,12>"


def cnn() -> nn.Module:
    """Convolutions with and without a bias, BatchNorm, pooling."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


def searched(model: nn.Module, epochs: int) -> tuple[nn.Module, Any, Any]:
    """A network with the bits of a short search over the digits, under the profile."""
    torch.manual_seed(0)
    data = load_digits(DataSettings())
    x, y = data.train.inputs, data.train.targets
    searchable = SearchableModel(
        model, Budget("average_bits", 3.5), x[:2], bits=[2, 3, 4, 6], quantizer="symmetric", scale="power-of-two"
    )
    optimizer = torch.optim.Adam(searchable.parameter_groups(lr=1e-2))
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(searchable(x[batch]), y[batch]).backward()
            optimizer.step()
    allocation = searchable.eval().allocation()
    return searchable.freeze().eval(), allocation, data.test


def compiled(path: Path, folder: Path) -> Any:
    """What the page docs/export-qonnx.md does."""
    import hls4ml
    from qonnx.core.modelwrapper import ModelWrapper

    model = ModelWrapper(str(path))
    config = hls4ml.utils.config.config_from_onnx_model(
        model, granularity="name", backend="Vitis", default_precision=WIDE
    )
    made = hls4ml.converters.convert_from_onnx_model(
        model, hls_config=config, output_dir=str(folder), backend="Vitis", io_type="io_parallel"
    )
    made.compile()
    return made


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_compiled_cpp_equals_qonnx(kind: str, tmp_path: Path) -> None:
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx

    model, allocation, test = searched(cnn() if kind == "cnn" else mlp((1, 8, 8), 10, [24, 16]), 3)
    images, targets = test.inputs[:TRIED], test.targets[:TRIED]
    path = tmp_path / "net.onnx"
    report = export_model(model, allocation, "hls4ml", path, inputs=images, targets=targets).report
    assert report is not None and report.rerun.difference < 2e-6
    assert report.rerun.accuracy is not None and report.rerun.accuracy > 0.6
    assert len(set(allocation.bits().values())) > 1
    graph = ModelWrapper(str(path))
    expected = np.concatenate([execute_onnx(graph, {"global_in": x[None].numpy()})["global_out"] for x in images])
    found = compiled(path, tmp_path / "project").predict(np.ascontiguousarray(images.numpy())).reshape(expected.shape)
    assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max()
    assert (found.argmax(1) == expected.argmax(1)).all()
