"""Whole networks on the command line: what is exported from which run, what is refused, and what is left then."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from made_runs import listing
from safetensors.torch import load_file
from torch import Tensor
from trained_runs import SPACES, trained

import precsearch
from precsearch.allocation import Allocation
from precsearch.cli import main
from precsearch.errors import ExportError
from precsearch.exports.formats import FORMATS, WholeFormat
from precsearch.exports.network.network import Network
from precsearch.exports.report import ExportReport, Written
from precsearch.models import build_model

Call = Callable[..., tuple[int, str, str]]
WHOLE = ("packed", "state_dict")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return {name: trained(folder, name) for name in SPACES}


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["export", *map(str, arguments)])
        return int(ended.value.code or 0), *capsys.readouterr()

    return run


def test_every_whole_format_is_tried_here_or_in_a_file_of_its_own() -> None:
    assert set(WHOLE) <= {name for name, how in FORMATS.items() if isinstance(how, WholeFormat)}


class TestExported:
    @pytest.mark.parametrize("name", WHOLE)
    def test_the_best_of_a_search(self, call, runs, tmp_path, name):
        before = listing(runs["search"])
        status, out, err = call(runs["search"], "--format", name, "-o", "net", "--images", 50)
        assert status == 0 and out == ""
        told = " ".join(err.split())
        assert "run again on 50 inputs: outputs within 0.0e+00 of torch's, 100.00 % with the same answer" in told
        assert told.endswith("wrote net") and "(torch " in told and "the allocation promised" in told
        assert list(tmp_path.iterdir()) == [tmp_path / "net"]
        assert listing(runs["search"]) == before

    @pytest.mark.parametrize("name", WHOLE)
    def test_json(self, call, runs, name):
        status, out, err = call(runs["search"], "--format", name, "-o", "deep/er/net", "--images", 20, "--json")
        told = json.loads(out)
        assert status == 0 and err == "" and set(told) == {"format", "output", "allocation", "report"}
        assert told["format"] == name and told["output"] == "deep/er/net"
        report = ExportReport.model_validate(told["report"])
        best = Allocation.from_json(runs["search"] / "best.json")
        assert Allocation.model_validate(told["allocation"]) == best
        assert report.size == Path("deep/er/net").stat().st_size and report.model_size == best.cost.model_size
        assert report.rerun.inputs == 20 and report.rerun.accuracy == report.rerun.torch_accuracy is not None
        assert {(kept.layer, kept.target, kept.bits) for kept in report.written.kept} == {
            (layer.name, target, layer.bits(target)) for layer in best.layers for target in layer.targets
        }

    def test_a_copy_somewhere_else(self, call, runs, tmp_path):
        assert call(runs["search"], "--format", "packed", "-o", "first")[0] == 0
        copied = tmp_path / "else" / "where"
        shutil.copytree(runs["search"], copied)
        assert call(copied, "--format", "packed", "-o", "second")[0] == 0
        assert Path("first").read_bytes() == Path("second").read_bytes()

    def test_the_accuracy_is_the_one_of_the_study(self, runs, tmp_path):
        (member,) = json.loads((runs["search"] / "pareto.json").read_text())["front"]
        exported = precsearch.export(runs["search"], "packed", tmp_path / "net", images=10_000)
        assert exported.report is not None and exported.report.rerun.inputs == 360
        assert exported.report.rerun.accuracy == pytest.approx(member["metrics"]["test_accuracy"], abs=1e-9)

    @pytest.mark.parametrize("name", WHOLE)
    def test_a_training_of_a_compare(self, call, runs, name):
        for training in ("0000-learned-01", "0000-float-00"):
            status, _, err = call(runs["compare"], "--training", training, "--format", name, "-o", training)
            assert status == 0, err
            allocation = Allocation.from_json(runs["compare"] / "trainings" / training / "allocation.json")
            state = state_of(name, training)
            for layer in allocation.layers:
                levels = 2 ** layer.bits() if layer.bits() else layer.numel
                assert 1 < len(state[f"{layer.name}.weight"].unique()) <= levels

    @pytest.mark.parametrize("name", WHOLE)
    def test_a_layer_alone_of_a_grid(self, call, runs, name):
        asked = ("--format", name, "-o", "net", "--images", 30, "--json")
        status, out, err = call(runs["grid"], "--training", "0000-retrained-2-fc1-00", *asked)
        assert status == 0, err
        kept = json.loads(out)["report"]["written"]["kept"]
        assert [(each["layer"], each["bits"]) for each in kept] == [("fc1", 2), ("out", None)]

    def test_a_layer_alone_whose_layers_were_not_copied(self, call, runs, tmp_path):
        copied = shutil.copytree(runs["grid"], tmp_path / "copied")
        (copied / "layers.json").unlink()
        status, _, err = call(copied, "--training", "0000-retrained-2-fc1-00", "--format", "packed", "-o", "net")
        assert status == 1 and "was layers.json copied too?" in err and not Path("net").exists()

    def test_a_trial_by_number(self, call, runs):
        assert call(runs["search"], "--trial", 0, "--format", "packed", "-o", "a")[0] == 0
        assert call(runs["search"], "--format", "packed", "-o", "b")[0] == 0
        assert Path("a").read_bytes() == Path("b").read_bytes()

    def test_the_trial_of_a_range_is_its_own_training(self, call, runs):
        """What it was fine-tuned at; what it answers elsewhere was trained by nobody."""
        assert call(runs["range"], "--trial", 0, "--format", "packed", "-o", "net")[0] == 0


def model_of(name: str) -> torch.nn.Module:
    from precsearch.experiment.loading import load_experiment_text

    experiment = load_experiment_text(SPACES[name])
    return build_model(experiment.model, (1, 8, 8), 10)


def state_of(name: str, path: str) -> dict[str, Tensor]:
    """What an exported file brings a model of the compare."""
    if name != "packed":
        return load_file(path)
    return dict(precsearch.load_packed(model_of("compare"), path).named_parameters())


@dataclass
class Wrong:
    """A format whose file does not run as the network does."""

    name: ClassVar[str] = "wrong"
    tolerance: ClassVar[float] = 1e-6
    returns: Any = None

    def write(self, network: Network, path: Path) -> Written:
        path.write_text("half")
        return Written()

    def read(self, network: Network, path: Path) -> Any:
        return lambda inputs: network.outputs * torch.nan if self.returns is None else self.returns

    def watch(self, network: Network, path: Path) -> None:
        pass


@dataclass
class Unwilling(Wrong):
    name: ClassVar[str] = "unwilling"

    def write(self, network: Network, path: Path) -> Written:
        path.write_text("half")
        raise ExportError("layer 'fc1': this cannot be held")


class Off(Wrong):
    def read(self, network: Network, path: Path) -> Any:
        return lambda inputs: network.outputs * (1 + 1e-3)


class Shaped(Wrong):
    def read(self, network: Network, path: Path) -> Any:
        return lambda inputs: network.outputs[:, :3]


class Full(Wrong):
    def write(self, network: Network, path: Path) -> Written:
        path.write_text("half")
        raise OSError(28, "No space left on device")


class TestRefused:
    @pytest.mark.parametrize("name", WHOLE)
    def test_without_a_file(self, call, runs, name):
        status, out, err = call(runs["search"], "--format", name)
        assert status == 2 and out == ""
        assert one(err) == f"error: format '{name}' is a file of its own; name it with --output (`output=` in Python)"

    @pytest.mark.parametrize(
        ("arguments", "status", "says"),
        [
            (["--format", "onxx", "-o", "net"], 2, ["'onxx'", "packed", "state_dict"]),
            (["--format", "packed", "-o", "net", "--images", "0"], 2, ["--images"]),
            (["--format", "packed", "-o", "net", "--trial", "7"], 2, ["no trial 7", "complete: 0"]),
            (["--format", "packed", "-o", "net", "--training", "0000-x-00"], 2, ["a training of", "'0000-x-00'"]),
            (["--format", "packed", "-o", "file/net"], 1, ["cannot write file/net", "file is a file"]),
            (["--format", "packed", "-o", "folder"], 1, ["cannot write folder"]),
        ],
    )
    def test_what_is_asked_for(self, call, runs, tmp_path, arguments, status, says):
        (tmp_path / "file").write_text("mine")
        (tmp_path / "folder").mkdir()
        before = listing(tmp_path)
        found, out, err = call(runs["search"], *arguments)
        assert found == status and out == "" and all(text in err for text in says), err
        assert listing(tmp_path) == before

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
    def test_a_folder_that_cannot_be_written(self, call, runs, tmp_path):
        (tmp_path / "folder").mkdir(mode=0o500)
        status, _, err = call(runs["search"], "--format", "packed", "-o", "folder/net")
        assert status == 1 and "cannot write folder/net" in one(err)
        assert not list((tmp_path / "folder").iterdir())

    @pytest.mark.parametrize("arguments", [["--trial", "0", "--budget", "4"], ["--budget", "4"]])
    def test_what_a_search_over_a_range_answers(self, call, runs, tmp_path, arguments):
        status, out, err = call(runs["range"], "--format", "packed", "-o", "net", *arguments)
        assert status == 2 and out == "" and not list(tmp_path.iterdir())
        assert "was not trained yet; train it (docs/any-budget.md)" in one(err) and "--format json" in err
        assert call(runs["range"], *arguments)[0] == 0, "its allocation is exported"

    @pytest.mark.parametrize("kind", ["compare", "grid"])
    def test_a_run_of_arms_without_a_name(self, call, runs, tmp_path, kind):
        status, _, err = call(runs[kind], "--format", "packed", "-o", "net")
        assert status == 2 and "name a training with --training" in one(err) and not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("damage", "says"),
        [
            (lambda run: (run / "trials/0000/weights.safetensors").unlink(), "weights.safetensors is missing; copy it"),
            (lambda run: cut(run / "trials/0000/weights.safetensors"), "was the file copied whole?"),
            (
                lambda run: (run / "trials/0000/result.json").unlink(),
                "has no result.json; copy the run directory whole",
            ),
            (lambda run: shutil.rmtree(run / "trials"), "weights.safetensors is missing; copy it"),
            (lambda run: (run / "experiment.yaml").unlink(), "is not a run directory"),
        ],
    )
    def test_a_run_that_was_not_copied_whole(self, call, runs, tmp_path, damage, says):
        copied = tmp_path / "copied"
        shutil.copytree(runs["search"], copied)
        damage(copied)
        before = listing(tmp_path)
        status, out, err = call(copied, "--format", "packed", "-o", "net")
        assert status == 1 and out == "" and says in one(err) and str(copied) in err
        assert listing(tmp_path) == before

    @pytest.mark.parametrize(
        ("how", "says"),
        [
            (Wrong(), "within 1e-06 of its largest output, but differs by nan"),
            (Off(), "but differs by 0.001"),
            (Shaped(), "returns (40, 3) where torch returns (40, 10)"),
            (Unwilling(), "layer 'fc1': this cannot be held"),
            (Full(), "cannot write net: No space left on device"),
        ],
    )
    @pytest.mark.parametrize("there", [None, "an older export"])
    def test_nothing_is_left_of_what_does_not_run(self, call, runs, tmp_path, monkeypatch, how, says, there):
        monkeypatch.setattr(WholeFormat, "load", lambda self: how)
        if there is not None:
            (tmp_path / "net").write_text(there)
        before = listing(tmp_path)
        status, out, err = call(runs["search"], "--format", "packed", "-o", "net", "--images", 40)
        assert status == 1 and out == "" and says in one(err)
        assert listing(tmp_path) == before

    def test_a_failure_says_so_to_programs_too(self, call, runs, tmp_path, monkeypatch):
        monkeypatch.setattr(WholeFormat, "load", lambda self: Off())
        status, out, err = call(runs["search"], "--format", "packed", "-o", "net", "--json")
        told = json.loads(out)
        assert status == told["exit_status"] == 1 and "differs by 0.001" in told["error"]
        assert one(err) == f"error: {told['error']}" and not list(tmp_path.iterdir())


def one(err: str) -> str:
    """The only line of an error."""
    assert err.startswith("error: ") and err.count("\n") == 1, err
    return err.strip()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])
