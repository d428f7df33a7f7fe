"""The float32 arm: the same steps on the same batches, and nothing rounded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fake_trials import Watcher, finish, run_trial
from fake_trials import experiment as fake_experiment
from real_trials import Interrupted, Recorder, experiment, left, train
from safetensors.torch import load_file
from torch import nn

from precsearch import apply_allocation
from precsearch.allocation import Allocation
from precsearch.data import load_data
from precsearch.data.batches import Batches
from precsearch.experiment import Experiment
from precsearch.experiment.loading import with_overrides
from precsearch.quantization.base import Quantizer
from precsearch.report.watch import Watch
from precsearch.results import RunDirectory, Session, TrialResult
from precsearch.study.driver import run_study
from precsearch.training.building import build_network
from precsearch.trial import inspect_trial
from precsearch.trial import run_trial as train_trial

FLOAT = "inner.sampler=float"


def test_it_is_plain_training(tmp_path: Path) -> None:
    """Against a loop written out: Adam, one cosine to zero over warm-up and search, another over the fine-tune."""
    train(tmp_path, FLOAT)
    document = experiment(FLOAT)
    data = load_data(document.data)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model, _ = build_network(document, data)
        batches = Batches(data.train, 64, torch.Generator().manual_seed(1))
        for lr, epochs in ((1e-2, 3), (1e-2 / 3, 2)):
            if epochs == 2:
                list(batches.plain())  # statistics are taken anew before the fine-tune
            optimizer = torch.optim.Adam(model.parameters(), lr)
            cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(batches))
            for _ in range(epochs):
                for inputs, targets in batches:
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(inputs), targets).backward()
                    optimizer.step()
                    cosine.step()
    trained = load_file(tmp_path / "weights.safetensors")
    for name, value in model.state_dict().items():
        torch.testing.assert_close(trained[name], value)


def test_it_costs_what_float32_costs(tmp_path: Path) -> None:
    found = train(tmp_path, FLOAT).allocation
    assert {bits for layer in found.layers for bits in (layer.bits("weight"), layer.bits("activation"))} == {None}
    elements = sum(numel for numel in (64 * 12 + 12, 12 * 10 + 10, 10 * 10 + 10))
    assert found.cost.model_size == 4 * elements
    assert found.cost.bitops == 32 * 32 * sum(layer.macs for layer in found.layers)
    assert found.cost.average_bits == {"weight": 32, "activation": 32}
    assert found.budget is None and found.budgets == ()
    assert Allocation.from_json(tmp_path / "allocation.json") == found
    model, _ = build_network(experiment(), load_data(experiment().data))
    assert not any(isinstance(module, Quantizer) for module in apply_allocation(model, found).modules())


@pytest.mark.parametrize("epoch", [1, 3, 4])
def test_interrupted_and_resumed_it_is_the_same(tmp_path: Path, epoch: int) -> None:
    through = train(tmp_path / "through" / "0000", FLOAT)
    folder = tmp_path / "again" / "0000"
    with pytest.raises(Interrupted):
        train_trial(experiment(FLOAT), Recorder(folder, die_after=[epoch]))
    resumed = train_trial(experiment(FLOAT), Recorder(folder))
    assert left(folder, resumed) == left(tmp_path / "through" / "0000", through)


def test_no_budget_is_asked_of_it(tmp_path: Path) -> None:
    impossible = experiment(FLOAT, "inner.budget.limit=0.5")
    plan = inspect_trial(impossible)
    assert plan.budgets == () and {t.decided for layer in plan.layers for t in layer.targets.values()} == {"float"}
    assert plan.peaks["fewest"] == plan.peaks["most"]
    ranged = experiment(FLOAT, "inner.budget.range=[2, 4]", "inner.epochs={warmup: 0, search: 1, finetune: 0}")
    train_trial(ranged, Recorder(tmp_path))
    assert not (tmp_path / "front.json").exists()


def test_an_allocation_may_be_given_as_its_json(tmp_path: Path) -> None:
    found = train(tmp_path / "found").allocation
    document = experiment("inner.sampler=fixed", f"inner.allocation={tmp_path / 'found' / 'allocation.json'}")
    inner = document.inner.model_copy(update={"allocation": found.to_json()})
    again = train_trial(document.model_copy(update={"inner": inner}), Recorder(tmp_path / "again")).allocation
    assert [layer.targets for layer in again.layers] == [layer.targets for layer in found.layers]


def test_a_study_trains_one_beside_its_best_trial(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    summary = run_study(fake_experiment("n_trials: 3"), directory, Watcher(), run_trial)
    assert len(summary.front) > 1
    kinds = {(record.number, record.baseline) for record in directory.baselines()}
    assert [number for number, kind in kinds if kind == "float"] == [summary.best]
    assert len(kinds) == 2 * len(summary.front) + 1
    watch = Watch(fake_experiment(), directory)
    watch.front = directory.records()[:2]
    assert watch._baselines() == 5


def test_a_best_trial_that_changes_gets_another(tmp_path: Path) -> None:
    def run(experiment: Experiment, session: Session) -> TrialResult:
        return finish(experiment, session, validation_accuracy=session.seed % 1000 / 1000, bitops=1.0)

    directory = RunDirectory(tmp_path)
    bests = [run_study(fake_experiment(f"n_trials: {count}"), directory, Watcher(), run).best for count in (1, 8)]
    assert bests[0] != bests[1]
    floats = {record.number for record in directory.baselines() if record.baseline == "float"}
    assert floats == set(bests)


def test_a_table_of_costs_does_not_fail_it(tmp_path: Path) -> None:
    """Nobody measures the latency of bits that a layer does not have."""
    table = tmp_path / "table.csv"
    table.write_text("layer,bits,latency\n")
    made = with_overrides(
        fake_experiment("n_trials: 1"),
        [
            f"inner.budgets={{time: {{kind: latency, limit: 9, table: {table}}}}}",
            "study.objectives=[{metric: latency, direction: minimize}]",
        ],
    )

    def run(experiment: Experiment, session: Session) -> TrialResult:
        measured = {} if experiment.inner.sampler == "float" else {"latency": 3.0}
        return finish(experiment, session, **measured)

    directory = RunDirectory(tmp_path / "run")
    run_study(made, directory, Watcher(), run)
    assert {record.baseline: record.state for record in directory.baselines()}["float"] == "complete"
