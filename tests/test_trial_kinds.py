"""Whole trials of other networks: tied weights, recurrent, attention, parametrized; with gradients and groups."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from real_trials import Interrupted, Recorder, experiment, left, train
from safetensors.torch import load_file
from torch import nn

import precsearch
from precsearch.allocation import Allocation
from precsearch.experiment import ModelSettings
from precsearch.models import build_model
from precsearch.trial import run_trial

OWN = '''
import torch
from torch import nn
from torch.nn.utils import parametrizations

class Tied(nn.Module):
    """Sixteen greys as words, whose table is also the layer that scores them."""
    def __init__(self, classes):
        super().__init__()
        self.embed, self.middle = nn.Embedding(17, 6), nn.Linear(6, 6)
        self.score, self.head = nn.Linear(6, 17, bias=False), nn.Linear(17 * 64, classes)
        self.score.weight = self.embed.weight

    def forward(self, x):
        words = (x.flatten(1) * 16).round().long().clamp(0, 16)
        return self.head(self.score(self.middle(self.embed(words)).tanh()).flatten(1))

class Rows(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.net = nn.LSTM(8, 10, batch_first=True)
        self.head = parametrizations.weight_norm(nn.Linear(10, classes))

    def forward(self, x):
        return self.head(self.net(x[:, 0])[0][:, -1])

class Looks(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.attention, self.shift = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 8)
        self.head = parametrizations.spectral_norm(nn.Linear(64, classes))

    def forward(self, x):
        x = self.shift(x[:, 0])
        return self.head((x + self.attention(x, x, x, need_weights=False)[0]).flatten(1))
'''
ASKED = {
    "Tied": ("inner.groups={scores: [middle, head]}", "inner.pin={head: {gradient: 8}}"),
    "Rows": ("inner.groups={gates: {layers: ['net.*'], targets: [weight]}}", "inner.candidates={head: [4, 8]}"),
    "Looks": ("inner.share=[residual, shared_input]", "inner.granularity=channel"),
}
GROUPS = {
    "Tied": {"tied to embed + scores", "tied to embed", "scores", None},
    "Rows": {"gates", None},
    "Looks": {"residual 1", None},
}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    name = "kinds_" + str(abs(hash(request.node.name)))
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def given(own: str, kind: str) -> list[str]:
    return [f"model={{name: '{own}:{kind}'}}", "inner.targets=[weight, activation, gradient]",
            "inner.budget={kind: average_bits, limit: {weight: 5, activation: 5, gradient: 6}}",
            *ASKED[kind]]  # fmt: skip


def build(own: str, kind: str, **more: str) -> nn.Module:
    return build_model(ModelSettings.model_validate({"name": f"{own}:{kind}", **more}), (1, 8, 8), 10)


@pytest.mark.filterwarnings("ignore:.*stays in float32:precsearch.PrecsearchWarning")
@pytest.mark.parametrize("kind", ASKED)
def test_a_whole_trial(own: str, kind: str, tmp_path: Path) -> None:
    result = train(tmp_path / "a", *given(own, kind))
    assert all(spent <= {"gradient": 6}.get(target, 5) for target, spent in result.allocation.cost.average_bits.items())
    assert set(result.allocation.cost.average_bits) == {"weight", "activation", "gradient"}
    groups = {layer.group for layer in result.allocation.layers}
    assert groups <= GROUPS[kind] and len(groups) > 1
    read = json.loads((tmp_path / "a" / "allocation.json").read_text())
    assert [layer.get("group") for layer in read["layers"]] == [layer.group for layer in result.allocation.layers]

    # the weights that it leaves are those of its network
    network = precsearch.apply_allocation(build(own, kind), Allocation.from_json(tmp_path / "a" / "allocation.json"))
    network.load_state_dict(load_file(tmp_path / "a" / "weights.safetensors"))
    assert bool(network.eval()(torch.rand(3, 1, 8, 8)).isfinite().all())

    # an interrupted one comes to the same end
    for epoch in (2, 4):
        with pytest.raises(Interrupted):
            run_trial(experiment(*given(own, kind)), Recorder(tmp_path / "b", die_after=[epoch]))
    assert left(tmp_path / "b", run_trial(experiment(*given(own, kind)), Recorder(tmp_path / "b"))) == left(
        tmp_path / "a", result
    )


@pytest.mark.filterwarnings("ignore:.*stays in float32:precsearch.PrecsearchWarning")
@pytest.mark.parametrize("kind", ASKED)
def test_its_float_weights_start_another(own: str, kind: str, tmp_path: Path) -> None:
    train(tmp_path / "a", *given(own, kind))
    file = tmp_path / "a" / "weights.safetensors"
    with pytest.warns(precsearch.PrecsearchWarning, match="its float weights are taken"):
        model = build(own, kind, checkpoint=str(file))
    raw, plain = load_file(file), build(own, kind)
    assert model.state_dict().keys() == plain.state_dict().keys()
    for name, value in model.state_dict().items():
        parent, _, leaf = name.rpartition(".")
        stored = raw.get(name, raw.get(f"{parent}.parametrizations.{leaf}.original".strip(".")))
        assert torch.equal(value, stored)
