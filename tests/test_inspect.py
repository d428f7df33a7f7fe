"""`precsearch inspect`: what it prints, what it gives as JSON, and that the figures are those of the search."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from made_runs import listing
from nets import NETS
from torch import Tensor, nn

from precsearch import Budget, SearchableModel
from precsearch.cli import main
from precsearch.conversion import preview
from precsearch.plans import TrialPlan
from precsearch.precision.budgets import cost_of

SPACE = """\
version: 1
name: looked
data: {name: "own:images"}
model: {name: "nets:Residual"}
inner: {budget: {kind: average_bits, limit: 4}}
"""
OWN = """\
import warnings
import torch
from torch import nn
import nets
from precsearch.errors import PrecsearchWarning
def images():
    pair = torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(0)) - 0.5, torch.arange(40) % 3
    return pair, pair
def words():
    pair = nets.words(40).float(), torch.arange(40) % 3
    return pair, pair
class Reader(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.net = kind()
    def forward(self, x): return self.net(x.long())
def tied(): return Reader(nets.Tied)
def transformer():
    warnings.warn("the wind is rising", PrecsearchWarning)
    warnings.warn("the wind is rising", PrecsearchWarning)
    return Reader(nets.Transformer)
"""
RESIDUAL = "share: [residual]"
PLAN = {"model", "point", "parameters", "targets", "bits", "layers", "groups", "unshared", "left_float",
        "float_elements", "budgets", "peaks", "images", "costs"}  # fmt: skip
LAYER = {"name", "type", "shape", "channels", "numel", "inputs", "outputs", "macs", "tied_to", "uncovered_input",
         "shares", "targets"}  # fmt: skip


class Shell:
    """Calls `inspect` in a folder of its own."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.home, self.capsys, self.monkeypatch = home, capsys, monkeypatch
        (home / "space.yaml").write_text(SPACE)
        (home / "own.py").write_text(OWN)

    def call(self, *settings: str, flags: Sequence[str] = (), columns: int = 120) -> tuple[str, str]:
        self.monkeypatch.setenv("COLUMNS", str(columns))
        before = listing(self.home)
        sets = [word for setting in settings for word in ("--set", setting)]
        with pytest.raises(SystemExit) as ended:
            main(["inspect", "space.yaml", *sets, *flags])
        assert not ended.value.code and listing(self.home) == before
        out, err = self.capsys.readouterr()
        return "\n".join(line.rstrip() for line in out.splitlines()) + "\n", err

    def printed(self, *settings: str, columns: int = 120) -> str:
        out, err = self.call(*settings, columns=columns)
        assert err == "" and max(map(len, out.splitlines())) <= columns
        return out

    def told(self, *settings: str) -> Any:
        out, err = self.call(*settings, flags=["--json"])
        assert err == ""
        return json.loads(out)


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "own", raising=False)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    return Shell(tmp_path, capsys, monkeypatch)


def section(text: str, title: str) -> str:
    """From a title to the next empty line."""
    return text[text.index(f"\n{title}") :].lstrip("\n").partition("\n\n")[0]


def previewed(name: str, **settings: Any) -> tuple[TrialPlan, SearchableModel]:
    net, example = NETS[name]
    searchable = SearchableModel(net(), Budget("average_bits", 4.0), example, **settings)
    plan = preview(searchable.conversion, searchable.plan, None, model=name, parameters=1, images={})
    return plan, searchable


