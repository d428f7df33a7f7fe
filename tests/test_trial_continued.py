"""A trial that continues from a checkpoint with other settings, as population-based training makes it do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from real_trials import Interrupted, Recorder, experiment, left, train

import precsearch
from precsearch import trial
from precsearch.errors import BudgetError, ConfigurationError
from precsearch.training.stages import Stage
from precsearch.trial import run_trial

# what a limit that nothing reaches is told is tested in test_diagnosis.py
pytestmark = pytest.mark.filterwarnings("ignore:the budget .* binds nowhere")

SGD = "inner.optimizer={name: sgd, lr: 0.05, weight_decay: 1e-4}"
COSTS = {"average_bits", "average_bits_weight", "average_bits_activation", "model_size", "bitops"}


def cut(directory: Path, epoch: int, *overrides: str) -> Path:
    with pytest.raises(Interrupted):
        run_trial(experiment(*overrides), Recorder(directory, die_after=[epoch]))
    return directory


@pytest.fixture
def lrs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The optimizer's settings at every step of the weights."""
    seen: list[dict[str, Any]] = []
    step = Stage.step

    def watched(self: Stage, loss: torch.Tensor) -> float:
        group = {key: value for key, value in self.optimizer.param_groups[0].items() if key != "params"}
        logits = getattr(self, "logits_optimizer", None)
        seen.append(group | {"logits": logits.param_groups[0]["lr"] if logits is not None else None})
        return step(self, loss)

    monkeypatch.setattr(Stage, "step", watched)
    return seen


