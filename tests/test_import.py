from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from real_trials import TINY
from torch import Tensor, nn

import precsearch
from precsearch.allocation import Allocation
from precsearch.cli import main
from precsearch.errors import AllocationError, ConfigurationError
from precsearch.exports.dialects import DIALECTS

LAYERS = ["fc1", "fc2", "out"]  # of the experiment's network


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.block = nn.Sequential(nn.Linear(144, 12), nn.ReLU(), nn.Linear(12, 5))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block(torch.relu(self.conv(x)).flatten(1))
        return out


def images() -> Tensor:
    return torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def fixed(bits: list[int], **settings: Any) -> Allocation:
    budget = precsearch.Budget("average_bits", 16)
    return precsearch.SearchableModel(
        Net(), budget, images(), sampler="fixed", allocation=bits, **settings
    ).allocation()


def file(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "given.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def imported(tmp_path: Path, content: Any, format: str = "hawq", **arguments: Any) -> Allocation:
    torch.manual_seed(0)
    return precsearch.import_allocation(
        file(tmp_path, content), format, model=Net(), example_input=images(), **arguments
    )


def space(tmp_path: Path, text: str = TINY) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("grids", [{}, {"quantizer": "symmetric", "scale": "max", "granularity": "channel"}])
def test_an_import_is_the_allocation_that_a_fixed_search_has(tmp_path: Path, grids: dict[str, Any]) -> None:
    own = fixed([2, 3, 8], **grids)
    for name in ("json", "brevitas", "modelopt", "plinio"):  # carry weights and activations of all three
        found = imported(tmp_path, DIALECTS[name].write(own).text, name, **grids)
        assert found.layers == own.layers, name
        assert (found.cost, found.model) == (own.cost, own.model)
        assert (found.budget, found.budgets, found.metrics) == (None, (), {})
        assert found.provenance["imported_from"] == name


@settings(max_examples=15, deadline=None)
@given(bits=st.lists(st.none() | st.integers(2, 8), min_size=6, max_size=6), name=st.sampled_from(list(DIALECTS)))
def test_exporting_and_importing_gives_the_same_bits(
    tmp_path_factory: pytest.TempPathFactory, bits: list[int | None], name: str
) -> None:
    own = fixed([2, 3, 8])
    targets = iter(bits)
    layers = [
        layer.model_copy(
            update={"targets": {t: p.model_copy(update={"bits": next(targets)}) for t, p in layer.targets.items()}}
        )
        for layer in own.layers
    ]
    own = own.model_copy(update={"layers": tuple(layers)})
    written = DIALECTS[name].write(own)
    if written.text == "{}\n":  # nothing to say is no file
        return
    found = imported(tmp_path_factory.mktemp("import"), written.text, name, missing="float")
    lost = {(kept.layer, kept.target) for kept in written.kept if kept.why is not None}
    for layer in own.layers:
        for target in layer.targets:
            same = found.bits(target)[layer.name] == layer.bits(target)
            assert same or (layer.name, target) in lost


def test_what_an_import_gives_runs(tmp_path: Path) -> None:
    found = imported(tmp_path, {"conv": 1, "block.0": 2, "block.2": 8}, missing=4)
    assert found.bits("weight") == {"conv": 1, "block.0": 2, "block.2": 8}
    assert set(found.bits("activation").values()) == {4}
    model = precsearch.apply_allocation(Net(), found)
    precsearch.calibrate(model, images())
    model.eval()
    assert [len(model.conv.weight.unique()), len(model.block[0].weight.unique())] == [2, 4]
    again = precsearch.SearchableModel(
        Net(), precsearch.Budget("average_bits", 16), images(), sampler="fixed", allocation=found
    )
    assert again.allocation().layers == found.layers


def test_a_model_of_ones_own_is_left_alone(tmp_path: Path) -> None:
    model = Net()
    path = file(tmp_path, {"conv": 1, "block.0": 2, "block.2": 8})
    precsearch.import_allocation(path, "hawq", model=model, example_input=images(), missing="float")
    precsearch.apply_allocation(
        model, precsearch.import_allocation(path, "hawq", model=model, example_input=images(), targets=["weight"])
    )


def test_a_trial_takes_what_was_imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, target = file(tmp_path, {"fc1": 4, "fc2": 3, "out": 8}), tmp_path / "allocation.json"
    with pytest.raises(SystemExit, match="0"):
        main(["import", str(path), "--format", "hawq", str(space(tmp_path)), "--missing", "6", "-o", str(target)])
    out, err = capsys.readouterr()
    assert out == "" and f"wrote {target}" in err
    assert "not given by the file, so 6 bits: activation of fc1, fc2, out" in err
    fixed_space = TINY.replace(
        "inner:", f"inner:\n  sampler: fixed\n  allocation: {target}\n  budget: {{kind: average_bits, limit: 8}}"
    )
    with pytest.raises(SystemExit, match="0"):
        main(["inspect", str(space(tmp_path, fixed_space)), "--json"])
    plan = json.loads(capsys.readouterr().out)["plan"]
    given = Allocation.from_json(target)
    assert plan["costs"]["model_size"] == given.cost.model_size
    assert [each["targets"]["weight"]["bits"] for each in plan["layers"]] == [[4], [3], [8]]


def test_json_on_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = file(tmp_path, {"fc1": 4, "fc2": 3, "out": 8})
    arguments = ["import", str(path), "--format", "hawq", str(space(tmp_path)), "--missing", "float"]
    with pytest.raises(SystemExit, match="0"):
        main([*arguments, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["format"] == "hawq" and told["output"] is None
    assert told["notes"] == ["not given by the file, so float32: activation of fc1, fc2, out"]
    with pytest.raises(SystemExit, match="0"):
        main(arguments)
    assert Allocation.model_validate(told["allocation"]) == Allocation.from_json(capsys.readouterr().out)


def test_a_space_is_taken_at_its_lowest_end_and_settings_can_be_changed(tmp_path: Path) -> None:
    text = TINY + "space:\n  model.width: {type: float, low: 0.5, high: 1.0}\n"
    path = file(tmp_path, {"fc1": 4, "fc2": 3, "out": 8})
    found = precsearch.import_allocation(path, "hawq", space(tmp_path, text), missing="float")
    assert [layer.numel for layer in found.layers] == [384, 30, 50]


def test_pins_fill_what_is_missing_and_must_not_be_contradicted(tmp_path: Path) -> None:
    bits = {"conv": 4, "block.0": 4, "block.2": 4}
    pin = {"*": {"activation": 8}}
    assert set(imported(tmp_path, bits, pin=pin).bits("activation").values()) == {8}
    pin = {"*": {"activation": "float"}, "conv": {"weight": 4}}
    assert set(imported(tmp_path, bits, pin=pin).bits("activation").values()) == {None}
    for value, told in ((8, "8 bits"), ("float", "float32")):
        with pytest.raises(AllocationError, match=rf"given\.json:1:2: the weight of conv has 4 bits here, .* {told}"):
            imported(tmp_path, bits, pin={"conv": {"weight": value}}, missing="float")


@pytest.mark.parametrize(
    ("content", "format", "says"),
    [
        ({"conv": 4, "block.1": 2, "blok.2": 2}, "hawq",
         r"given\.json:1:13: the model has no layer 'block.1'; nearest: 'blo"),
        ({"conv": 4, "block.1": 2, "blok.2": 2}, "hawq",
         r"'blok.2'; nearest: 'block.2'\nits layers: conv, block.0, block.2"),
        ({"conv": 4, "block.0": 2}, "hawq",
         r"given for activation of conv, block.0, block.2; weight of block.2, but the file gives none "
         r"\(hawq carries no bits of the activation\); `--missing float`"),
        ({"conv": {"w_precision": 4, "in_precision": 4, "type": "MPSConv2d"}}, "plinio",
         "weight of block.0, block.2; activation|activation of block.0, block.2; weight"),
        ({"conv": 4}, "plinio",
         r"is not the dict of PLiNIO's MPS.summary\(\) \(format 'plinio'\); it looks like `--format hawq`"),
        ({"quant_cfg": []}, "hawq", "it looks like `--format modelopt`"),
        ({"layers": ["conv"]}, "hawq", "known formats: json, brevitas"),
        ({}, "hawq", "known formats"),
        ([], "json", "known formats"),
        ('{"conv": 4,\n', "hawq", r"given\.json:2:1: not valid JSON"),
        ('{"conv": 4, "conv": 3}', "hawq", "'conv' stands twice"),
        ('{"format": "precsearch-allocation", "version": 9}', "json", "version 9 is not known"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit_are_refused(tmp_path: Path, content: Any, format: str, says: str) -> None:
    with pytest.raises(AllocationError, match=says):
        imported(tmp_path, content, format)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(torch.relu(self.b(torch.relu(self.a(x)))))
        return out


def test_tied_weights_and_groups_must_agree(tmp_path: Path) -> None:
    arguments: Any = {"model": Tied(), "example_input": torch.ones(2, 6), "targets": ["weight"]}
    found = precsearch.import_allocation(file(tmp_path, {"a": 3, "b": 3, "out": 8}), "hawq", **arguments)
    assert found.bits() == {"a": 3, "b": 3, "out": 8}
    assert found.layers[1].tied_to == "a"
    with pytest.raises(AllocationError, match=r"given\.json: the layers of a group must agree, .* 'tied to a'"):
        precsearch.import_allocation(file(tmp_path, {"a": 3, "b": 4, "out": 8}), "hawq", **arguments)
    with pytest.raises(AllocationError, match=r"must agree, but in '.*both"):
        precsearch.import_allocation(
            file(tmp_path, {"a": 3, "b": 3, "out": 8}), "hawq", **arguments, groups={"both": ["b", "out"]}
        )


def test_targets_that_are_not_asked_for_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = {name: {"w_precision": 4, "in_precision": 3, "type": "MPSLinear"} for name in LAYERS}
    path = file(tmp_path, content)
    with pytest.raises(SystemExit, match="0"):
        main(["import", str(path), "--format", "plinio", str(space(tmp_path)), "--set", "inner.targets=[weight]"])
    out, err = capsys.readouterr()
    assert "not taken: activation of fc1, fc2, out; it is not among `inner.targets`" in err
    assert Allocation.from_json(out).bits("activation") == dict.fromkeys(LAYERS)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"format": "nope"}, "known: json, brevitas, modelopt, torchao, nncf, plinio, hawq"),
        ({"format": "hawq", "missing": "17"}, "`float` or 1 to 16 bits, but got '17'"),
        ({"format": "hawq", "missing": "none"}, "but got 'none'"),
        ({"format": "hawq"}, "give one of both"),
        ({"format": "hawq", "experiment": "x.yaml", "targets": ["weight"]}, "give one of both"),
        ({"format": "hawq", "model": nn.Linear(2, 2)}, "example_input"),
        (
            {"format": "hawq", "model": Net(), "example_input": images(), "bits": [2]},
            "a setting must be one of .* 'bits'",
        ),
    ],
)
def test_arguments_that_do_not_go_together(tmp_path: Path, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        precsearch.import_allocation(file(tmp_path, {"conv": 4}), **arguments)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AllocationError, match=r"cannot read the allocation .*nowhere\.json: No such file"):
        precsearch.import_allocation(tmp_path / "nowhere.json", "hawq", space(tmp_path))
