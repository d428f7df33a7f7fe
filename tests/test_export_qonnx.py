"""QONNX: what qonnx's own executor makes of an exported network, its nodes' bits, and what its cost model says."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from precsearch import Budget, ExportError, SearchableModel, calibrate
from precsearch.exports import export_model
from precsearch.exports.network import extras
from precsearch.exports.network.integers import InputRange
from precsearch.exports.network.network import Network
from precsearch.quantization.grids import activation_grid
from precsearch.quantization.kernels import Ranges, quantize

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("qonnx")

from test_export_onnx import KINDS, drawn, edgy, integers  # noqa: E402

from precsearch.exports.network.hls4ml import KEYS, check_operators, check_profile  # noqa: E402
from precsearch.exports.network.qonnx import executor, quantized_graph, quiet  # noqa: E402
from precsearch.exports.network.quant_nodes import with_quant_nodes  # noqa: E402

# limits that nothing reaches: on purpose here
pytestmark = pytest.mark.filterwarnings("ignore:the budget .* binds nowhere")

HLS4ML = {"quantizer": "symmetric", "granularity": "tensor", "scale": "power-of-two"}
CASES: dict[str, tuple[list[int], dict[str, Any]]] = {
    "one bit": ([1], {"quantizer": "symmetric"}),
    "dorefa by channel": ([2, 3, 5], {"quantizer": "dorefa", "granularity": "channel"}),
    "symmetric by channel": ([2, 4, 8], {"quantizer": "symmetric", "granularity": "channel"}),
}
X = torch.rand(6, 2, 8, 8, generator=torch.Generator().manual_seed(0)) - 0.3


class Net(nn.Module):
    """Convolutions with and without a bias, transposed and by group, BatchNorm, a sum, tied linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.depth = nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False)
        self.up = nn.ConvTranspose2d(4, 3, 2, stride=2)
        self.one, self.two, self.out = nn.Linear(48, 48), nn.Linear(48, 48), nn.Linear(48, 5)
        self.two.weight = self.one.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.conv(x)))
        x = x + self.depth(x)
        x = nn.functional.max_pool2d(self.up(x), 4).flatten(1)
        return self.out(torch.tanh(self.two(torch.relu(self.one(x)))))


def network(bits: int | list[int], model: nn.Module | None = None, x: torch.Tensor = X, **options: Any) -> Network:
    torch.manual_seed(0)
    model = Net() if model is None else model
    own = bits if isinstance(bits, list) else [bits]
    searchable = SearchableModel(model, Budget("layer_bits", max(own)), x[:2], bits=own, sampler="random", **options)
    calibrate(searchable, x)
    allocation = searchable.eval().allocation()
    return Network("net", searchable.freeze().eval(), allocation, x)


def nodes_of(model: Any) -> dict[str, Any]:
    """Quantization nodes by what they quantize."""
    return {node.input[0]: node for node in model.graph.node if node.op_type in ("Quant", "BipolarQuant")}


def constants(model: Any, node: Any) -> list[np.ndarray]:
    found = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    return [found[name] for name in node.input[1:]]