@pytest.mark.filterwarnings("ignore::precsearch.errors.StaysFloatWarning")
@pytest.mark.parametrize("name", NETS)
def test_shares_and_peaks_are_those_of_the_costs(name: str) -> None:
    plan, searchable = previewed(name)
    for cost in plan.layers[0].shares:
        assert sum(layer.shares[cost] for layer in plan.layers) == pytest.approx(1)
    ends = searchable.plan.ends(searchable.conversion.choices())
    for peak, layers in zip(plan.peaks.values(), ends, strict=True):
        cost = cost_of(layers, plan.float_elements, searchable.plan.moments)
        assert peak.bytes == cost.activation_memory == sum(tensor.bytes for tensor in peak.live) > 0
        whole = sum(-(-layer.layer.numel * layer.weight // 8) + 4 for layer in layers if not layer.layer.tied_to)
        scales = 4 * sum(layer.activation is not None for layer in layers)
        assert cost.model_size == whole + scales + 4 * plan.float_elements
    assert TrialPlan.model_validate_json(plan.model_dump_json()) == plan


@pytest.mark.filterwarnings("ignore::precsearch.errors.StaysFloatWarning")
@pytest.mark.parametrize("name", NETS)
def test_what_is_told_is_what_is_searched(name: str) -> None:
    plan, searchable = previewed(name)
    searched = {part for slot in searchable.plan.problem.slots for part in slot.members}
    told = {(layer.name, target): own for layer in plan.layers for target, own in layer.targets.items()}
    assert {part for part, own in told.items() if own.decided == "searched"} == searched
    assert all(own.reason for own in told.values() if own.decided == "float")
    groups = {frozenset((layer, target) for target in group.members for layer in group.members[target])
              for group in plan.groups}  # fmt: skip
    assert groups == {frozenset(slot.members) for slot in searchable.plan.problem.slots if len(slot.members) > 1}


class Heads(nn.Module):
    """Three layers read one tensor; what is added up is read by two."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.mix, self.out = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.q(x).sigmoid() * self.k(x).sigmoid() * self.v(x)
        return self.out(y + self.mix(y))


@pytest.mark.parametrize(
    ("share", "left"),
    [
        ([], {("shared_input", ("q", "k", "v"), "share: [shared_input]"), ("residual", ("mix", "out"), RESIDUAL)}),
        (["residual"], {("shared_input", ("q", "k", "v"), "share: [residual, shared_input]")}),
        (["shared_input"], {("residual", ("mix", "out"), "share: [residual, shared_input]")}),
        (["residual", "shared_input"], set()),
    ],
)
def test_the_line_that_would_share_shares(share: list[str], left: set[tuple[str, tuple[str, ...], str]]) -> None:
    searchable = SearchableModel(Heads(), Budget("average_bits", 4.0), torch.rand(4, 8), share=share)
    plan = preview(searchable.conversion, searchable.plan, None, model="heads", parameters=1, images={})
    assert {(each.kind, each.readers, each.yaml) for each in plan.unshared} == left
    assert len(plan.groups) == 2 - len(left)


def test_a_residual_net(shell: Shell) -> None:
    settings = ("inner.pin={stem: 8, 'type:Linear': {weight: 8, activation: float}}",
                "inner.candidates={'b*': [4, 8]}", "inner.groups={body: [a1, a2]}")  # fmt: skip
    out = shell.printed(*settings)
    bits = [line.split("  ") for line in section(out, "Bits").splitlines()]
    found = {tuple(part.strip() for part in line if part) for line in bits}
    assert {("pinned to 8", "weight", "stem, out"), ("pinned to 8", "activation", "stem"), ("4, 8", "weight", "b1, b2"),
            ("float: pinned", "activation", "out")} <= found  # fmt: skip
    assert ("2, 3, 4, 6, 8", "weight", "3 layers without bits of their own") in found
    assert "body   2, 3, 4, 6, 8  weight and activation  a1, a2" in section(out, "Groups")
    for line in ("residual  a1, b1, short", "`share: [residual]` under `inner:`"):
        assert line in section(out, "Read by several layers")
    shared = shell.printed(*settings[:1], "inner.share=[residual]")
    assert "Read by several" not in shared and "a1, b1, short" in section(shared, "Groups")


def test_what_stays_float_is_told_once(shell: Shell) -> None:
    out = shell.printed("data={name: 'own:words'}", "model={name: 'own:transformer'}")
    assert out.count("it enters no matrix product") == out.count("forward is bypassed") == 1
    for line in ("weight  net.places", "input   net.embed", "input   net.encoder.layers.0.self_attn.out_proj,"):
        assert line in section(out, "Stays in float32")
    assert out.count("the wind is rising") == 1
    assert "all 7 that can be quantized" in section(out, "Bits")
    assert shell.told("data={name: 'own:words'}", "model={name: 'own:transformer'}")["warnings"] == [
        "the wind is rising"
    ]


def test_tied_weights(shell: Shell) -> None:
    settings = ("data={name: 'own:words'}", "model={name: 'own:tied'}")
    out = shell.printed(*settings)
    assert "tied to net.embed" in section(out, "Groups") and "net.embed, net.decode" in section(out, "Groups")
    embed, _, decode = shell.told(*settings)["plan"]["layers"]
    assert decode["tied_to"] == "net.embed" and decode["shares"]["weights"] == 0 < embed["shares"]["weights"]


def test_json_holds_everything(shell: Shell) -> None:
    searched = "space={inner.budget.limit: {type: float, low: 4, high: 6}}"
    told = shell.told(
        "inner.pin.stem=8", "inner.share=[residual]", "inner.targets=[weight, activation, gradient]", searched
    )
    assert told.keys() == {"name", "plan", "space", "warnings"} and told["space"].keys() == {"inner.budget.limit"}
    plan = told["plan"]
    assert plan.keys() == PLAN and plan["point"] == {"inner.budget.limit": 4.0} and plan["bits"] == [2, 3, 4, 6, 8]
    assert all(layer.keys() == LAYER and layer["targets"].keys() == set(plan["targets"]) for layer in plan["layers"])
    assert plan["layers"][0]["targets"]["weight"] == {
        "decided": "pinned", "bits": [8], "own": False, "group": None, "reason": "",
    }  # fmt: skip
    assert plan["layers"][0]["shape"] == [8, 3, 3, 3] and plan["layers"][0]["macs"] == 8 * 27 * 64
    assert plan["groups"][0].keys() == {"name", "decided", "bits", "members"}
    assert plan["budgets"][0]["cheapest"].keys() == {"weight", "activation", "gradient"}
    assert plan["peaks"].keys() == {"fewest", "most"} and plan["peaks"]["most"].keys() == {"layer", "bytes", "live"}
    assert TrialPlan.model_validate_json(json.dumps(plan)).images["train"] == plan["images"]["train"]


def test_budgets_with_tables_and_a_fixed_allocation(shell: Shell) -> None:
    (shell.home / "chip.csv").write_text("layer,cost\nout,3\n*,1\n")
    chip = "inner.budgets={chip: {kind: latency, limit: 99, table: chip.csv}}"
    out = shell.printed(chip)
    assert "99 (never reached)" in section(out, "Budget chip (latency)")
    assert shell.told(chip)["plan"]["layers"][-1]["shares"]["chip"] == pytest.approx(3 / 9)
    fixed = ("inner.sampler=fixed", "inner.allocation=[2, 3, 4, 2, 3, 4, 2]")
    layers = shell.told(*fixed)["plan"]["layers"]
    assert [layer["targets"]["weight"]["bits"] for layer in layers] == [[b] for b in (2, 3, 4, 2, 3, 4, 2)]
    assert "fixed at 3" in section(shell.printed(*fixed), "Bits")


@pytest.mark.parametrize("columns", [80, 120])
def test_a_deep_net_stays_readable(shell: Shell, columns: int) -> None:
    deep = ("data={name: digits}", f"model={{name: mlp, hidden: {[6] * 160}}}", "inner.groups={most: ['fc*']}")
    out = shell.printed(*deep, columns=columns)
    assert len(section(out, "Layers").splitlines()) == len(section(out, "Share of").splitlines()) == 161 + 3
    assert len(section(out, "Groups").splitlines()) <= 5 and "(160)" in section(out, "Groups")
    assert len(section(out, "Bits").splitlines()) == 5


def test_nothing_starts(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("precsearch.study.driver.make_executor", lambda *_: pytest.fail("an executor was made"))
    shell.printed("executor.name=ray", "executor.address=auto")


@pytest.mark.parametrize("columns", [80, 120])
def test_resnet20(shell: Shell, columns: int) -> None:
    out = shell.printed("data={name: digits}", "model={name: resnet20}", columns=columns)
    assert len(section(out, "Layers").splitlines()) == 20 + 3
    assert "stage1.0.conv1, stage1.1.conv1, stage1.2.conv1" in section(out, "Read by several layers")


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 120])
def test_a_torchvision_model(shell: Shell, columns: int) -> None:
    out = shell.printed("model={name: mobilenet_v3_large}", "inner.share=[residual]", "data={name: 'own:images'}",
                        columns=columns)  # fmt: skip
    assert len(section(out, "Layers").splitlines()) == 64 + 3
    assert all(len(text) <= columns for text in out.splitlines())
    groups = section(out, "Groups").splitlines()
    assert 4 < len(groups) < 50
