from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import make_run

import precsearch
from precsearch.allocation import Allocation, Cost, LayerPrecision, ModelIdentity, TargetPrecision
from precsearch.cli import main
from precsearch.errors import AllocationError
from precsearch.exports import FORMATS
from precsearch.exports.dialects import DIALECTS
from precsearch.exports.dialects.base import FLOAT, LEFT_OUT
from precsearch.exports.dialects.source import read_source

TOOLS = [name for name in DIALECTS if name != "json"]
TYPES = ["Linear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose2d", "Embedding", "LSTM", "MultiheadAttention", "Tagger"]


def layer(
    name: str, kind: str, weight: int | None, activation: int | None = None, signed: bool = False, **more: Any
) -> LayerPrecision:
    targets: dict[Any, TargetPrecision] = {
        "weight": TargetPrecision(bits=weight, granularity=more.get("granularity", "tensor")),
        "activation": TargetPrecision(bits=activation, signed=signed, quantizer="uniform"),
    }
    if "gradient" in more:
        targets["gradient"] = TargetPrecision(bits=more["gradient"])
    return LayerPrecision(name=name, type=kind, numel=8, inputs=4, macs=8, targets=targets)


def allocated(*layers: LayerPrecision) -> Allocation:
    return Allocation(
        model=ModelIdentity(name="Net", fingerprint="0" * 16),
        layers=layers,
        cost=Cost(average_bits={}, model_size=1, bitops=1),
    )


BITS = st.none() | st.just(8) | st.integers(1, 16)
SAID = st.characters(codec="utf-8", categories=["L", "N"], include_characters="_-")
NAMES = st.lists(st.text(SAID, min_size=1, max_size=5), min_size=1, max_size=3).map(".".join)


@st.composite
def allocations(draw: st.DrawFn) -> Allocation:
    made = []
    for name in draw(st.lists(NAMES, min_size=1, max_size=6, unique=True)):
        own: dict[Any, TargetPrecision] = {
            target: TargetPrecision(
                bits=draw(BITS),
                signed=target != "activation" or draw(st.booleans()),
                granularity=draw(st.sampled_from(["tensor", "channel"])),
            )
            for target in draw(
                st.sampled_from([("weight",), ("weight", "activation"), ("weight", "activation", "gradient")])
            )
        }
        kind = draw(st.just("Linear") | st.sampled_from(TYPES))
        made.append(LayerPrecision(name=name, type=kind, numel=8, inputs=4, macs=8, targets=own))
    return allocated(*made)


def read_back(tmp: Path, name: str, text: str, allocation: Allocation) -> dict[tuple[str, str], int | None]:
    path = tmp / "file.json"
    path.write_text(text, encoding="utf-8")
    source = read_source(path)
    assert [other for other, dialect in DIALECTS.items() if dialect.speaks(source.data)] in ([name], [])
    found = DIALECTS[name].read(source, {each.name: each.type for each in allocation.layers})
    return {(part[0], str(part[1])): entry.bits for part, entry in found.entries.items()}


@pytest.mark.parametrize("name", TOOLS)
@settings(max_examples=60, deadline=None)
@given(allocation=allocations())
def test_what_is_said_to_be_held_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, name: str, allocation: Allocation
) -> None:
    tmp = tmp_path_factory.mktemp("dialect")
    written = DIALECTS[name].write(allocation)
    parts = [(each.name, str(target)) for each in allocation.layers for target in each.targets]
    assert [(kept.layer, kept.target) for kept in written.kept] == parts, "every target is spoken of, in order"
    expected: dict[tuple[str, str], int | None] = {}
    for kept in written.kept:
        if kept.held_as == LEFT_OUT:
            assert kept.why
        else:
            expected[kept.layer, kept.target] = None if kept.held_as == FLOAT else int(kept.held_as.split()[0])
            if kept.why is None:
                assert expected[kept.layer, kept.target] == kept.bits
            else:
                assert expected[kept.layer, kept.target] != kept.bits
    found = read_back(tmp, name, written.text, allocation)
    assert {part: found[part] for part in parts if part in found} == expected
    assert {found[part] for part in found if part not in parts} <= {None}, "what was not asked for stays in float32"


