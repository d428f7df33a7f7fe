"""Arms really trained: killed for good and continued, started from the weights they should, the same on Ray."""

from __future__ import annotations

import hashlib
import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_trials import Watcher
from ray_trials import leaves_weights
from safetensors.torch import load_file
from test_arms import COMPARE, GRID, left
from test_kill import Driver, after, make_home

from precsearch.experiment.loading import load_experiment_text, with_overrides
from precsearch.results import RunDirectory
from precsearch.study.arms.run import look_at_run, run_arms

pytestmark = pytest.mark.slow

TOLD = """
version: 1
kind: grid
name: told
data: {name: digits, train_limit: 192, batch_size: 32}
model: {name: "told:net"}
inner: {epochs: {warmup: 1, search: 1, finetune: 1}}
grid: {seeds: 2, axes: {inner.optimizer.lr: [1e-3, 1e-2]}, bits: [3], arms: [float, retrained, direct]}
executor: {threads: 1}
"""
REAL = """
version: 1
kind: grid
name: real
data: {name: digits, train_limit: 400}
model: {name: mlp, hidden: [16]}
inner: {targets: [weight], quantizer: symmetric, optimizer: {lr: 1e-2}, epochs: {warmup: 2, search: 2, finetune: 2}}
grid: {seeds: 1, bits: [2, 12], layers: true}
executor: {threads: 1}
"""


def files(run: Path) -> dict[str, Any]:
    """What trainings left, to the byte, without the times they took."""
    found = {name: value for name, value in left(run).items() if not name.startswith(("report", "figures"))}
    measured = {name: json.loads(text) for name, text in found.items() if name.endswith("evaluation.json")}
    return found | {name: told | {"seconds": 0.0} for name, told in measured.items()}


def test_killed_for_good_and_run_again(tmp_path: Path) -> None:
    homes = {}
    for name in ("through", "killed"):
        (tmp_path / name).mkdir()
        homes[name] = make_home(tmp_path / name)
        (homes[name] / "told.yaml").write_text(TOLD)
    command = ["run", "told.yaml", "--output", "run"]
    status, _, err = Driver(homes["through"], *command).end()
    assert status == 0, err
    run = homes["killed"] / "run"
    for folder, epoch in (("0000-float-00", 2), ("0001-float-01", 1), ("0000-retrained-3-00", 2)):
        driver = Driver(homes["killed"], *command)
        driver.until(after(run / "trainings" / folder, epoch))
        assert driver.kill()[0] == -signal.SIGKILL
        assert not (run / "trainings" / folder / "result.json").exists()
    moved = homes["killed"] / "moved"
    run.rename(moved)  # half-trained, with a start whose place is another now
    status, _, err = Driver(homes["killed"], "resume", "moved").end()
    assert status == 0 and "cell 0, retrained-3, seed 0: continued" in err, err
    assert files(moved) == files(homes["through"] / "run")


def test_what_starts_from_a_float_network_has_its_weights(tmp_path: Path) -> None:
    document = load_experiment_text(REAL)
    known = look_at_run(document).trials
    run_arms(document, RunDirectory(tmp_path), Watcher())
    records = {record.label: record for _, record in RunDirectory(tmp_path).trainings()}
    start = tmp_path / "trainings" / "0000-float-00" / "weights.safetensors"
    floats = load_file(start)
    sha = hashlib.sha256(start.read_bytes()).hexdigest()
    for label, record in records.items():
        assert record.state == "complete", record.reason
        allocation = json.loads((tmp_path / "trainings" / f"0000-{label}-00" / "allocation.json").read_text())
        bits = {layer["name"]: layer["targets"]["weight"]["bits"] for layer in allocation["layers"]}
        assert bits == {name: record.bits if record.layer in (None, name) else None for name in ("fc1", "out")}
        if label != "float":
            assert sha.startswith(allocation["provenance"]["weights"]["sha256"])
    for (_, label), trial in known.items():  # what was told before any training is what was measured
        measured = records[label].metrics
        assert trial.costs == {metric: measured[metric] for metric in trial.costs} and "bitops" in trial.costs
    direct = load_file(tmp_path / "trainings" / "0000-direct-2-00" / "weights.safetensors")
    (own,) = [value for name, value in direct.items() if name.startswith("fc1.") and name.endswith("original")]
    assert torch.equal(own, floats["fc1.weight"])
    tested = {label: record.metrics["test_accuracy"] for label, record in records.items()}
    assert tested["direct-12"] == pytest.approx(tested["float"], abs=0.003)
    assert tested["direct-2"] < tested["float"] - 0.02 and tested["retrained-2"] > tested["direct-2"]


@pytest.mark.parametrize("stored", [False, True])
def test_on_ray_it_is_what_it_is_in_process(tmp_path: Path, stored: bool) -> None:
    """Trainings start from weights of others where workers see the run directory, and where they do not."""
    where = [f"executor.storage_path={tmp_path / 'storage'}"] if stored else []
    (tmp_path / "storage").mkdir()
    for kind, text in (("grid", GRID.replace("[2, 3]", "[2]")), ("compare", COMPARE)):
        document = load_experiment_text(text)
        run_arms(document, RunDirectory(tmp_path / kind), Watcher(), leaves_weights)
        ray = with_overrides(document, ["executor.name=ray", "executor.max_concurrent=2", *where])
        run_arms(ray, RunDirectory(tmp_path / f"{kind}-ray"), Watcher(), leaves_weights)
        here, there = left(tmp_path / kind), left(tmp_path / f"{kind}-ray")
        for value in there.values():
            if isinstance(value, dict):
                value["node"] = None
        there = {name: value for name, value in there.items() if name not in {"experiment.yaml", ".run-id"}}
        assert there == {name: value for name, value in here.items() if name != "experiment.yaml"}
    retrained = tmp_path / "grid-ray" / "trainings" / "0001-retrained-2-fc1-01" / "weights.safetensors"
    assert retrained.read_text() == "0001-retrained-2-fc1-01 from 0001-float-01 from nothing"
