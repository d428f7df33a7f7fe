"""The search spaces of the two papers: what they ask for, the variants that their first lines offer, and small runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from made_images import make_folder

from precsearch.experiment import Experiment, bundled, load_experiment
from precsearch.experiment.cells import arms_of, cells_of
from precsearch.results import RunDirectory

PAPERS = ["lacey_mnist", "lacey_cifar", "lacey_imagenet", "sung_mlp", "sung_cnn"]
DIGITS = ("data={name: digits, validation: 300, train_limit: 200, batch_size: 50}", "executor={name: inprocess}")
Call = Callable[..., tuple[int, str, str]]


def variants(name: str) -> list[list[str]]:
    """The changes that the lines of the header offer, each paragraph by itself."""
    header = bundled(name).read_text().split("\n\n")[0]
    found, last = [], ""
    for line in header.splitlines():
        if re.match(r"#   --set", line):
            if not last.startswith("#   --set"):
                found.append([])
            words = shlex.split(line.removeprefix("#"))
            found[-1] += [word for word in words if word != "--set"]
        last = line
    return found


def arms(experiment: Experiment) -> set[str]:
    return {arm.arm for arm in arms_of(experiment)}


@pytest.mark.parametrize("name", PAPERS)
def test_every_variant_of_the_header_is_an_experiment(name: str) -> None:
    whole = load_experiment(bundled(name))
    assert variants(name)
    for changes in variants(name):
        changed = load_experiment(bundled(name), changes)
        assert changed.kind == whole.kind and changed != whole
        assert arms(changed) == arms(whole)


def test_what_is_compared_after_lacey() -> None:
    for name, seeds, cells in (("lacey_mnist", 30, 2), ("lacey_cifar", 10, 2), ("lacey_imagenet", 3, 2)):
        experiment = load_experiment(bundled(name))
        assert experiment.compare is not None
        assert experiment.compare.seeds == seeds and len(cells_of(experiment)) == cells
        assert arms(experiment) >= {"float", "uniform", "random", "learned", "stochastic"}
        assert (experiment.inner.quantizer, experiment.inner.budget.kind) == ("dorefa", "layer_bits")


def test_what_grows_after_sung() -> None:
    for name, seeds, cells in (("sung_mlp", 5, 18), ("sung_cnn", 3, 4)):
        experiment = load_experiment(bundled(name))
        assert experiment.grid is not None
        assert experiment.grid.seeds == seeds and len(cells_of(experiment)) == cells
        assert arms(experiment) == {"float", "continued", "direct", "retrained"}
        assert experiment.grid.bits == (2, 3, 4) and experiment.inner.quantizer == "symmetric"
        continued = experiment.grid.retrain["inner.epochs.finetune"]
        assert continued > 0 and cells_of(experiment)[0].keys() <= {"model.width", "model.depth"}


def ran(call: Call, name: str, folder: Path, *changes: str) -> set[str]:
    """Run a bundled space with changes -> the labels of its trainings, all of which completed."""
    options = [word for change in changes for word in ("--set", change)]
    status, _, err = call("run", bundled(name), "--output", folder, *options)
    assert status == 0, err
    records = [record for _, record in RunDirectory(folder).trainings()]
    assert {record.state for record in records} == {"complete"}
    assert (folder / "report.html").is_file()
    return {record.label for record in records}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "model"), [("lacey_mnist", "mlp"), ("lacey_cifar", "convnet")])
def test_lacey_small(tmp_path: Path, call: Call, name: str, model: str) -> None:
    labels = ran(
        call, name, tmp_path / "run", *DIGITS, f"model={{name: {model}}}", "compare.seeds=2", "compare.tune.seeds=1",
        "inner.epochs={warmup: 1, search: 2, finetune: 1}", "compare.at={inner.budget.limit: [3.0]}",
        "evaluate={images: 20, attacks: [fgsm], epsilons: [0.1]}",
    )  # fmt: skip
    assert labels == arms(load_experiment(bundled(name)))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "model"), [("sung_mlp", "mlp"), ("sung_cnn", "convnet")])
def test_sung_small(tmp_path: Path, call: Call, name: str, model: str) -> None:
    labels = ran(
        call, name, tmp_path / "run", *DIGITS, f"model={{name: {model}}}", "grid.seeds=2",
        "inner.epochs.finetune=2", "grid.retrain={inner.epochs.finetune: 2}", "grid.bits=[2, 3]",
        "grid.axes={model.width: [0.25, 0.5]}", "grid.layers_at={model.width: 0.25}",
    )  # fmt: skip
    assert {"float", "continued", "direct-2", "retrained-3", "retrained-2-fc1"} <= labels


@pytest.mark.slow
def test_lacey_imagenet_on_a_small_folder(tmp_path: Path, call: Call) -> None:
    root = make_folder(tmp_path / "images", count=6, size=(80, 72), parts=("train", "val"), ending="JPEG")
    labels = ran(
        call, "lacey_imagenet", tmp_path / "run", f"data.root={root}", "data.image_size=64", "data.validation=6",
        "data.workers=1", "data.batch_size=12", "model.weights=null", "executor={name: inprocess}",
        "inner.epochs={warmup: 0, search: 1, finetune: 1}", "compare.seeds=1", "compare.at={model.name: [resnet18]}",
    )  # fmt: skip
    assert labels == {"float", "uniform", "random", "learned", "stochastic"}
