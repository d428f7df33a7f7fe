"""The search space of ILSVRC12, end to end on a small folder of the same layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_images import make_folder

from precsearch.cli import main
from precsearch.experiment import bundled, load_experiment
from precsearch.torchvision_import import import_torchvision


def test_what_the_second_experiment_searches() -> None:
    experiment = load_experiment(bundled("imagenet"))
    assert experiment.space["model.name"].grid("model.name") == ["alexnet", "resnet18"]
    assert experiment.executor.resources.cpu == 1 + (experiment.data.model_extra or {})["workers"]
    models = import_torchvision().models
    for name in ("alexnet", "resnet18"):  # the trained weights that it starts from exist, and see what its images are
        weights = models.get_model_weights(name)[(experiment.model.model_extra or {})["weights"]]
        assert weights.transforms().crop_size == [(experiment.data.model_extra or {})["image_size"]]


def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], *changes: str) -> tuple[dict[str, Any], list[Any]]:
    """The bundled space on small pictures, from random weights, one epoch of each phase; with its allocations."""
    root = make_folder(tmp_path / "images", count=6, size=(80, 72), parts=("train", "val"), ending="JPEG")
    changes = (
        f"data.root={root}", "data.image_size=64", "data.validation=6", "data.workers=1", "data.batch_size=12",
        "model.weights=null", "inner.epochs={warmup: 1, search: 1, finetune: 1}", *changes,
    )  # fmt: skip
    options = [word for change in changes for word in ("--set", change)]
    arguments = ["run", str(bundled("imagenet")), "--executor", "inprocess", "--output", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--json", *options])
    assert ended.value.code == 0
    trials = sorted((tmp_path / "run" / "trials").iterdir())
    return json.loads(capsys.readouterr().out), [json.loads((t / "allocation.json").read_text()) for t in trials]


@pytest.mark.slow
def test_resnet18_on_a_small_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told, (allocation,) = run(tmp_path, capsys, "space.model.name=null", "study.enqueue=[]", "study.n_trials=1",
                              "space.inner.budget.limit=null")  # fmt: skip
    assert [member["trial"] for member in told["front"]] == [0]
    assert allocation["model"]["name"] == "ResNet" and len(allocation["layers"]) == 21
    assert allocation["provenance"]["data"] == "imagenet"
    assert allocation["budget"]["achieved"] <= allocation["budget"]["limit"] == 3.0


@pytest.mark.slow
def test_both_networks_of_the_paper(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The points that the space tries first: each network with three bits a layer."""
    told, allocations = run(tmp_path, capsys, "study.n_trials=2", "inner.epochs.warmup=0")
    assert [(a["model"]["name"], len(a["layers"])) for a in allocations] == [("ResNet", 21), ("AlexNet", 8)]
    for allocation in allocations:
        assert allocation["budget"]["achieved"] <= allocation["budget"]["limit"] == 3.0
        assert allocation["cost"]["bitops"] > 0
    assert {member["trial"] for member in told["front"]} <= {0, 1}
