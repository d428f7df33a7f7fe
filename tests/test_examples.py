from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import optuna
import pytest
from safetensors.torch import load_file

import precsearch

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
needs_lightning = pytest.mark.skipif(find_spec("lightning") is None, reason="lightning comes with the `dev` extra")


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


@needs_lightning
def test_lightning_keeps_the_budget_and_fine_tunes() -> None:
    printed = run("-W", "error", "examples/lightning_module.py")
    assert re.findall(r"^(conv1|conv2|out) +\d+ +\d+$", printed, re.MULTILINE) == ["conv1", "conv2", "out"]
    spent, limit, kept = re.findall(r"([\d.]+) of ([\d.]+) allowed: (\w+)", printed)[0]
    assert float(spent) <= float(limit) and kept == "kept"
    assert float(re.findall(r"fine-tuned: ([\d.]+) %", printed)[0]) > 80


@needs_lightning
def test_lightning_resumes_to_the_bit(tmp_path: Path) -> None:
    code = """
import sys; sys.path.insert(0, "examples")
from pathlib import Path
from lightning_module import BitSearch, lightning, torch, train

def trained(epochs, checkpoint=None):
    module = BitSearch()
    trainer = train(module, Path(sys.argv[1]), epochs, checkpoint)
    return trainer, [parameter.detach() for parameter in module.parameters()]

torch.set_num_threads(1)
lightning.seed_everything(0, verbose=False)
_, whole = trained(3)
lightning.seed_everything(0, verbose=False)
stopped, before = trained(1)
stopped.save_checkpoint(sys.argv[1] + "/stopped.ckpt")
_, resumed = trained(3, sys.argv[1] + "/stopped.ckpt")
alike = [all(map(torch.equal, found, whole)) for found in (before, resumed)]
print("alike:", *alike)
"""
    assert "alike: False True" in run("-c", code, tmp_path)


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