@settings(max_examples=30, deadline=None)
@given(allocation=allocations())
def test_json_carries_everything(tmp_path_factory: pytest.TempPathFactory, allocation: Allocation) -> None:
    found = read_back(tmp_path_factory.mktemp("json"), "json", DIALECTS["json"].write(allocation).text, allocation)
    assert found == {(each.name, t): each.bits(t) for each in allocation.layers for t in each.targets}


NET = allocated(
    layer("conv", "Conv2d", 1, 8, granularity="channel"),
    layer("block.fc", "Linear", 3, 8, signed=True, gradient=4),
    layer("head", "Linear", None, None),
    layer("lstm.weight_hh_l0", "LSTM", 4),
    layer("wide", "Linear", 12, 1),
)


@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("brevitas", "2, 8, 3, 8, -, float, float, -, -, 12, 1"),
        ("modelopt", "2, 8, 3, 8, -, float, float, -, -, 12, 1"),
        ("torchao", "-, -, 3, 8, -, float, float, -, -, float, float"),
        ("nncf", "2, -, 3, -, -, -, -, -, -, 12, -"),
        ("plinio", "1, 8, 3, 8, -, -, -, -, -, 12, 1"),
        ("hawq", "1, -, 3, -, -, -, -, 4, -, 12, -"),
    ],
)  # fmt: skip
def test_each_tool_holds_what_it_can(name: str, held: str) -> None:
    words = {LEFT_OUT: "-", FLOAT: "float"}
    found = [words.get(kept.held_as, kept.held_as.split()[0]) for kept in DIALECTS[name].write(NET).kept]
    assert ", ".join(found) == held


def document(name: str, allocation: Allocation = NET) -> Any:
    return json.loads(DIALECTS[name].write(allocation).text)


def test_brevitas_arguments() -> None:
    assert document("brevitas") == {
        "conv": {
            "layer": "QuantConv2d",
            "weight_quant": "Int8WeightPerTensorFloat",
            "weight_bit_width": 2,
            "weight_scaling_per_output_channel": True,
            "input_quant": "Uint8ActPerTensorFloat",
            "input_bit_width": 8,
        },
        "block.fc": {
            "layer": "QuantLinear",
            "weight_quant": "Int8WeightPerTensorFloat",
            "weight_bit_width": 3,
            "weight_scaling_per_output_channel": False,
            "input_quant": "Int8ActPerTensorFloat",
            "input_bit_width": 8,
        },
        "head": {"layer": "QuantLinear", "weight_quant": None, "input_quant": None},
        "wide": {
            "layer": "QuantLinear",
            "weight_quant": "Int8WeightPerTensorFloat",
            "weight_bit_width": 12,
            "weight_scaling_per_output_channel": False,
            "input_quant": "Uint8ActPerTensorFloat",
            "input_bit_width": 1,
        },
    }


def test_modelopt_entries() -> None:
    found = document(
        "modelopt", allocated(NET.layers[0], NET.layers[2], layer("up.0", "ConvTranspose2d", 4, granularity="channel"))
    )
    assert found == {
        "quant_cfg": [
            {"quantizer_name": "*", "enable": False},
            {"quantizer_name": "conv.weight_quantizer", "cfg": {"num_bits": 2, "axis": 0}, "enable": True},
            {
                "quantizer_name": "conv.input_quantizer",
                "cfg": {"num_bits": 8, "axis": None, "unsigned": True},
                "enable": True,
            },
            {"quantizer_name": "head.weight_quantizer", "enable": False},
            {"quantizer_name": "head.input_quantizer", "enable": False},
            {"quantizer_name": "up.0.weight_quantizer", "cfg": {"num_bits": 4, "axis": 1}, "enable": True},
            {"quantizer_name": "up.0.input_quantizer", "enable": False},
        ],
        "algorithm": "max",
    }


