"""A trial whose budget has a range: what it leaves behind answers any budget, and a fine-tune starts from it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from real_trials import TINY, Interrupted, Recorder, experiment, train

from precsearch import Allocation, BudgetError, ConfigurationError
from precsearch.errors import RunDirectoryError
from precsearch.experiment.loading import load_experiment_text, with_overrides
from precsearch.exports import export
from precsearch.precision.front import BudgetFront
from precsearch.results import RunDirectory, TrialRecord
from precsearch.trial import run_trial

RANGE = "inner.budget={kind: average_bits, range: [2.0, 6.0]}"


def run(folder: Path, *overrides: str) -> RunDirectory:
    """A run directory with one trial, as a study leaves it."""
    made = RunDirectory(folder)
    result = train(made.trial(0), *overrides)
    made.experiment.write_text(TINY.replace("inner:", "inner:\n  budget: {kind: average_bits, range: [2.0, 6.0]}")
                               if overrides else TINY)  # fmt: skip
    made.write_record(made.trial(0), TrialRecord(number=0, state="complete", seed=1, metrics=result.metrics, limit=4.0))
    return made


@pytest.fixture(scope="module")
def ranged(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    made = run(tmp_path_factory.mktemp("whole") / "run", RANGE)
    copy = tmp_path_factory.mktemp("copy") / "run"
    shutil.copytree(made.path, copy)
    shutil.rmtree(made.path)
    return RunDirectory(copy)


@pytest.mark.parametrize("budget", [2.0, 2.75, 3.0, 3.1416, 6.0])
@pytest.mark.parametrize("trial", [None, 0])
def test_any_budget_is_exported(ranged: RunDirectory, budget: float, trial: int | None) -> None:
    exported = export(ranged, budget=budget, trial=trial)
    found, text = exported.allocation, exported.text
    assert found == Allocation.from_json(text)
    use = found.budget
    assert use is not None
    assert use.limit == budget
    assert max(use.by_target.values()) == use.achieved <= budget
    assert found.provenance["seed"] == 1
    for target, spent in use.by_target.items():
        sizes = [layer.numel if target == "weight" else layer.inputs for layer in found.layers]
        bits = [layer.bits(target) or 0 for layer in found.layers]
        assert sum(b * n for b, n in zip(bits, sizes, strict=True)) / sum(sizes) == pytest.approx(spent)
        assert found.cost.average_bits[target] == pytest.approx(spent)


def test_more_budget_spends_no_less(ranged: RunDirectory) -> None:
    front = BudgetFront.read(ranged.trial(0) / "front.json")
    spent = [front.at(limit / 20).cost.bitops for limit in range(40, 121)]
    assert spent[0] < spent[-1]
    assert front.at(front.allocation.budget.limit).layers == front.allocation.layers  # type: ignore[union-attr]


def test_outside_of_the_range(ranged: RunDirectory) -> None:
    with pytest.raises(BudgetError, match="within the range 2 to 6"):
        export(ranged, budget=1.5)


def test_a_run_without_a_range(tmp_path: Path) -> None:
    made = run(tmp_path / "run")
    assert not (made.trial(0) / "front.json").exists()
    assert export(made, budget=4.0).allocation.budget.limit == 3.0  # type: ignore[union-attr]
    with pytest.raises(ConfigurationError, match=r"searched under one limit.*inner\.budget\.range"):
        export(made, budget=4.0, trial=0)


@pytest.mark.parametrize(("text", "says"), [("{", "cannot read"), ("[]", "cannot read"),
                                            ('{"format": "precsearch-front", "version": 9}', "version 9")])  # fmt: skip
def test_fronts_that_cannot_be_read(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "front.json").write_text(text)
    with pytest.raises(RunDirectoryError, match=says):
        BudgetFront.read(tmp_path / "front.json")


def test_reading_needs_no_torch(ranged: RunDirectory) -> None:
    code = (
        "import sys; from precsearch.exports import export; from precsearch.results import RunDirectory; "
        f"export(RunDirectory({str(ranged.path)!r}), budget=3.0); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_short_fine_tune_starts_from_it(ranged: RunDirectory, tmp_path: Path) -> None:
    allocation = export(ranged, budget=2.75, output=tmp_path / "at.json").allocation
    overrides = (
        "inner.sampler=fixed",
        f"inner.allocation={tmp_path / 'at.json'}",
        "inner.budget.range=null",
        "inner.budget.limit=2.75",
        f"model.checkpoint={ranged.trial(0) / 'search_weights.safetensors'}",
        "inner.epochs={warmup: 0, search: 0, finetune: 2}",
    )
    document = with_overrides(load_experiment_text(ranged.experiment.read_text()), overrides)
    with pytest.warns(match="quantized network of precsearch"):
        result = run_trial(document, Recorder(tmp_path / "tuned"))
    assert result.allocation.bits() == allocation.bits()
    assert result.allocation.bits("activation") == allocation.bits("activation")
    assert not (tmp_path / "tuned" / "front.json").exists()


def test_the_range_must_stay_while_a_trial_trains(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        run_trial(experiment(RANGE), Recorder(tmp_path, die_after=[2]))
    with pytest.raises(ConfigurationError, match=r"`inner\.budget\.range`"):
        run_trial(experiment("inner.budget={kind: average_bits, limit: 4.0, range: [2.0, 5.0]}"), Recorder(tmp_path))
    run_trial(experiment("inner.budget={kind: average_bits, limit: 3.0, range: [2.0, 6.0]}"), Recorder(tmp_path))
    ended: Any = json.loads((tmp_path / "allocation.json").read_text())
    assert ended["budget"]["limit"] == 3.0
