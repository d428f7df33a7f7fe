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
from precsearch.exports.network.ties import on_a_tie
from precsearch.exports.report import Written
from precsearch.quantization.quantizers import ActivationQuantizer

INPUTS = 10


class Pretends:
    """A format whose file returns what torch returns, moved for some inputs."""

    name, tolerance = "pretended", 1e-4

    def __init__(self, moved: dict[int, float]) -> None:
        self.moved = moved

    def write(self, network: Network, path: Path) -> Written:
        path.write_bytes(b"0")
        return Written()

    def read(self, network: Network, path: Path):
        moves = torch.zeros(INPUTS, 1)
        for at, by in self.moved.items():
            moves[at] = by * network.outputs.abs().max()
        return lambda inputs: network.outputs + moves


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


def test_finds_ties(network):
    found = [on_a_tie(network.model, network.inputs[at : at + 1]) for at in range(INPUTS)]
    assert found == [at in {2, 3, 4} for at in range(INPUTS)]
    read = [each for each in network.model.modules() if isinstance(each, ActivationQuantizer)]
    assert not any(each._forward_pre_hooks for each in read)


def test_ties_are_counted_and_told(network, tmp_path):
    rerun = leave(network, Pretends({2: 0.1, 4: -0.2, 7: 5e-5}), tmp_path / "file").rerun
    assert rerun.ties == 2
    assert rerun.difference == pytest.approx(5e-5, rel=1e-2)


@pytest.mark.parametrize("moved", [{7: 0.1}, {2: 0.1, 7: 0.1}, {7: float("nan")}])
def test_other_differences_are_no_ties(network, tmp_path, moved):
    with pytest.raises(ExportError, match="must run as the network does"):
        leave(network, Pretends(moved), tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_most_inputs_are_no_ties(network, tmp_path):
    ties = Network("ties", network.model, network.allocation, network.inputs[[2, 3, 4] * 3 + [0]])
    assert leave(ties, Pretends(dict.fromkeys(range(5), 0.1)), tmp_path / "file").rerun.ties == 5
    with pytest.raises(ExportError, match="must run as the network does"):
        leave(ties, Pretends(dict.fromkeys(range(6), 0.1)), tmp_path / "other")
