from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

import precsearch
from precsearch.allocation import Allocation
from precsearch.conversion import calibrate
from precsearch.errors import ConfigurationError, ExportError
from precsearch.exports.network import containers, onnx_qdq, qdq
from precsearch.exports.network.integers import InputRange, Integers
from precsearch.quantization.grids import Grid, activation_grid, weight_grid
from precsearch.quantization.kernels import Ranges, quantize

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from precsearch.exports.network.holdings import Form, Holdings, hold_input, hold_weight  # noqa: E402
from precsearch.exports.network.onnx_graph import DOMAIN, MARK, OnnxGraph, QuantizedWeight  # noqa: E402
from precsearch.exports.network.onnx_session import outputs_of, session  # noqa: E402

KINDS = {
    # weight's shape, rows' axis, groups of a transposed convolution, its operator, what torch does
    "linear": ((6, 5), 0, "Gemm", {"transB": 1}, functional.linear),
    "conv": ((6, 5, 2, 2), 0, "Conv", {}, functional.conv2d),
    "transposed": ((5, 6, 2, 2), 1, "ConvTranspose", {}, functional.conv_transpose2d),
}


def integers(kind: str, quantizer: str, bits: int, channel: bool, seed: int) -> Integers:
    shape, axis = KINDS[kind][:2]
    grid, draw = weight_grid(quantizer, bits), torch.Generator().manual_seed(seed)
    top = grid.levels(bits)
    codes = torch.randint(int(-top - grid.offset), int(top - grid.offset) + 1, shape, generator=draw)
    reach = 0.1 + torch.rand(6 if channel else 1, generator=draw)
    return Integers(codes.to(torch.int16), reach, bits, grid, groups=int(axis == 1 and channel))


def mark(name: str, output: str):
    return helper.make_node(MARK, [name], [output], domain=DOMAIN, layer="it", position=0)


def drawn(kind: str, weight: Integers, read: InputRange, bias: torch.Tensor, shape: list[int]) -> OnnxGraph:
    """What torch's exporter makes of one layer."""
    operator, said = KINDS[kind][2:4]
    given = {"it.weight": weight.weight(), "it.bias": bias}
    made = helper.make_graph(
        [mark("input", "marked"), helper.make_node(operator, ["marked", *given], ["output"], **said)],
        "one layer",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", *[None] * len(shape)])],
        [numpy_helper.from_array(value.numpy(), name) for name, value in given.items()],
    )
    opsets = [helper.make_opsetid("", 25), helper.make_opsetid(DOMAIN, 1)]
    return OnnxGraph(
        helper.make_model(made, opset_imports=opsets),
        (QuantizedWeight("it.weight", ("it",), weight),),
        {("it", 0): read},
    )