class TestRunsAsTorch:
    @settings(max_examples=100, deadline=None)
    @given(
        kind=st.sampled_from(list(KINDS)),
        quantizer=st.sampled_from(["dorefa", "symmetric"]),
        bits=st.integers(1, 16),
        read_bits=st.integers(1, 12),
        channel=st.booleans(),
        signed=st.booleans(),
        seed=st.integers(0, 2**20),
    )
    def test_every_grid(
        self, kind: str, quantizer: str, bits: int, read_bits: int, channel: bool, signed: bool, seed: int
    ) -> None:
        """One layer, whose input has zeros, values far outside its range, and ties between two levels."""
        weight = integers(kind, quantizer, bits, channel, seed)
        read = InputRange("it", "it", 0, read_bits, activation_grid(signed, read_bits), 0.3 + seed / 2**20)
        shape, bias = [5, 3, 3][: 1 if kind == "linear" else 3], torch.linspace(-1, 1, 6)
        model = with_quant_nodes(drawn(kind, weight, read, bias, shape))
        onnx.checker.check_model(model)
        x = edgy(read, shape, seed)
        ranges = Ranges(torch.tensor([read.step]), torch.tensor([read.reach]), read.grid)
        rounded = quantize(x.reshape(1, -1), ranges, "eager").view(x.shape)
        expected = KINDS[kind][4](rounded, weight.weight(), bias)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "one.onnx"
            path.write_bytes(model.SerializeToString())
            found = executor(path)(x)
        assert float((found - expected).abs().max()) <= 2e-6 * float(expected.abs().max())

    @pytest.mark.parametrize("case", CASES)
    def test_a_whole_network(self, case: str, tmp_path: Path) -> None:
        bits, options = CASES[case]
        made = network(bits, **options)
        path = tmp_path / "net.onnx"
        exported = export_model(made.model, made.allocation, "qonnx", path, inputs=X)
        assert exported.report is not None
        assert exported.report.rerun.difference <= 2e-6 and exported.report.rerun.ties == 0
        model = onnx.load(path)
        onnx.checker.check_model(model)
        found = nodes_of(model)
        assert len(found) == 5 + 6  # two of the six layers are tied, and read what is theirs
        given = made.allocation.bits("weight")
        for layer in ("conv", "depth", "up", "out"):
            node = found[f"{layer}.weight"]
            held = 1 if node.op_type == "BipolarQuant" else float(constants(model, node)[2])
            assert held == given[layer]

    def test_power_of_two_steps_run_to_the_bit(self, tmp_path: Path) -> None:
        """Products and sums of such numbers are exact, in whatever order; biases are added once."""
        model = nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 8), nn.ReLU(), nn.Linear(8, 5)
        )
        made = network(6, model, **HLS4ML)
        report = export_model(made.model, made.allocation, "qonnx", tmp_path / "net.onnx", inputs=X).report
        assert report is not None and report.rerun.difference == 0.0
        run = executor(tmp_path / "net.onnx")
        assert torch.equal(run(X), torch.cat([run(x[None]) for x in X]))


@pytest.fixture(scope="module")
def by_channel() -> Any:
    return quantized_graph(network(4, quantizer="dorefa", granularity="channel"))


class TestTheFile:
    def test_nodes_say_grids(self, by_channel: Any) -> None:
        model = by_channel
        found = nodes_of(model)
        scale, zero, bits = constants(model, found["conv.weight"])
        assert scale.shape == (4, 1, 1, 1) and zero == -0.5 and bits == 4
        assert constants(model, found["up.weight"])[0].shape == (1, 3, 1, 1)
        said = {each.name: onnx.helper.get_attribute_value(each) for each in found["conv.weight"].attribute}
        assert said == {"signed": 1, "narrow": 0, "rounding_mode": b"ROUND"}

    def test_holds_one_sample_and_no_arithmetic_on_shapes(self, by_channel: Any) -> None:
        model = by_channel
        assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, 2, 8, 8]
        operators = {node.op_type for node in model.graph.node}
        assert not operators & {"Shape", "Constant", "Expand", "Cast", "CastLike", "Concat", "Slice", "QuantizedInput"}
        assert all(len(node.input) == 2 for node in model.graph.node if node.name.startswith("node_conv2d_1"))
        assert {each.domain for each in model.opset_import} == {"", "qonnx.custom_op.general"}
        computed = {name for node in model.graph.node for name in node.output}
        assert computed - {"output"} <= {each.name for each in model.graph.value_info}

    def test_what_stays_in_float_has_no_node(self, tmp_path: Path) -> None:
        made = network(4, targets=["weight"], pin={"conv": "float"})
        exported = export_model(made.model, made.allocation, "qonnx", tmp_path / "net.onnx", inputs=X)
        assert exported.report is not None
        kept = {each.layer: each.held_as for each in exported.report.written.kept}
        assert kept == {"conv": "FLOAT32", **dict.fromkeys(["depth", "up", "one", "two", "out"], "Quant INT4")}
        assert "conv.weight" not in nodes_of(onnx.load(tmp_path / "net.onnx"))

    def test_costs_are_those_of_qonnx(self, tmp_path: Path) -> None:
        """BitOPs and weight bits as `inference_cost` counts them in the exported file, for a symmetric grid."""
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.util.inference_cost import inference_cost

        model = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4), nn.Flatten(), nn.Linear(144, 5)
        )
        made = network([2, 3, 5], model, quantizer="symmetric")
        path = tmp_path / "net.onnx"
        export_model(made.model, made.allocation, "qonnx", path, inputs=X)
        with quiet():
            from qonnx.transformation.gemm_to_matmul import GemmToMatMul

            graph = ModelWrapper(str(path)).transform(GemmToMatMul())
            found = inference_cost(graph, discount_sparsity=False)["total_cost"]
        layers = made.allocation.layers
        assert found["total_bops"] == made.allocation.cost.bitops
        assert found["total_macs"] == sum(layer.macs for layer in layers)
        assert found["total_mem_w_bits"] == sum(layer.numel * (layer.bits() or 32) for layer in layers)


class TestRefusals:
    def test_a_wrong_file_is_not_left(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from precsearch.exports.network import quant_nodes

        made = network(4, nn.Sequential(nn.Linear(6, 5)), X.flatten()[:120].view(20, 6))
        monkeypatch.setattr(quant_nodes, "_scale", lambda weight: np.float32(1.01) * weight.step.numpy().reshape(()))
        with pytest.raises(ExportError, match="must run as the network does"):
            export_model(made.model, made.allocation, "qonnx", tmp_path / "net.onnx", inputs=made.inputs)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("name", ["qonnx", "hls4ml"])
    def test_a_missing_package(self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made = network(4, **HLS4ML)

        def missing(package: str) -> None:
            if package == "qonnx":
                raise ModuleNotFoundError(package)

        monkeypatch.setattr(extras, "import_module", missing)
        with pytest.raises(ExportError, match=rf"needs qonnx, .* pip install 'precsearch\[{name}\]'"):
            export_model(made.model, made.allocation, name, tmp_path / "net.onnx", inputs=X)

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"quantizer": "dorefa"}, r"quantizer dorefa: conv.weight, depth.weight"),
            ({"granularity": "channel"}, r"granularity channel: conv.weight"),
            ({"scale": "l2"}, r"scale l2: conv.weight, conv.activation, depth.weight"),
            ({"pin": {"out": 1}}, r"1 bit: out.weight, out.activation"),
            ({"pin": {"conv": {"weight": "float"}}}, r"float weights: conv.weight"),
        ],
    )
    def test_what_hls4ml_does_not_hold(self, change: dict[str, Any], told: str) -> None:
        made = network(4, **{**HLS4ML, **change})
        with pytest.raises(ExportError, match=told) as caught:
            check_profile(made.allocation)
        assert KEYS in str(caught.value) and "\n" not in str(caught.value)

    def test_the_profile_passes(self) -> None:
        check_profile(network(4, **HLS4ML).allocation)
        check_profile(network(4, targets=["weight"], **HLS4ML).allocation)


class TestHls4ml:
    def test_operators_that_it_does_not_read(self, by_channel: Any) -> None:
        known = {node.op_type for node in by_channel.graph.node}
        assert "reads every operator" in check_operators(by_channel, known)
        assert "not checked" in check_operators(by_channel, None)
        with pytest.raises(ExportError, match="does not read ConvTranspose, MaxPool, which"):
            check_operators(by_channel, known - {"MaxPool", "ConvTranspose"})

    def test_the_file_is_in_hls4mls_form_and_runs(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        model = nn.Sequential(
            nn.Conv2d(2, 4, 3, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(36, 5),
        )
        made = network([2, 3, 5], model, **HLS4ML)
        exported = export_model(made.model, made.allocation, "hls4ml", tmp_path / "net.onnx", inputs=X)
        assert capfd.readouterr() == ("", ""), "onnxruntime logs of every node that qonnx hands it"
        assert exported.report is not None and exported.report.rerun.difference < 2e-6
        graph = onnx.load(tmp_path / "net.onnx").graph
        assert graph.input[0].name == "global_in"
        operators = {(node.op_type, node.domain) for node in graph.node}
        assert ("Conv", "qonnx.custom_op.channels_last") in operators and ("MatMul", "") in operators
        assert not {"Gemm", "Shape"} & {operator for operator, _ in operators}
        for node in graph.node:
            if node.op_type == "Quant":
                scale, zero, _ = constants(onnx.load(tmp_path / "net.onnx"), node)
                assert scale.size == 1 and np.frexp(scale.item())[0] == 0.5 and zero == 0
