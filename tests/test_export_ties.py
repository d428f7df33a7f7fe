from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import precsearch
from precsearch.conversion import calibrate
from precsearch.errors import ExportError
from precsearch.exports.network.leave import leave
from precsearch.exports.network.network import Network
from precsearch.exports.network.ties import _Forward, _watched, rounded_otherwise, ties_of
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
        moves = torch.zeros(len(network.inputs), 1)
        for at, by in self.moved.items():
            moves[at] = by * network.outputs.abs().max()
        with torch.no_grad():
            outputs = network.outputs if self.inputs is None else network.model(self.inputs)
        return lambda inputs: outputs + moves


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


def rounding_otherwise(network: Network, *at: int) -> Tensor:
    """The inputs, but those at these places a little to the other side of their ties, each of which torch made even."""
    inputs, step = network.inputs.clone(), step_of(network)
    for place in at:
        for tie in ties_of(network.model, network.inputs[place : place + 1]):
            inputs[place].view(-1)[tie.index] += 0.01 * step * (1 if tie.move > 0 else -1)
    return inputs


def test_finds_ties(network):
    found = [len(ties_of(network.model, network.inputs[at : at + 1])) for at in range(INPUTS)]
    assert found == [int(at in {2, 3, 4}) for at in range(INPUTS)]
    read = [each for each in network.model.modules() if isinstance(each, ActivationQuantizer)]
    assert not any(each._forward_hooks for each in read)


def test_ties_are_counted_and_told(network, tmp_path):
    rerun = leave(network, Pretends({7: 5e-5}, rounding_otherwise(network, 2, 4)), tmp_path / "file").rerun
    assert rerun.ties == 2
    assert rerun.difference == pytest.approx(5e-5, rel=1e-2)


def test_several_ties_of_one_input(network, tmp_path):
    inputs, step = network.inputs.clone(), step_of(network)
    inputs[2, :3] = torch.tensor([0.5, 1.5, 2.5]) * step
    several = Network("several", network.model, network.allocation, inputs)
    assert len(ties_of(several.model, inputs[2:3])) >= 3
    assert leave(several, Pretends({}, rounding_otherwise(several, 2)), tmp_path / "file").rerun.ties == 1


@pytest.mark.parametrize("moved", [{7: 0.1}, {2: 0.1}, {2: 1e-3, 7: 0.1}, {3: -0.02}, {7: float("nan")}])
def test_other_differences_are_no_ties(network, tmp_path, moved):
    """Among them those of inputs that have a tie, which does not make this difference."""
    for inputs in (None, rounding_otherwise(network, 4)):
        with pytest.raises(ExportError, match="must run as the network does"):
            leave(network, Pretends(moved, inputs), tmp_path / "file")
        assert not list(tmp_path.iterdir())


def test_most_inputs_are_no_ties(network, tmp_path):
    ties = Network("ties", network.model, network.allocation, network.inputs[[2, 3, 4] * 3 + [0]])
    assert leave(ties, Pretends({}, rounding_otherwise(ties, *range(5))), tmp_path / "file").rerun.ties == 5
    with pytest.raises(ExportError, match="must run as the network does"):
        leave(ties, Pretends({}, rounding_otherwise(ties, *range(6))), tmp_path / "other")


def test_a_large_network_with_ties_for_every_input(tmp_path):
    """That there are ties excuses nothing; what they make does."""
    torch.manual_seed(0)
    inputs = torch.rand(6, 3, 32, 32)
    searchable = precsearch.SearchableModel(
        MODELS["resnet20"]((3, 32, 32), 10), precsearch.Budget("average_bits", 4), inputs[:2]
    )
    calibrate(searchable, inputs)
    allocation, model = searchable.allocation(), searchable.freeze().eval()
    network = Network("resnet20", model, allocation, inputs)
    found = [ties_of(model, inputs[at : at + 1]) for at in range(6)]
    assert all(found)
    with pytest.raises(ExportError, match="must run as the network does"):
        leave(network, Pretends({1: 0.01}), tmp_path / "file")
    tie = found[1][-1]
    otherwise = network.outputs.clone()
    with torch.no_grad(), _watched(model, _Forward({(tie.quantizer, tie.call): [tie]})):
        otherwise[1] = model(inputs[1:2])[0]
    allowed = 1e-6 * float(otherwise.abs().max())
    assert rounded_otherwise(model, inputs[1:2], otherwise[1:2], allowed)
    assert not rounded_otherwise(model, inputs[1:2], otherwise[1:2] + 100 * allowed, allowed)