def edgy(read: InputRange, shape: list[int], seed: int) -> torch.Tensor:
    """Ordinary values, zeros, values far outside the range, and ties between two levels."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(7, *shape, generator=draw) * read.reach
    which = torch.randint(0, 4, x.shape, generator=draw)
    ties = torch.floor(x / read.step) * read.step + read.step / 2
    x = torch.where(which == 1, torch.zeros(()), torch.where(which == 2, 9 * x, torch.where(which == 3, ties, x)))
    return x if read.grid.signed else x.abs()


@given(
    kind=st.sampled_from(list(KINDS)),
    quantizer=st.sampled_from(["dorefa", "symmetric"]),
    bits=st.integers(1, 10),
    read_bits=st.integers(1, 12),
    channel=st.booleans(),
    signed=st.booleans(),
    seed=st.integers(0, 2**20),
)
@settings(max_examples=150, deadline=None)
def test_every_grid_equals_torch(kind, quantizer, bits, read_bits, channel, signed, seed):
    weight = integers(kind, quantizer, bits, channel, seed)
    read = InputRange("it", "it", 0, read_bits, activation_grid(signed, read_bits), 0.3 + seed / 2**20)
    shape, bias = [5, 3, 3][: 1 if kind == "linear" else 3], torch.linspace(-1, 1, 6)
    held, read_as = hold_weight(weight), hold_input(read)
    holdings = Holdings({"it": held}, {("it", 0): read_as})
    model = qdq.to_qdq(drawn(kind, weight, read, bias, shape), holdings)
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", holdings.opset))
    onnx.checker.check_model(model)
    x = edgy(read, shape, seed)
    found = outputs_of(session(model.SerializeToString(), optimized=False), x)
    reach = torch.tensor([read.reach])
    rounded = quantize(x.reshape(1, -1), Ranges(torch.tensor([read.step]), reach, read.grid), "eager").view(x.shape)
    expected = KINDS[kind][4](rounded, weight.weight(), bias)
    assert float((found - expected).abs().max()) <= 2e-6 * float(expected.abs().max())
    stored = {each.name: each for each in model.graph.initializer}
    codes = stored["it.weight_quantized"]
    assert TensorProto.DataType.Name(codes.data_type) == held.container.name
    # each code takes the container's bits, so a weight of 2, 4 or 8 bits takes what the allocation promised
    assert len(codes.raw_data) == -(-weight.codes.numel() * held.container.bits // 8)
    assert held.container.bits == next(size for size in (2, 4, 8, 16) if size >= bits)
    assert (held.why is None) == (held.container.bits == bits)
    assert set(np.unique(numpy_helper.to_array(codes).astype(int))) <= set(range(-(2**15), 2**15))
    assert stored["it.weight_scale"].dims == ([6] if channel or kind == "linear" else [])


@pytest.mark.parametrize("bits", range(1, 17))
def test_oldest_opset_that_has_the_integers(bits):
    held = hold_weight(integers("linear", "dorefa", bits, False, 0))
    name = "it.weight_quantized"
    assert held.form is (Form.HALF if bits in {2, 4, 8, 16} else Form.ODD)
    needed = {2: (25, 13), 4: (21, 10), 8: (18, 8), 16: (21, 10)}[held.container.bits]
    holdings = Holdings({"it": held}, {("it", 0): hold_input(InputRange("it", "it", 0, 8, Grid(True, 0.0), 1.0))})
    weight = integers("linear", "dorefa", bits, False, 0)
    model = qdq.to_qdq(
        drawn("linear", weight, InputRange("it", "it", 0, 8, Grid(True, 0.0), 1.0), torch.ones(6), [5]), holdings
    )
    assert (holdings.opset, model.ir_version) == needed
    assert name in {each.name for each in model.graph.initializer}


class Kinds(nn.Module):
    """A convolution, BatchNorm, two layers with one weight, one left in float32, and a last one that reads signed."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4)
        self.one, self.other, self.plain = nn.Linear(36, 36), nn.Linear(36, 36, bias=False), nn.Linear(36, 8)
        self.other.weight = self.one.weight
        self.last = nn.Linear(8, 5)

    def forward(self, x):
        h = functional.max_pool2d(functional.relu(self.norm(self.conv(x))), 2).flatten(1)
        h = functional.relu(self.other(functional.relu(self.one(h))))
        return self.last(self.plain(h))


def quantized(bits: Sequence[int], **settings) -> tuple[nn.Module, Allocation, torch.Tensor]:
    """A network, its layers' bits as given but for the fourth, which stays in float32."""
    torch.manual_seed(0)
    model, x = Kinds(), torch.rand(40, 1, 8, 8)
    for _ in range(3):
        model(torch.rand(32, 1, 8, 8))  # BatchNorm has something to tell
    given = {"targets": ["weight", "activation"], "bits": sorted(set(bits)), "sampler": "fixed"} | settings
    budget = precsearch.Budget("average_bits", 16.0)
    searchable = precsearch.SearchableModel(
        model, budget=budget, example_input=x, allocation=bits, pin={"plain": "float"}, **given
    )
    calibrate(searchable, x)
    allocation = searchable.allocation()
    return searchable.freeze().eval(), allocation, x


