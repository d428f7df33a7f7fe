"""What a study's journal and its artifacts show to people, as optuna-dashboard reads them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree

import optuna
import pytest
from fake_trials import Watcher, failing, open_study, run_trial
from fake_trials import experiment as fake_experiment
from made_runs import allocation as made_allocation
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta
from real_trials import experiment

from precsearch.allocation import Allocation
from precsearch.errors import RunDirectoryError
from precsearch.results import RunDirectory
from precsearch.study.artifacts import bits_svg, leave_artifacts
from precsearch.study.driver import run_study


@pytest.mark.parametrize("targets", ["[weight, activation]", "[weight]"])
def test_the_journal_has_the_bits_of_each_trial(tmp_path: Path, targets: str) -> None:
    directory = RunDirectory(tmp_path / "run")
    document = experiment("study.n_trials=2", "study.baselines=[]", f"inner.targets={targets}")
    run_study(document, directory, Watcher())
    trials = open_study(directory).trials
    assert len(trials) == 2
    for trial in trials:
        layers = Allocation.from_json(directory.trial(trial.number) / "allocation.json").layers
        shown = [layer.partition(" ") for layer in trial.user_attrs["bits"].split(", ")]
        bits = {name: [int(number) for number in numbers.split("/")] for name, _, numbers in shown}
        assert bits == {layer.name: [precision.bits for precision in layer.targets.values()] for layer in layers}


@pytest.fixture(scope="module")
def with_artifacts(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    directory = RunDirectory(tmp_path_factory.mktemp("artifacts") / "run")
    document = fake_experiment("n_trials: 3, baselines: [uniform], viewers: [optuna-dashboard]")
    run_study(document, directory, Watcher(), failing(ZeroDivisionError("oops"), 1))
    return directory


def uploaded(directory: RunDirectory, number: int) -> dict[str, bytes]:
    """File name -> what optuna-dashboard serves of it; each once."""
    trial = open_study(directory).trials[number]
    metas = get_all_artifact_meta(trial, storage=open_study(directory)._storage)
    assert len({meta.filename for meta in metas}) == len(metas)
    return {meta.filename: (directory.path / "artifacts" / meta.artifact_id).read_bytes() for meta in metas}


def test_complete_trials_have_their_files(with_artifacts: RunDirectory, tmp_path: Path) -> None:
    moved = RunDirectory(shutil.copytree(with_artifacts.path, tmp_path / "moved"))
    for number in (0, 2):
        files = uploaded(moved, number)
        assert files.keys() == {"allocation.json", "bits.svg"}
        assert files["allocation.json"] == (moved.trial(number) / "allocation.json").read_bytes()
        assert ElementTree.fromstring(files["bits.svg"]).tag.endswith("svg")
    assert uploaded(moved, 1) == {}  # it failed
    assert len(list((moved.path / "artifacts").iterdir())) == 4  # baselines are no trials


def test_none_where_nobody_asks(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    run_study(fake_experiment("n_trials: 1, baselines: []"), directory, Watcher(), run_trial)
    assert uploaded(directory, 0) == {} and not (directory.path / "artifacts").exists()


@pytest.mark.parametrize("writes", [0, 1, 2, 3])
def test_a_driver_killed_while_it_uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    """Before the first file, between the two, half-way through each: the next driver uploads once."""

    class Killed(BaseException):
        pass

    left, write = writes, FileSystemArtifactStore.write

    def burning(self: FileSystemArtifactStore, name: str, content: BinaryIO) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            write(self, name, content)
        if left <= 0:
            raise Killed

    directory = RunDirectory(tmp_path / "run")
    document = fake_experiment("n_trials: 2, baselines: [], viewers: [optuna-dashboard]")
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(FileSystemArtifactStore, "write", burning)
        run_study(document, directory, Watcher(), run_trial)
    run_study(document, directory, Watcher(), run_trial)
    for number in (0, 1):
        found = uploaded(directory, number)
        assert found.keys() == {"allocation.json", "bits.svg"} and all(found.values())
        assert found["allocation.json"] == (directory.trial(number) / "allocation.json").read_bytes()
    assert len(list((directory.path / "artifacts").iterdir())) == 4


def test_the_picture_has_a_bar_for_each_target_as_long_as_its_bits() -> None:
    found = made_allocation([(3, 4), (None, 2), (8, 2)])
    layers = (found.layers[0].model_copy(update={"name": "a<b>&" + "c" * 60}), *found.layers[1:])
    drawn = ElementTree.fromstring(bits_svg(found.model_copy(update={"layers": layers})))
    bars = [each for each in drawn.iter("{http://www.w3.org/2000/svg}rect") if each.attrib["height"] != "10"]
    widths = [float(bar.attrib["width"]) for bar in bars]
    assert widths == [24.0 * (bits or 0) for bits in (3, 4, None, 2, 8, 2)]
    edges = [float(bar.attrib["x"]) + width for bar, width in zip(bars, widths, strict=True)]
    assert max(edges) < float(drawn.attrib["width"])
    words = [each.text for each in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert words[:2] == ["weight bits", "activation bits"] and "float" in words and "fc2" in words


def test_a_place_that_cannot_be_written_is_one_message(with_artifacts: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "artifacts").write_text("a file")
    trial = optuna.create_study().ask()
    with pytest.raises(RunDirectoryError, match=r"cannot write .*artifacts"):
        leave_artifacts(trial, tmp_path / "run", with_artifacts.trial(0))