def test_nncf_scopes() -> None:
    precision = document("nncf")["compression"]["initializer"]["precision"]
    assert precision == {
        "bitwidth_per_scope": [
            [2, "Net/NNCFConv2d[conv]/conv2d_0|WEIGHT"],
            [3, "Net/*[block]/NNCFLinear[fc]/linear_0|WEIGHT"],
            [12, "Net/NNCFLinear[wide]/linear_0|WEIGHT"],
        ]
    }
    notes = DIALECTS["nncf"].write(NET).notes
    assert any("NNCF 3 has no map" in note for note in notes)
    assert any("fill them in" in note for note in notes)
    assert len(DIALECTS["nncf"].write(allocated(NET.layers[0])).notes) == 1


def test_plinio_and_hawq() -> None:
    assert document("plinio") == {
        "conv": {"in_precision": 8, "w_precision": 1, "type": "MPSConv2d"},
        "block.fc": {"in_precision": 8, "w_precision": 3, "type": "MPSLinear"},
        "wide": {"in_precision": 1, "w_precision": 12, "type": "MPSLinear"},
    }
    assert document("hawq") == {"conv": 1, "block.fc": 3, "lstm.weight_hh_l0": 4, "wide": 12}


def test_torchao_gives_every_linear_layer_a_configuration() -> None:
    found = document("torchao")["_data"]["fqn_to_config"]
    assert list(found) == ["block.fc", "head", "wide"]
    assert found["head"] is None
    assert found["wide"] is None, "12 bits are more than int8 holds: float, and never fewer bits in silence"
    assert found["block.fc"]["_type"] == "Int8DynamicActivationIntxWeightConfig"
    assert found["block.fc"]["_data"]["weight_dtype"] == {"_type": "torch.dtype", "_data": "int3"}


def test_other_levels_and_scales_are_told() -> None:
    def notes(quantizer: str, granularity: Any) -> str:
        own = TargetPrecision(bits=4, quantizer=quantizer, granularity=granularity)
        one = LayerPrecision(name="fc", type="Linear", numel=8, inputs=4, macs=8, targets={"weight": own})
        return " ".join(DIALECTS["torchao"].write(allocated(one)).notes)

    assert "not the levels" in notes("dorefa", "channel")
    assert "each output channel on its own" in notes("symmetric", "tensor")
    assert notes("symmetric", "channel") == ""


@pytest.mark.parametrize(
    ("name", "text", "entries"),
    [
        ("modelopt", '{"quant_cfg": [{"quantizer_name": "*weight_quantizer", "cfg": {"num_bits": 4}},'
                     ' {"quantizer_name": "fc*", "cfg": {"num_bits": 8}},'
                     ' {"quantizer_name": "*lm_head*", "enable": false}]}',
         {("conv", "weight"): 4, ("fc", "weight"): 8, ("fc", "activation"): 8}),
        ("modelopt", '{"quant_cfg": {"default": {"enable": false}, "*weight_quantizer": {"num_bits": 4, "axis": 0}}}',
         {("conv", "weight"): 4, ("fc", "weight"): 4, ("fc", "activation"): None, ("conv", "activation"): None}),
        ("modelopt", '{"quant_cfg": [{"quantizer_name": "*weight_quantizer", "parent_class": "nn.Linear",'
                     ' "cfg": {"num_bits": 3}}]}',
         {("fc", "weight"): 3}),
        ("torchao", '{"_type": "ModuleFqnToConfig", "_data": {"module_fqn_to_config":'
                    ' {"_default": {"_type": "Int4WeightOnlyConfig"}}}}',
         {("fc", "weight"): 4, ("fc", "activation"): None}),
        ("torchao", '{"_type": "FqnToConfig", "_data": {"fqn_to_config": {"re:f.*": null,'
                    ' "fc.weight": {"_type": "Int8DynamicActivationInt8WeightConfig"}}}}',
         {("fc", "weight"): 8, ("fc", "activation"): 8}),
        ("plinio", '{"conv": {"in_precision": 8, "out_precision": 4, "w_precision": [2, 2], "type": "MPSConv2d"},'
                   ' "add": {"out_precision": 8, "type": "MPSAdd"}}',
         {("conv", "weight"): 2, ("conv", "activation"): 8}),
        ("nncf", '{"bitwidth_per_scope": [[4, "Net/Sequential[a]/Block[0]/NNCFConv2d[conv1]/conv2d_0|WEIGHT"],'
                 ' [8, "/nncf_model_input_0|OUTPUT"]]}',
         {("a.0.conv1", "weight"): 4}),
        ("hawq", '{"fc": 32, "conv": 4}', {("fc", "weight"): None, ("conv", "weight"): 4}),
        ("brevitas", '{"fc": {"weight_quant": "Int8WeightPerTensorFloat", "input_quant": null}}',
         {("fc", "weight"): 8, ("fc", "activation"): None}),
    ],
)  # fmt: skip
def test_files_of_the_tools_themselves_are_read(tmp_path: Path, name: str, text: str, entries: dict[Any, Any]) -> None:
    net = allocated(layer("conv", "Conv2d", 1), layer("fc", "Linear", 1), layer("a.0.conv1", "Tagger", 1))
    assert read_back(tmp_path, name, text, net) == entries


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("hawq", '{\n  "fc": 0}', r"file\.json:2:3: fc: bits must be whole, from 1 to 16, or 32 for float32, but got"),
        ("hawq", '{"fc": 2.5}', r":1:2: fc: .* got 2\.5"),
        ("hawq", '{"fc": 17}', "got 17"),
        ("nncf", '{"bitwidth_per_scope": [[99, "N/NNCFLinear[fc]/linear_0|WEIGHT"]]}', r":1:30: fc: .* got 99"),
        ("nncf", '{"bitwidth_per_scope": [[4]]}', r"pairs of bits and scope, but got \[4\]"),
        ("plinio", '{"fc": {"w_precision": [2, 8], "type": "MPSLinear"}}', "its channels have 2, 8"),
        ("plinio", '{"fc": {"w_precision": 0, "type": "MPSLinear"}}', "fc: w_precision: bits .* got 0"),
        ("modelopt", '{"quant_cfg": [{"quantizer_name": "fc.weight_quantizer", "cfg": {"num_bits": [4, 3]}}]}',
         r":1:35: fc \(weight\): `cfg` must have whole `num_bits`"),
        ("modelopt", '{"quant_cfg": [{"quantizer_name": "fc.weight_quantizer", "enable": true}]}', "needs `cfg`"),
        ("modelopt", '{"quant_cfg": [{"cfg": {}}]}', "needs a quantizer_name"),
        ("modelopt", '{"quant_cfg": [3]}', "an object must be given, but got 3"),
        ("torchao", '{"_type": "FqnToConfig", "_data": {"fqn_to_config": {"fc": {"_type": "Float8WeightOnlyConfig"}}}}',
         r":1:54: fc: a configuration of integer weights .* got 'Float8WeightOnlyConfig'"),
        ("torchao", '{"_type": "FqnToConfig", "_data": {"fqn_to_config": {"fc": {"_type": "IntxWeightOnlyConfig",'
                    ' "_data": {"weight_dtype": {"_data": "uint4"}}}}}}', "weight_dtype must be int1 to int8"),
        ("brevitas", '{"fc": {"weight_quant": "Fp8e4m3Weight"}}', "got 'Fp8e4m3Weight'"),
    ],
)  # fmt: skip
def test_what_cannot_be_an_allocation_is_named_with_its_place(tmp_path: Path, name: str, text: str, says: str) -> None:
    with pytest.raises(AllocationError, match=says):
        read_back(tmp_path, name, text, allocated(layer("fc", "Linear", 1)))


@pytest.mark.parametrize("name", TOOLS)
def test_export_writes_and_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    run, target = make_run(tmp_path / "made"), tmp_path / "out.json"
    exported = precsearch.export(run, name, trial=2)
    assert exported.text == FORMATS[name].write(exported.allocation).text  # type: ignore[union-attr]
    with pytest.raises(SystemExit, match="0"):
        main(["export", str(run.path), "--trial", "2", "--format", name, "-o", str(target)])
    out, err = capsys.readouterr()
    assert (out, target.read_text()) == ("", exported.text)
    assert f"wrote {target}" in err
    assert exported.written is not None
    for kept in exported.written.kept:
        assert kept.why is None or (kept.why in err and kept.layer in err)
    for note in exported.written.notes:
        assert note in err
    with pytest.raises(SystemExit, match="0"):
        main(["export", str(run.path), "--trial", "2", "--format", name, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["written"] == exported.written.model_dump(mode="json")