@pytest.fixture(scope="module")
def made():
    return quantized([3, 2, 2, 2, 1], granularity="channel")


def test_a_whole_network(made, tmp_path):
    model, allocation, x = made
    targets = torch.arange(len(x)) % 5
    told = precsearch.export_model(model, allocation, "onnx", tmp_path / "net.onnx", inputs=x, targets=targets).report
    assert told.rerun.difference < 1e-6
    assert (told.rerun.agreement, told.rerun.inputs) == (1.0, 40)
    assert told.rerun.accuracy == told.rerun.torch_accuracy
    assert {(each.layer, each.target): each.held_as for each in told.written.kept} == {
        ("conv", "weight"): "INT4", ("conv", "activation"): "UINT8", ("one", "weight"): "INT2",
        ("one", "activation"): "UINT8", ("other", "weight"): "INT2", ("other", "activation"): "UINT8",
        ("plain", "weight"): "FLOAT32", ("plain", "activation"): "FLOAT32", ("last", "weight"): "INT2",
        ("last", "activation"): "INT8",
    }  # fmt: skip
    why = {each.layer: each.why for each in told.written.kept if each.target == "weight"}
    assert why["one"] is None
    assert why["conv"] == why["last"] == "ONNX has integers of 2, 4, 8 and 16 bits"
    assert "opset 25, IR version 13" in told.written.notes[0]
    assert "with onnxruntime's optimizations" in told.written.notes[1]

    file = onnx.load(told.output)
    stored = {each.name: each for each in file.graph.initializer}
    assert told.written.header == told.size - sum(len(each.raw_data) for each in stored.values())
    assert len({"one.weight_quantized", "other.weight_quantized"} & stored.keys()) == 1, "tied weights are there once"
    assert not {"one.weight", "other.weight", "conv.weight", "last.weight"} & stored.keys()
    kinds = Counter(node.op_type for node in file.graph.node)
    assert kinds["BatchNormalization"] == 1
    assert not {node.domain for node in file.graph.node} - {""}
    said = {each.key: each.value for each in file.metadata_props}
    assert said["precsearch.version"] == precsearch.__version__
    assert Allocation.from_json(said["precsearch.allocation"]) == allocation


def test_sixteen_bits_and_an_optimizer_that_refuses(tmp_path, monkeypatch):
    def picky(model, optimized, accuracy=None):
        if optimized:
            raise RuntimeError("INVALID_GRAPH: no such type\nand more")
        return session(model, optimized, accuracy)

    monkeypatch.setattr(onnx_qdq, "session", picky)
    model, allocation, x = quantized([16, 16, 16, 16, 16])
    told = precsearch.export_model(model, allocation, "onnx", tmp_path / "net.onnx", inputs=x).report
    assert told.rerun.difference < 1e-6
    assert {each.held_as for each in told.written.kept} == {"INT16", "UINT16", "FLOAT32"}
    assert "does not load the file" in told.written.notes[1]
    assert told.written.notes[1].endswith("INVALID_GRAPH: no such type")