@pytest.mark.parametrize("epoch", [2, 4])
@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_a_mutated_learning_rate_takes_effect(tmp_path: Path, lrs: list[dict[str, Any]], epoch: int, name: str) -> None:
    before, after = (f"inner.optimizer={{name: {name}, lr: {lr}}}" for lr in (0.01, 0.002))
    train(tmp_path / "through", after)
    expected = lrs[:]
    cut(tmp_path / "cut", epoch, before)
    lrs.clear()
    run_trial(experiment(after), Recorder(tmp_path / "cut"))
    rest = expected[-len(lrs) :]
    assert len(lrs) == len(expected) * (5 - epoch) / 5
    assert [group["lr"] for group in lrs] == pytest.approx([group["lr"] for group in rest], rel=1e-9)
    assert all(group["initial_lr"] == rest[0]["initial_lr"] for group in lrs[: len(lrs) // (5 - epoch)])


def test_every_optimizer_setting_takes_effect(tmp_path: Path, lrs: list[dict[str, Any]]) -> None:
    cut(tmp_path, 2, "inner.optimizer={name: sgd, lr: 0.05, momentum: 0}")
    lrs.clear()
    changed = "inner.optimizer={name: sgd, lr: 0.05, momentum: 0.5, weight_decay: 0.01}"
    run_trial(experiment(changed, "inner.logits.lr=0.3"), Recorder(tmp_path))
    assert all((g["momentum"], g["nesterov"], g["weight_decay"]) == (0.5, True, 0.01) for g in lrs)
    assert lrs[0]["logits"] == pytest.approx(0.3 / 0.1)


def test_a_mutated_fine_tune(tmp_path: Path, lrs: list[dict[str, Any]]) -> None:
    cut(tmp_path, 4, SGD)
    lrs.clear()
    run_trial(experiment(SGD, "inner.optimizer.finetune_lr=0.5"), Recorder(tmp_path))
    assert lrs[0]["initial_lr"] == 0.5
    assert lrs[0]["lr"] == pytest.approx(0.25)  # half of its cosine is done


@pytest.mark.parametrize("sampler", ["perturb-and-map", "multinomial", "gumbel-softmax"])
@pytest.mark.parametrize("limit", [2.5, 6.0])
@pytest.mark.parametrize("epoch", [1, 3])
def test_a_mutated_limit_in_the_search_is_kept(tmp_path: Path, sampler: str, limit: float, epoch: int) -> None:
    cut(tmp_path, epoch, f"inner.sampler={sampler}", "inner.budget.limit=4.0")
    found = run_trial(experiment(f"inner.sampler={sampler}", f"inner.budget.limit={limit}"), Recorder(tmp_path))
    use = found.allocation.budget
    assert use is not None
    assert use.limit == limit
    assert max(use.by_target.values()) <= limit
    assert use.by_target == found.allocation.cost.average_bits  # what it says it spends is what it spends
    assert max(use.by_target.values()) > 4.0 or limit < 4.0


def test_a_raised_limit_in_the_fine_tune_is_kept_by_the_same_allocation(tmp_path: Path) -> None:
    through = train(tmp_path / "through").allocation
    cut(tmp_path / "cut", 4)
    found = run_trial(experiment("inner.budget.limit={weight: 5.0, activation: 3.5}"), Recorder(tmp_path / "cut"))
    assert found.allocation.layers == through.layers
    assert through.budget is not None
    assert found.allocation.budget == through.budget.model_copy(
        update={"limit": {"weight": 5.0, "activation": 3.5}, "achieved": through.budget.by_target}
    )
    assert precsearch.Allocation.from_json(tmp_path / "cut" / "allocation.json") == found.allocation


@pytest.mark.parametrize(
    ("kind", "limit", "lower"), [("average_bits", 4.0, 2.5), ("model_size", 900, 600), ("bitops", 20000, 8000)]
)
def test_a_limit_lowered_in_the_fine_tune_is_refused(tmp_path: Path, kind: str, limit: float, lower: float) -> None:
    targets = "inner.targets=[weight]" if kind == "model_size" else "inner.targets=[weight, activation]"
    cut(tmp_path, 4, targets, f"inner.budget={{kind: {kind}, limit: {limit}}}")
    with pytest.raises(BudgetError, match=r"must not fall below what the allocation spends.*finetune: 0"):
        run_trial(experiment(targets, f"inner.budget={{kind: {kind}, limit: {lower}}}"), Recorder(tmp_path))


def test_the_limit_of_a_further_budget_follows_in_the_fine_tune(tmp_path: Path) -> None:
    def named(limit: float) -> str:
        return f"inner.budgets={{flash: {{kind: layer_bits, limit: {limit}}}}}"

    cut(tmp_path, 4, named(4.0), "inner.budget.limit=8")
    with pytest.raises(
        BudgetError, match=r"`inner\.budgets\.flash\.limit` must not fall below what the allocation spends"
    ):
        run_trial(experiment(named(2.0), "inner.budget.limit=8"), Recorder(tmp_path))
    found = run_trial(experiment(named(5.0), "inner.budget.limit=8"), Recorder(tmp_path))
    assert [(use.name, use.limit) for use in found.allocation.budgets] == [(None, 8.0), ("flash", 5.0)]


@pytest.mark.parametrize("sampler", ["uniform", "random"])
def test_an_allocation_made_before_the_first_step_cannot_follow_a_limit(tmp_path: Path, sampler: str) -> None:
    cut(tmp_path, 2, f"inner.sampler={sampler}", "inner.budget.limit=4.0")
    with pytest.raises(ConfigurationError, match=rf"inner\.budget\.limit` must stay .*{sampler}.*was 4\.0 and is 3\.0"):
        run_trial(experiment(f"inner.sampler={sampler}", "inner.budget.limit=3.0"), Recorder(tmp_path))


@pytest.mark.parametrize(
    "override",
    [
        "data.batch_size=32",
        "model.hidden=[12, 11]",
        "model.dropout=0.5",
        "inner.bits=[2, 3, 4, 6]",
        "inner.targets=[weight]",
        "inner.quantizer=symmetric",
        "inner.epochs.search=3",
        "inner.sampler=multinomial",
        "inner.budget.kind=layer_bits",
        "inner.logits.update=alternate",
        "inner.optimizer.name=sgd",
    ],
)
def test_what_a_checkpoint_cannot_follow_is_named(tmp_path: Path, override: str) -> None:
    cut(tmp_path, 2)
    path = override.partition("=")[0].replace(".", r"\.")
    with pytest.raises(ConfigurationError, match=rf"`{path}` it was trained with.*only inner\.optimizer\.lr, .*leave"):
        run_trial(experiment(override), Recorder(tmp_path))


def test_data_that_lies_elsewhere_is_the_same_data(tmp_path: Path) -> None:
    through = left(tmp_path / "through", train(tmp_path / "through"))
    cut(tmp_path / "cut", 2)
    moved = experiment("data.root=elsewhere", "data.download=false")
    assert left(tmp_path / "cut", run_trial(moved, Recorder(tmp_path / "cut"))) == through


def test_a_checkpoint_that_does_not_say_what_trained_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    through = left(tmp_path / "through", train(tmp_path / "through"))
    monkeypatch.setattr(trial, "trained_with", lambda experiment: None)
    cut(tmp_path / "cut", 2)
    assert left(tmp_path / "cut", run_trial(experiment(), Recorder(tmp_path / "cut"))) == through


def test_every_epoch_tells_the_costs(tmp_path: Path) -> None:
    result = train(tmp_path)
    lines = [json.loads(line)["metrics"] for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    assert all(line.keys() >= COSTS for line in lines)
    assert {name: lines[-1][name] for name in COSTS} == {name: result.metrics[name] for name in COSTS}
