"""The search space of ILSVRC12, end to end on a small folder of the same layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_images import make_folder

from precsearch.cli import main
from precsearch.experiment import bundled, load_experiment


def test_what_the_second_experiment_searches() -> None:
    experiment = load_experiment(bundled("imagenet"))
    assert experiment.space["model.name"].grid("model.name") == ["alexnet", "resnet18"]
    assert experiment.executor.resources.cpu == 1 + (experiment.data.model_extra or {})["workers"]


@pytest.mark.slow
def test_runs_on_a_small_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_folder(tmp_path / "images", size=(80, 72), parts=("train", "val"), ending="JPEG")
    changes = [
        f"data.root={root}", "data.image_size=64", "data.validation=9", "data.workers=1", "data.batch_size=9",
        "model={name: mlp, hidden: [8]}", "space.model.name=null",
        "inner.epochs={warmup: 1, search: 1, finetune: 1}", "study.n_trials=1",
    ]  # fmt: skip
    options = [word for change in changes for word in ("--set", change)]
    arguments = ["run", str(bundled("imagenet")), "--executor", "inprocess", "--output", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--json", *options])
    assert ended.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert [member["trial"] for member in told["front"]] == [0]
    allocation = json.loads((tmp_path / "run" / "trials" / "0000" / "allocation.json").read_text())
    assert allocation["provenance"]["data"] == "imagenet"
    assert allocation["budget"]["achieved"] <= allocation["budget"]["limit"] == 3.0