def test_a_wrong_scale_is_found_and_nothing_left(made, tmp_path, monkeypatch):
    right = qdq._scale
    monkeypatch.setattr(qdq, "_scale", lambda *args: right(*args) * np.float32(1.001))
    model, allocation, x = made
    with pytest.raises(ExportError, match="must run as the network does"):
        precsearch.export_model(model, allocation, "onnx", tmp_path / "net.onnx", inputs=x)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_missing_package(made, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    model, allocation, x = made
    with pytest.raises(ExportError, match=rf"needs {package}, .*pip install 'precsearch\[onnx\]'"):
        precsearch.export_model(model, allocation, "onnx", tmp_path / "net.onnx", inputs=x)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def runs_only(monkeypatch):
    """Make it an older onnxruntime, which knows integers of these bits."""

    def only(*sizes: int) -> None:
        monkeypatch.setattr(containers, "runs", lambda container: container.bits in sizes)

    return only


def test_older_runtime(runs_only):
    runs_only(4, 8)
    held = hold_weight(integers("linear", "dorefa", 2, False, 0))
    assert (held.container.name, held.form) == ("INT4", Form.ODD)
    assert held.why == "the installed onnxruntime does not run integers of 2 bits"


def test_no_integers_are_large_enough(runs_only, tmp_path):
    runs_only(2, 4, 8)
    model, allocation, x = quantized([9, 4, 4, 4, 12])
    with pytest.raises(
        ExportError, match="the weight of conv, the weight of last, the input of conv, the input of last;"
    ):
        precsearch.export_model(model, allocation, "onnx", tmp_path / "net.onnx", inputs=x)


def test_untraceable(tmp_path):
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            return self.fc(x) if float(x.sum()) > 0 else x

    torch.manual_seed(0)
    x = torch.rand(4, 4)
    searchable = precsearch.SearchableModel(Branches(), budget=precsearch.Budget("average_bits", 4), example_input=x)
    calibrate(searchable, x)
    allocation = searchable.allocation()
    with pytest.raises(ExportError, match=r"torch.onnx cannot export 'Branches': .*data-dependent") as caught:
        precsearch.export_model(searchable.freeze(), allocation, "onnx", tmp_path / "net.onnx", inputs=x)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_needs_a_file_and_inputs(made):
    model, allocation, x = made
    with pytest.raises(ConfigurationError, match="--output"):
        precsearch.export_model(model, allocation, "onnx", inputs=x)


def optimized(model, tmp_path: Path) -> Counter[str]:
    """Operators of a model as onnxruntime runs it."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    settings.log_severity_level = 3
    onnxruntime.InferenceSession(model.SerializeToString(), settings)
    return Counter(node.op_type for node in onnx.load(settings.optimized_model_filepath).graph.node)


@pytest.mark.parametrize("quantizer", ["dorefa", "symmetric"])
@pytest.mark.parametrize("channel", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
def test_products_are_fused(bits, channel, quantizer, tmp_path):
    weight = integers("linear", quantizer, bits, channel, 0)
    read = InputRange("it", "it", 0, 8, Grid(False, 0.0), 1.0)
    holdings = Holdings({"it": hold_weight(weight)}, {("it", 0): hold_input(read)})
    found = optimized(qdq.to_qdq(drawn("linear", weight, read, torch.ones(6), [5]), holdings), tmp_path)
    assert found["MatMulNBits"] == 1
    assert not found["MatMul"] + found["Gemm"] + found["FusedGemm"]


@given(
    bits=st.integers(5, 8), read_bits=st.integers(2, 8), quantizer=st.sampled_from(["dorefa", "symmetric"]),
    signed=st.booleans(), seed=st.integers(0, 2**20),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_pairs_of_bytes_are_exact(bits, read_bits, quantizer, signed, seed):
    """As onnxruntime runs them unless told otherwise; on CPUs whose sums of bytes overflow, large codes are no pair."""
    weight = integers("linear", quantizer, bits, False, seed)
    read = InputRange("it", "it", 0, read_bits, activation_grid(signed, read_bits), 1.0)
    holdings = Holdings({"it": hold_weight(weight)}, {("it", 0): hold_input(read)})
    model = qdq.to_qdq(drawn("linear", weight, read, torch.ones(6), [5]), holdings).SerializeToString()
    x = 2 * torch.rand(50, 5, generator=torch.Generator().manual_seed(seed)) - (1.0 if signed else 0.0)
    plain, fused = (outputs_of(session(model, optimized=each), x) for each in (False, True))
    codes = qdq._codes(QuantizedWeight("it.weight", ("it",), weight), holdings.weights["it"]).astype(int)
    overflows = (255 if signed else 2**read_bits - 1) * abs(codes).max() > 16383
    assert float((fused - plain).abs().max()) <= (0.05 if overflows else 1e-5) * float(plain.abs().max())
    assert (qdq._fuses(read, holdings.inputs["it", 0], abs(codes).max(), True) is qdq._Fuses.PAIR) == (not overflows)
