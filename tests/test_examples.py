from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from safetensors.torch import load_file

import precsearch

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent


def run(*arguments: str | Path) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_own_model_keeps_its_accuracy_through_saving() -> None:
    printed = run("-W", "error", "examples/own_model.py")
    assert re.findall(r"^(conv1|conv2|out) +\d+ +\d+$", printed, re.MULTILINE) == ["conv1", "conv2", "out"]
    saved, loaded = re.findall(r"^(?:fine-tuned|loaded): +([\d.]+) %", printed, re.MULTILINE)
    assert saved == loaded
    assert float(saved) > 80
    spent, limit = re.findall(r"([\d.]+) of ([\d.]+) allowed", printed)[0]
    assert float(spent) <= float(limit)


def test_own_model_is_searched_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = run(
        "-m", "precsearch", "run", "examples/own_model.yaml", "--trials", "2", "--output", tmp_path / "run", "--json"
    )
    member = json.loads(printed)["front"][0]

    monkeypatch.syspath_prepend(str(ROOT))
    from examples.nets import build, digits  # type: ignore[import-not-found]

    allocation = precsearch.Allocation.model_validate(member["allocation"])
    assert allocation.bits("weight")["out"] == 8
    assert allocation.cost.model_size <= member["limit"]
    width = int(member["params"]["model.width"])
    model = precsearch.apply_allocation(build((1, 8, 8), 10, width), allocation)
    model.load_state_dict(load_file(tmp_path / "run" / "trials" / f"{member['trial']:04d}" / "weights.safetensors"))
    inputs, targets = digits()[1]
    right = (model.eval()(inputs).argmax(1) == targets).float().mean()
    assert float(right) == pytest.approx(member["metrics"]["test_accuracy"])


def test_an_existing_optuna_study_finds_and_keeps_an_allocation(tmp_path: Path) -> None:
    printed = run("-W", "error", "examples/existing_optuna_study.py", tmp_path)
    study = optuna.load_study(study_name="digits", storage=f"sqlite:///{tmp_path / 'study.db'}")
    states = [trial.state.name.lower() for trial in study.trials]
    assert len(states) == 8 and set(states) <= {"complete", "pruned"}
    best = study.best_trial
    assert f"best: trial {best.number}, {100 * study.best_value:.2f} %" in printed
    assert set(best.params) == {"width", "bits.inner.budget.limit", "bits.inner.regularization.strength"}
    folder = Path(printed.split("its allocation and weights: ")[1].strip())
    allocation = precsearch.Allocation.from_json(folder / "allocation.json")
    assert allocation == precsearch.OptunaObjective.allocation(best)
    assert allocation.cost.bitops <= 90000
    weights = load_file(folder / "weights.safetensors")
    assert weights["fc1.parametrizations.weight.original"].shape[0] == best.params["width"]


def test_an_existing_tuner_prints_the_best_bits() -> None:
    printed = run("examples/existing_tuner_asha.py")
    trials, ended = map(int, re.findall(r"^(\d+) trials, (\d+) of them to the end$", printed, re.MULTILINE)[0])
    assert trials == 8
    assert 0 < ended < trials
    assert float(re.findall(r"validation accuracy: ([\d.]+) %", printed)[0]) > 80
    spent, limit = map(float, re.findall(r"budget: ([\d.]+) of ([\d.]+) bits", printed)[0])
    assert spent <= limit
    assert re.findall(r"^(fc1|fc2|fc3|out) +\d+ +\d+$", printed, re.MULTILINE) == ["fc1", "fc2", "fc3", "out"]
