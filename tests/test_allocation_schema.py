"""The published JSON Schema of an allocation: what the project writes keeps it, and what breaks it is not read."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from made_arms import make_compare, make_grid
from made_runs import make_run
from trained_runs import SPACES, trained

import precsearch
from precsearch.allocation import Allocation
from precsearch.cli import main
from precsearch.errors import AllocationError
from precsearch.exports.schema import SCHEMA_FILE, make_schema
from precsearch.files import json_text
from precsearch.precision.front import BudgetFront

STORED = Path(__file__).parent / "data" / "allocation_v1.json"
SCHEMA = precsearch.allocation_schema()
VALID = Draft202012Validator(SCHEMA)
Change = Callable[[dict[str, Any]], object]


def document() -> dict[str, Any]:
    """An allocation with everything that the format has."""
    made: dict[str, Any] = json.loads(STORED.read_text())
    made["budgets"] = [{**made["budget"], "name": "bits", "layers": ["0", "4"]}]
    made["cost"]["activation_memory"] = 12
    first = made["layers"][0]
    made["layers"].append({**copy.deepcopy(first), "name": "5", "tied_to": "0", "group": "tied to 0"})
    made["layers"][1]["targets"]["weight"]["bits"] = None
    return made


class TestSchema:
    def test_it_is_a_schema(self):
        Draft202012Validator.check_schema(SCHEMA)
        assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"

    def test_the_file_is_up_to_date(self):
        assert SCHEMA_FILE.read_text() == json_text(make_schema()), "run python -m precsearch.exports.schema"

    def test_it_is_in_the_package(self):
        assert Path(precsearch.__file__).parent in SCHEMA_FILE.parents and "allocation-1" in SCHEMA_FILE.name

    def test_every_key_is_explained(self):
        for kind in (SCHEMA, *SCHEMA["$defs"].values()):
            assert kind["additionalProperties"] is False
            assert all(each["description"] for each in kind["properties"].values())

    def test_a_document_with_everything(self):
        VALID.validate(document())
        assert json.loads(Allocation.from_json(json.dumps(document())).to_json()) == document()


BROKEN: dict[str, tuple[Change, str]] = {
    "no format": (lambda d: d.pop("format"), "expected format 'precsearch-allocation', got None"),
    "another format": (lambda d: d.update(format="onnx"), "expected format 'precsearch-allocation', got 'onnx'"),
    "no version": (lambda d: d.pop("version"), "version None is not known"),
    "a newer version": (lambda d: d.update(version=2), "version 2 is not known here .* upgrade precsearch"),
    "a version in words": (lambda d: d.update(version="1"), "version '1' is not known"),
    "no layers": (lambda d: d.pop("layers"), "the document: it must have 'layers', but it has 'format'"),
    "an empty list of layers": (lambda d: d.update(layers=[]), r"layers: .*at least 1 item.*, got \[\]"),
    "layers by name": (lambda d: d.update(layers={"0": 4}), r'layers: .*array, got \{"0": 4\}'),
    "an unknown key": (lambda d: d.update(layer=[]), "layer: there is no such key; did you mean 'layers'"),
    "an unknown key of a layer": (lambda d: d["layers"][1].update(bit=3), r"layers\.1\.bit: there is no such key; did"),
    "a layer without a name": (lambda d: d["layers"][1].pop("name"), r"layers\.1: it must have 'name'"),
    "an empty name": (lambda d: d["layers"][0].update(name=""), r'layers\.0\.name: .*at least 1 character, got ""'),
    "no elements": (lambda d: d["layers"][0].update(numel=0), r"layers\.0\.numel: .*greater than or equal to 1, got 0"),
    "half an element": (lambda d: d["layers"][0].update(numel=1.5), r"layers\.0\.numel: .*integer, got 1\.5"),
    "fewer than no products": (lambda d: d["layers"][0].update(macs=-1), r"layers\.0\.macs: .*equal to 0, got -1"),
    "no bits": (lambda d: weight(d).update(bits=0), r"layers\.0\.targets\.weight\.bits: .*equal to 1, got 0"),
    "too many bits": (lambda d: weight(d).update(bits=17), r"layers\.0\.targets\.weight\.bits: .*to 16, got 17"),
    "bits in words": (lambda d: weight(d).update(bits="4"), r'layers\.0\.targets\.weight\.bits: .*integer, got "4"'),
    "bits that are true": (lambda d: weight(d).update(bits=True), r"layers\.0\.targets\.weight\.bits: .*, got true"),
    "bits unsaid": (lambda d: weight(d).pop("bits"), r"layers\.0\.targets\.weight: it must have 'bits'"),
    "a sign in words": (lambda d: weight(d).update(signed="no"), r'targets\.weight\.signed: .*boolean, got "no"'),
    "an unknown granularity": (
        lambda d: weight(d).update(granularity="group"),
        r"targets\.weight\.granularity: .*'tensor' or 'channel', got \"group\"",
    ),
    "an unknown target": (
        lambda d: d["layers"][0]["targets"].update(bias={"bits": 4}),
        r"layers\.0\.targets\.bias: .*'weight', 'activation' or 'gradient'",
    ),
    "a target that is a number": (
        lambda d: d["layers"][0]["targets"].update(weight=4),
        r"layers\.0\.targets\.weight: .*object, got 4",
    ),
    "a fingerprint that is none": (
        lambda d: d["model"].update(fingerprint="LeNet"),
        r'model\.fingerprint: .*pattern.*, got "LeNet"',
    ),
    "no model": (lambda d: d.update(model=None), r"model: .*object, got null"),
    "a limit below zero": (lambda d: d["budget"].update(limit=-3), r"budget\.limit: .*equal to 0, got -3"),
    "a limit in words": (lambda d: d["budget"].update(limit="3"), r'budget\.limit: .*number, got "3"'),
    "a budget without its kind": (lambda d: d["budgets"][0].pop("kind"), r"budgets\.0: it must have 'kind'"),
    "half a byte": (lambda d: d["cost"].update(model_size=1.5), r"cost\.model_size: .*integer, got 1\.5"),
    "less than no cost": (lambda d: d["cost"].update(bitops=-1), r"cost\.bitops: .*equal to 0, got -1"),
    "a metric that is a list": (lambda d: d["metrics"].update(a=[1]), r"metrics\.a: .*number, got \[1\]"),
    "provenance that is text": (lambda d: d.update(provenance="mine"), r'provenance: .*object, got "mine"'),
}  # fmt: skip


def weight(made: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = made["layers"][0]["targets"]["weight"]
    return found


class TestRefused:
    @pytest.mark.parametrize("name", BROKEN)
    def test_by_the_schema_and_by_the_reader(self, name, tmp_path):
        change, said = BROKEN[name]
        made, path = document(), tmp_path / "broken.json"
        change(made)
        assert not VALID.is_valid(made)
        path.write_text(json.dumps(made))
        with pytest.raises(AllocationError, match=said) as caught:
            Allocation.from_json(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: ") and "\n" not in message and len(message) < 300 + len(str(path))

    @pytest.mark.parametrize("text", ["[]", "3", '"precsearch-allocation"', "null"])
    def test_what_is_no_object(self, text, tmp_path):
        assert not VALID.is_valid(json.loads(text))
        (tmp_path / "broken.json").write_text(text)
        with pytest.raises(AllocationError, match=r"broken\.json: not an allocation: expected format"):
            Allocation.from_json(tmp_path / "broken.json")

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda d: d["layers"][1].update(name="0"), r"layers\.1\.name: each layer is named once, but '0' comes"),
            (lambda d: d["layers"][2].update(tied_to="9"), r"layers\.2\.tied_to: .*'9' is none of them"),
            (lambda d: d["layers"][0].update(tied_to="5"), r"layers\.0\.tied_to: .*a layer before it, but '5'"),
            (lambda d: d["cost"].update(bitops=1e3), r"cost\.bitops: .*integer, got 1000\.0"),
        ],
    )
    def test_what_only_the_reader_sees(self, change, said):
        """The comment of the schema tells of it."""
        made = document()
        change(made)
        assert VALID.is_valid(made)
        with pytest.raises(AllocationError, match=said):
            Allocation.from_json(json.dumps(made))

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ("NaN", "numbers must be finite, but it has NaN"),
            ("-Infinity", "numbers must be finite, but it has -Infinity"),
            ("1e999", "numbers must be finite"),
            ("9" * 5000, "this JSON cannot be read"),
            ("[" * 100_000, "this JSON cannot be read"),
            ("1 2", r"broken\.json:\d+:\d+: not valid JSON"),
        ],
    )
    def test_what_is_no_number(self, given, said, tmp_path):
        made = document()
        made["metrics"] = {"loss": "HERE"}
        (tmp_path / "broken.json").write_text(json.dumps(made).replace('"HERE"', given))
        with pytest.raises(AllocationError, match=said):
            Allocation.from_json(tmp_path / "broken.json")


def places(made: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    for key in made if isinstance(made, dict) else range(len(made)) if isinstance(made, list) else ():
        yield from places(made[key], (*path, key))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 40) | st.floats(-3, 40) | st.text("ab0 é", max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["bits", "weight", "x"]), inner),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(places(document()), key=str)), JSON, st.sampled_from(["set", "drop", "add"]))
def test_schema_and_reader_say_the_same(path: tuple[Any, ...], value: Any, how: str) -> None:
    made = document()
    inside = made
    for key in path[:-1]:
        inside = inside[key]
    if how == "drop":
        del inside[path[-1]]
    elif how == "add" and isinstance(inside, dict):
        inside[f"{path[-1]}x"] = value
    else:
        inside[path[-1]] = value
    try:
        Allocation.from_json(json.dumps(made))
        read = True
    except AllocationError as error:
        read = False
        if VALID.is_valid(made):
            whole = any(isinstance(each, float) and each.is_integer() for each in leaves(made))
            assert whole or "named once" in str(error) or "tied to" in str(error), error
            return
    assert VALID.is_valid(made) == read


def leaves(made: Any) -> Iterator[Any]:
    for each in made.values() if isinstance(made, dict) else made if isinstance(made, list) else ():
        yield from leaves(each)
    if not isinstance(made, dict | list):
        yield made


def written(run: Path) -> Iterator[tuple[str, Any]]:
    """Every allocation in the files of a run directory: by itself, and inside of others."""
    for path in sorted(run.rglob("*.json")):
        for where, found in inside(json.loads(path.read_text())):
            yield f"{path.relative_to(run)}{where}", found


def inside(made: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(made, dict) and made.get("format") == "precsearch-allocation":
        yield where, made
    for key in made if isinstance(made, dict) else range(len(made)) if isinstance(made, list) else ():
        yield from inside(made[key], f"{where}/{key}")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    made = {name: trained(folder, name) for name in SPACES}
    for name, make in (("made run", make_run), ("made compare", make_compare), ("made grid", make_grid)):
        make(folder / name)
        made[name] = folder / name
    return made


class TestWritten:
    @pytest.mark.parametrize("name", [*SPACES, "made run", "made compare", "made grid"])
    def test_by_a_run(self, runs, name):
        found = dict(written(runs[name]))
        assert any(where.endswith("allocation.json") for where in found)
        for where, made in found.items():
            assert VALID.is_valid(made), where
            Allocation.from_json(json.dumps(made))

    def test_where_they_are(self, runs):
        """The search is over all there is: what was forgotten would be found by nobody."""
        search = ["baselines/0000-uniform/allocation.json", "best.json", "trials/0000/allocation.json"]
        assert sorted(where for where, _ in written(runs["search"])) == search
        assert {where for where, _ in written(runs["range"])} >= {"trials/0000/front.json/allocation"}
        assert sum("trainings/" in where for where, _ in written(runs["compare"])) == 4

    def test_answers_of_a_range(self, runs):
        front = BudgetFront.read(runs["range"] / "trials" / "0000" / "front.json")
        for limit in (2.0, 2.5, 3.25, 6.0):
            VALID.validate(json.loads(front.at(limit).to_json()))

    def test_by_export(self, runs, capsys):
        capsys.readouterr()
        for arguments in ([], ["--json"]):
            with pytest.raises(SystemExit):
                main(["export", str(runs["search"]), *arguments])
            made = json.loads(capsys.readouterr().out)
            VALID.validate(made["allocation"] if arguments else made)

    def test_of_before(self):
        VALID.validate(json.loads(STORED.read_text()))
