"""Whole networks of many kinds in ONNX, and one that a real search found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import precsearch
from precsearch.conversion import calibrate
from precsearch.errors import StaysFloatWarning
from precsearch.exports.report import ExportReport
from precsearch.models import MODELS

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


class Reader(nn.Module):
    """Words, attention, and a classifier that has the embedding's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.mixed = nn.Embedding(16, 8), nn.Linear(8, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.classes = nn.Linear(8, 16, bias=False)
        self.classes.weight = self.words.weight

    def forward(self, x):
        h = self.words((15 * x).long())
        h = h + self.mixed(h)
        return self.classes((h + self.attention(h, h, h, need_weights=False)[0]).mean(1))


class Upwards(nn.Module):
    """A convolution, a transposed one, and one for each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(1, 4, 3, stride=2), nn.ConvTranspose2d(4, 6, 2, stride=2)
        self.apart, self.out = nn.Conv2d(6, 6, 3, groups=6), nn.Linear(6, 10)

    def forward(self, x):
        return self.out(self.apart(self.up(self.down(x).relu()).relu()).relu().mean((2, 3)))


class Recurrent(nn.Module):
    """An LSTM and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.out = nn.LSTM(8, 8, batch_first=True), nn.Linear(8, 10)

    def forward(self, x):
        return self.out(self.net(x)[0][:, -1])


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (lambda: MODELS["mlp"]((1, 8, 8), 10, batch_norm=True), (1, 8, 8)),
    "lenet5": (lambda: MODELS["lenet5"]((1, 28, 28), 10), (1, 28, 28)),
    "convnet": (lambda: MODELS["convnet"]((3, 16, 16), 10), (3, 16, 16)),
    "vgg_small": (lambda: MODELS["vgg_small"]((3, 32, 32), 10, width=0.25), (3, 32, 32)),
    "resnet20": (lambda: MODELS["resnet20"]((3, 32, 32), 10), (3, 32, 32)),
    "attention": (Reader, (6,)),
    "transposed": (Upwards, (1, 8, 8)),
    "recurrent": (Recurrent, (5, 8)),
}


def exported(name: str, file: Path, **settings) -> ExportReport:
    torch.manual_seed(0)
    make, shape = NETWORKS[name]
    model, x = make(), torch.rand(50, *shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StaysFloatWarning)
        searchable = precsearch.SearchableModel(
            model, budget=precsearch.Budget("average_bits", 3.5), example_input=x, bits=[2, 3, 4, 8],
            targets=["weight", "activation"], **settings,
        )  # fmt: skip
    calibrate(searchable, x)
    allocation = searchable.allocation()
    model = searchable.freeze().eval()
    report = precsearch.export_model(model, allocation, "onnx", file, inputs=x).report
    assert report is not None
    return report


@pytest.mark.slow
@pytest.mark.parametrize("grids", [("dorefa", "tensor"), ("symmetric", "channel")], ids=" ".join)
@pytest.mark.parametrize("name", NETWORKS)
def test_runs_as_torch_does(name, grids, tmp_path):
    report = exported(name, tmp_path / "net.onnx", quantizer=grids[0], granularity=grids[1])
    assert report.rerun.difference < 1e-5
    assert report.rerun.ties <= 10, "a value of a ResNet-20's 190,000 lies between two levels now and then"
    assert report.rerun.agreement >= 1 - report.rerun.ties / 50
    file = onnx.load(report.output)
    assert not {node.domain for node in file.graph.node} - {""}
    held = {each.layer for each in report.written.kept if each.target == "weight" and each.held_as != "FLOAT32"}
    assert held
    assert not {f"{layer}.weight" for layer in held} & {each.name for each in file.graph.initializer}


SPACE = """
version: 1
name: mnist-small
data: {name: mnist, root: ROOT, train_limit: 4000, validation: 1000, batch_size: 64}
model: {name: lenet5}
inner:
  bits: [2, 3, 4, 6, 8]
  budget: {kind: average_bits, limit: 3.0}
  epochs: {warmup: 1, search: 2, finetune: 1}
  optimizer: {name: adam, lr: 2e-3}
study: {n_trials: 1, baselines: []}
executor: {name: inprocess, threads: 1}
"""


@pytest.mark.slow
@pytest.mark.skipif("PRECSEARCH_DATA" not in os.environ, reason="PRECSEARCH_DATA, a folder with MNIST, is unset")
def test_lenet_that_a_search_found(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE.replace("ROOT", os.environ["PRECSEARCH_DATA"]))
    told = command(tmp_path, "run", "space.yaml", "--output", "run", "--json")
    assert told
    report = json.loads(command(tmp_path, "export", "run", "--format", "onnx", "-o", "lenet.onnx", "--json"))["report"]
    assert report["rerun"]["inputs"] == 1000
    assert report["rerun"]["difference"] < 1e-4
    assert report["rerun"]["accuracy"] == report["rerun"]["torch_accuracy"] > 0.8
    assert report["size"] < report["float_size"] / 4
    assert (tmp_path / "lenet.onnx").stat().st_size == report["size"]


def command(folder: Path, *words: str) -> str:
    here = os.pathsep.join(filter(None, [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH")]))
    ran = subprocess.run(
        [sys.executable, "-m", "precsearch", *words], cwd=folder, text=True, capture_output=True, check=False,
        env={**os.environ, "PYTHONPATH": here},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout
