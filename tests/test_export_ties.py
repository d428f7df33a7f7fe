from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

import precsearch
from precsearch.conversion import calibrate
from precsearch.errors import ExportError
from precsearch.exports.network.leave import leave
from precsearch.exports.network.network import Network
from precsearch.exports.network.onnx_qdq import OnnxQdq
from precsearch.exports.network.qonnx import Qonnx
from precsearch.exports.network.ties import with_roundings
from precsearch.exports.report import Written
from precsearch.models import MODELS
from precsearch.quantization.quantizers import ActivationQuantizer

INPUTS = 10


class Pretends:
    """A format whose file returns what torch returns for other inputs, and that moved for some."""

    name, tolerance = "pretended", 1e-4

    def __init__(self, moved: dict[int, float], inputs: Tensor | None = None) -> None:
        self.moved, self.inputs = moved, inputs

    def write(self, network: Network, path: Path) -> Written:
        path.write_bytes(b"0")
        return Written()

    def read(self, network: Network, path: Path):
        return lambda inputs: self.watch(network, path)(inputs)[0]

    def watch(self, network: Network, path: Path):
        """Of the inputs that are asked for, told by where they are among the network's."""

        def run(inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
            places = [int((network.inputs == each).flatten(1).all(1).nonzero()[0]) for each in inputs]
            outputs, rounded = look(network.model, (network.inputs if self.inputs is None else self.inputs)[places])
            moves = torch.tensor([[self.moved.get(place, 0.0)] for place in places])
            return outputs + moves * network.outputs.abs().max(), rounded

        return run


@torch.no_grad()
def look(model: nn.Module, inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
    """What a model returns, and what its quantizers do on the way."""
    rounded: list[Tensor] = []
    quantizers = [each for each in model.modules() if isinstance(each, ActivationQuantizer)]
    hooks = [each.register_forward_hook(lambda _, args, made: rounded.append(made)) for each in quantizers]
    outputs = model(inputs)
    for hook in hooks:
        hook.remove()
    return outputs, rounded


@pytest.fixture
def network() -> Network:
    """Inputs on the levels, but for 2, 3 and 4, each with one value between two of them."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
    searchable = precsearch.SearchableModel(
        model, budget=precsearch.Budget("average_bits", 16), example_input=torch.rand(20, 6), bits=[3],
        targets=["weight", "activation"], sampler="fixed", allocation=[3, 3], pin={"2": {"activation": "float"}},
    )  # fmt: skip
    calibrate(searchable, torch.rand(20, 6))
    allocation = searchable.allocation()
    searchable.freeze().eval()
    step = float(next(each for each in model.modules() if isinstance(each, ActivationQuantizer)).ranges().step)
    codes: Tensor = torch.randint(0, 7, (INPUTS, 6), generator=torch.Generator().manual_seed(1)).float()
    for at in (2, 3, 4):
        codes[at, at] = at + 0.5
    return Network("two layers", model, allocation, codes * step)


def step_of(network: Network) -> float:
    return float(next(each for each in network.model.modules() if isinstance(each, ActivationQuantizer)).ranges().step)


def rounding_otherwise(network: Network, *places: int, by: float = 0.01) -> Tensor:
    """The inputs, but those at these places a little to the other side of their ties, each of which torch made even."""
    inputs, step = network.inputs.clone(), step_of(network)
    for place in places:
        codes = inputs[place] / step
        between = (codes - codes.floor() - 0.5).abs() < 1e-3
        assert between.any()
        inputs[place] += between * torch.where(codes.round() > codes, -by, by) * step
    return inputs


def test_ties_are_counted_and_told(network, tmp_path):
    rerun = leave(network, Pretends({7: 5e-5}, rounding_otherwise(network, 2, 4)), tmp_path / "file").rerun
    assert rerun.ties == 2
    assert rerun.difference == pytest.approx(5e-5, rel=1e-2)


def test_several_ties_of_every_input(network, tmp_path):
    inputs = network.inputs.clone()
    inputs[:, :4] = torch.tensor([0.5, 1.5, 2.5, 3.5]) * step_of(network)
    inputs[:, 4] = torch.arange(INPUTS) * 0.01 * step_of(network)  # no two are alike
    several = Network("several", network.model, network.allocation, inputs)
    made = leave(several, Pretends({}, rounding_otherwise(several, *range(INPUTS))), tmp_path / "file").rerun
    assert made.ties == INPUTS and made.difference == 0


@pytest.mark.parametrize("moved", [{7: 0.1}, {2: 0.1}, {2: 1e-3, 7: 0.1}, {3: -0.02}, {7: float("nan")}])
def test_other_differences_are_no_ties(network, tmp_path, moved):
    """Among them those of inputs that have a tie, which does not make this difference."""
    for inputs in (None, rounding_otherwise(network, 4)):
        with pytest.raises(ExportError, match="must run as the network does"):
            leave(network, Pretends(moved, inputs), tmp_path / "file")
        assert not list(tmp_path.iterdir())


def test_values_that_are_not_between_levels(network, tmp_path):
    """A program that rounds down what torch rounds up, a hundredth of a step from the middle; or by two levels."""
    near, far = network.inputs.clone(), network.inputs.clone()
    near[7, 0] += 0.51 * step_of(network)
    far[2] += (near[7] != network.inputs[7]) * 2 * step_of(network)
    for inputs in (near, far):
        with pytest.raises(ExportError, match="must run as the network does"):
            leave(network, Pretends({}, inputs), tmp_path / "file")


def test_what_is_taken_over(network):
    """Where both round alike, and the other level of a tie; no other value, no other level, no other number of them."""
    model, inputs, step = network.model, network.inputs, step_of(network)
    outputs, (rounded,) = look(model, inputs)
    same = with_roundings(model, inputs, [rounded])
    assert same is not None and torch.equal(same, outputs)

    def turned(row: int, column: int, levels: float) -> Tensor | None:
        theirs = rounded.clone()
        theirs[row, column] += levels * step
        return with_roundings(model, inputs, [theirs])

    up = 1 if rounded[2, 2] < inputs[2, 2] else -1
    other = turned(2, 2, up)
    assert other is not None and not torch.equal(other[2], outputs[2]) and torch.equal(other[3:], outputs[3:])
    for refused in (turned(2, 2, -up), turned(2, 2, 2 * up), turned(7, 0, 1), turned(2, 1, 1)):
        assert refused is None
    for others in ([], [rounded, rounded], [rounded[:, :5]]):
        assert with_roundings(model, inputs, others) is None


def test_a_file_that_cannot_be_looked_into_has_no_excuse(network, tmp_path, monkeypatch):
    how = Pretends({}, rounding_otherwise(network, 2))
    outputs = look(network.model, how.inputs)[0]
    assert leave(network, how, tmp_path / "seen").rerun.ties == 1
    monkeypatch.setattr(how, "read", lambda *_: lambda inputs: outputs)
    monkeypatch.setattr(how, "watch", lambda *_: None)
    with pytest.raises(ExportError, match="must run as the network does"):
        leave(network, how, tmp_path / "file")


def wrong(how: type) -> type:
    """The same format, but one number of the file is a little off."""

    class Wrong(how):
        def write(self, network: Network, path: Path) -> Written:
            told = super().write(network, path)
            model = onnx.load(path)
            bias = next(each for each in model.graph.initializer if each.name.startswith("fc.bias"))
            value = onnx.numpy_helper.to_array(bias).copy()
            value[3] += 0.002 * float(network.outputs.abs().max())
            bias.CopyFrom(onnx.numpy_helper.from_array(value, bias.name))
            path.write_bytes(model.SerializeToString())
            return told

    return Wrong


@pytest.mark.slow
@pytest.mark.parametrize("how", [OnnxQdq, Qonnx])
def test_a_large_network_of_8_bits(tmp_path, how):
    """Many values of every input lie between two levels; an error beside them is found all the same."""
    torch.manual_seed(0)
    inputs = torch.rand(6, 3, 32, 32)
    own = MODELS["resnet20"]((3, 32, 32), 10)
    searchable = precsearch.SearchableModel(
        own, precsearch.Budget("average_bits", 8), inputs[:2], bits=[8], sampler="uniform"
    )
    calibrate(searchable, inputs)
    allocation, model = searchable.allocation(), searchable.freeze().eval()
    network = Network("resnet20", model, allocation, inputs)
    rerun = leave(network, how(), tmp_path / "file").rerun
    assert rerun.agreement == 1 and rerun.difference <= how.tolerance
    with pytest.raises(ExportError, match="must run as the network does"):
        leave(network, wrong(how)(), tmp_path / "other")
