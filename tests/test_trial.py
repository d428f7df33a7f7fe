"""One trial for real: what it leaves behind, what it keeps, what it refuses."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from real_trials import Recorder, experiment, left, train
from safetensors.torch import load_file

import precsearch
from precsearch.allocation import Allocation, Target
from precsearch.data import load_data
from precsearch.errors import AllocationError, BudgetError, ConfigurationError, DivergedError
from precsearch.evaluation.accuracy import measure
from precsearch.models import build_model
from precsearch.plans import TrialPlan
from precsearch.results import Progress
from precsearch.training import computing
from precsearch.training.stages import Stage
from precsearch.trial import inspect_trial, run_trial

# what a limit that nothing reaches is told is tested in test_diagnosis.py
pytestmark = pytest.mark.filterwarnings("ignore:the budget .* binds nowhere")

SAMPLERS = ("perturb-and-map", "multinomial", "gumbel-softmax", "uniform", "random", "fixed")
NOISY = "model={name: mlp, hidden: [12], batch_norm: true, dropout: 0.2}"
SHORT = "inner.epochs={warmup: 0, search: 1, finetune: 1}"
HALF = "executor.autocast=bfloat16"
UNBOUND = {"average_bits": 16.0, "layer_bits": 16.0, "model_size": 1e9, "bitops": 1e12}
BOTH: tuple[Target, ...] = ("weight", "activation")


def settings(sampler: str) -> list[str]:
    return [f"inner.sampler={sampler}", *(["inner.allocation=[3, 2, 4]"] if sampler == "fixed" else [])]


def spent(value: Any) -> list[float]:
    return list(value.values()) if isinstance(value, dict) else [value]


def test_a_seed_is_a_trial(tmp_path: Path) -> None:
    first, again, other = (
        left(tmp_path / name, train(tmp_path / name, NOISY, seed=seed)) for name, seed in (("a", 7), ("b", 7), ("c", 8))
    )
    assert first == again
    for part in ("metrics", "weights.safetensors", "steps.jsonl"):
        assert first[part] != other[part]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_trains_within_the_budget(tmp_path: Path, sampler: str) -> None:
    session = Recorder(tmp_path)
    document = experiment(*settings(sampler), "inner.budget.limit=3.2")
    result = run_trial(document, session)
    assert [(p.phase, p.epoch, p.step, p.steps) for p in session.told] == [
        ("warmup", 1, 1, 5), ("search", 1, 2, 5), ("search", 2, 3, 5), ("finetune", 1, 4, 5), ("finetune", 2, 5, 5),
    ]  # fmt: skip
    assert session.told[-1].metrics["train_loss"] < session.told[0].metrics["train_loss"]
    use = result.allocation.budget
    assert use is not None and all(value <= 3.2 for value in use.by_target.values())
    assert use.achieved == max(use.by_target.values())
    if sampler == "fixed":
        assert list(result.allocation.bits().values()) == [3, 2, 4]
    lines = (tmp_path / "steps.jsonl").read_text().splitlines()
    assert [Progress.model_validate_json(line) for line in lines] == session.told
    found = {layer.name: {t: layer.bits(t) for t in layer.targets} for layer in result.allocation.layers}
    assert session.told[-1].bits == found


def test_search_moves_logits_and_draws_settle(tmp_path: Path) -> None:
    session = Recorder(tmp_path)
    run_trial(experiment("inner.epochs={warmup: 1, search: 6, finetune: 0}", "inner.logits.lr=0.3"), session)
    entropies = [progress.metrics["entropy"] for progress in session.told]
    assert 0.8 * math.log(4) < entropies[0] < math.log(4) and entropies[-1] < 0.9 * entropies[0]


def test_entropy_regularization_makes_up_minds(tmp_path: Path) -> None:
    last = {}
    for kind, strength in (("none", 0.0), ("entropy", 0.0), ("entropy", 3.0), ("cost", 3.0)):
        session = Recorder(tmp_path / f"{kind}{strength}")
        regularization = f"inner.regularization={{kind: {kind}, strength: {strength}}}"
        run_trial(experiment(regularization, "inner.epochs={warmup: 1, search: 4, finetune: 0}"), session)
        last[kind, strength] = session.told[-1].metrics
    without_time = [last["none", 0.0], last["entropy", 0.0]]
    assert without_time[0] == without_time[1]
    assert last["entropy", 3.0]["entropy"] < last["none", 0.0]["entropy"]
    assert last["cost", 3.0]["entropy"] != last["none", 0.0]["entropy"]


@pytest.mark.parametrize("target_limits", [False, True])
@pytest.mark.parametrize("kind", UNBOUND)
def test_the_budget_is_kept(tmp_path: Path, kind: str, target_limits: bool) -> None:
    targets = "inner.targets=[weight]" if kind == "model_size" else "inner.targets=[activation, weight]"
    (plan,) = inspect_trial(experiment(targets, f"inner.budget={{kind: {kind}, limit: {UNBOUND[kind]}}}")).budgets
    for part in (0.0, 0.3, 0.8):
        limits = {scope: low + part * (plan.dearest[scope] - low) for scope, low in plan.cheapest.items()}
        if target_limits and "all" in limits:
            pytest.skip("couples the targets")
        limit: Any = {**limits, "weight": limits["weight"] + 0.5} if target_limits else max(limits.values())
        document = experiment(targets, SHORT, f"inner.budget={json.dumps({'kind': kind, 'limit': limit})}")
        result = run_trial(document, Recorder(tmp_path / f"{part}"))
        use = result.allocation.budget
        assert use is not None and use.kind == kind and use.limit == limit
        pairs = list(zip(spent(use.achieved), spent(limit), strict=True))
        assert all(plan.cheapest.get("all", 2) <= achieved <= allowed for achieved, allowed in pairs)
        if kind in {"model_size", "bitops"}:
            assert result.metrics[kind] == use.achieved


def test_several_budgets_are_kept_and_measured(tmp_path: Path) -> None:
    table = tmp_path / "latency.csv"
    table.write_text("type,weight_bits,activation_bits,cost\n" + "".join(
        f"Linear,{w},{a},{w * a / 10}\n" for w in (2, 3, 4, 8) for a in (2, 3, 4, 8)
    ))  # fmt: skip
    named = {
        "chip": {"kind": "latency", "limit": 2.9, "table": str(table)},
        "flash": {"kind": "model_size", "limit": 1e6},
        "head": {"kind": "average_bits", "limit": 3, "layers": ["out"]},
    }
    document = experiment(
        SHORT, "inner.budget.limit=4", f"inner.budgets={json.dumps(named)}",
        "study.objectives=[{metric: validation_accuracy, direction: maximize}, {metric: latency, direction: minimize}]",
        "study.constraints=[{metric: activation_memory, max: 100000}]",
    )  # fmt: skip
    plan = inspect_trial(document)
    assert [(budget.name, budget.loose) for budget in plan.budgets] == [
        (None, False), ("chip", False), ("flash", True), ("head", False),
    ]  # fmt: skip
    result = run_trial(document, Recorder(tmp_path / "run"))
    layers = {layer.name: layer for layer in result.allocation.layers}
    uses = {use.name: use for use in result.allocation.budgets}
    latency = sum((layer.bits("weight") or 0) * (layer.bits("activation") or 0) for layer in layers.values()) / 10
    assert uses["chip"].achieved == pytest.approx(latency) == result.metrics["latency"] <= 2.9
    assert max(uses["head"].by_target.values()) <= 3 == max(layers["out"].bits(t) or 0 for t in BOTH)
    assert uses["flash"].achieved == result.allocation.cost.model_size
    assert uses[None] == result.allocation.budget
    assert result.metrics["activation_memory"] == result.allocation.cost.activation_memory
    again = Allocation.from_json(result.allocation.to_json())
    assert again == result.allocation


def test_below_the_cheapest_allocation_both_figures_are_named(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match=r"kept at 1\.5 bits: the cheapest .* costs 2;"):
        run_trial(experiment("inner.budget.limit=1.5"), Recorder(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("extra", [(), ("inner.epochs={warmup: 1, search: 1, finetune: 0}",), ("inner.pin.fc1=float",)])
def test_what_is_left_behind_reproduces_the_metrics(tmp_path: Path, extra: tuple[str, ...]) -> None:
    document = experiment(NOISY, *extra)
    result = run_trial(document, Recorder(tmp_path))
    data = load_data(document.data)
    allocation = Allocation.from_json(tmp_path / "allocation.json")
    assert allocation == result.allocation and allocation.metrics == result.metrics
    assert allocation.provenance["seed"] == 1 and allocation.provenance["data_checksum"] == data.checksum
    model = build_model(document.model, data.input_shape, data.classes)
    precsearch.apply_allocation(model, allocation)
    model.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test)):
        measured = measure(model, split)
        assert measured.accuracy == result.metrics[f"{name}_accuracy"]
        assert measured.loss == result.metrics[f"{name}_loss"]
    assert not any(path.name.endswith(".tmp") for path in tmp_path.rglob("*"))


def test_it_learns(tmp_path: Path) -> None:
    whole = ("data.train_limit=null", "model.hidden=[32]", "inner.budget.limit=3")
    result = train(tmp_path, *whole, "inner.epochs={warmup: 2, search: 4, finetune: 3}")
    assert result.metrics["validation_accuracy"] > 0.85  # ten classes: chance is 0.1
    assert result.metrics["test_accuracy"] > 0.85
    gap = result.metrics["train_accuracy"] - result.metrics["validation_accuracy"]
    assert result.metrics["generalization_gap"] == pytest.approx(gap)


@pytest.mark.parametrize("epochs", [(1, 2, 0), (2, 0, 1), (0, 0, 2), (0, 2, 0), (2, 0, 0)])
def test_phases_may_be_left_out(tmp_path: Path, epochs: tuple[int, int, int]) -> None:
    session = Recorder(tmp_path)
    warmup, search, finetune = epochs
    phases = f"inner.epochs={{warmup: {warmup}, search: {search}, finetune: {finetune}}}"
    result = run_trial(experiment(NOISY, phases), session)
    assert [progress.step for progress in session.told] == list(range(1, session.told[0].steps + 1))
    assert result.allocation.budget is not None and result.metrics["validation_accuracy"] > 0.1


@pytest.mark.parametrize("update", ["joint", "alternate"])
@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_a_loss_that_is_no_number_ends_the_trial(tmp_path: Path, name: str, update: str) -> None:
    absurd = (f"inner.optimizer={{name: {name}, lr: 1e30}}", f"inner.logits.update={update}")
    with pytest.raises(DivergedError, match=r"became (nan|inf).*lower inner\.optimizer\.lr"):
        train(tmp_path, *absurd, "inner.epochs={warmup: 4, search: 4, finetune: 4}")
    assert not (tmp_path / "weights.safetensors").exists()


def test_a_fixed_allocation_is_read_from_its_json(tmp_path: Path) -> None:
    found = train(tmp_path / "found").allocation
    path = tmp_path / "found" / "allocation.json"
    again = train(tmp_path / "again", "inner.sampler=fixed", f"inner.allocation={path}").allocation
    for target in ("weight", "activation"):
        assert again.bits(target) == found.bits(target)
    with pytest.raises(AllocationError, match="another model"):
        train(tmp_path / "no", "inner.sampler=fixed", f"inner.allocation={path}", "model.hidden=[12]")


def test_inspecting_trains_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Stage, "step", lambda *_: pytest.fail("trained"))
    before = torch.random.get_rng_state()
    plan = inspect_trial(experiment("inner.pin.fc1=float"))
    assert isinstance(plan, TrialPlan) and torch.equal(torch.random.get_rng_state(), before)
    assert plan.images["train"] == 192 and [layer.name for layer in plan.layers] == ["fc1", "fc2", "out"]
    assert plan.parameters == 64 * 12 + 12 + 12 * 10 + 10 + 10 * 10 + 10
    (budget,) = plan.budgets
    assert (budget.cheapest, budget.dearest) == (dict.fromkeys(BOTH, 2.0), dict.fromkeys(BOTH, 8.0))
    assert not budget.loose
    assert list(tmp_path.iterdir()) == []


def test_half_precision_learns_nearly_the_same(tmp_path: Path) -> None:
    plain, half = (train(tmp_path / str(n), SHORT, *extra) for n, extra in enumerate([(), (HALF,)]))
    assert plain.metrics["train_loss"] != half.metrics["train_loss"]
    assert half.metrics["train_loss"] == pytest.approx(plain.metrics["train_loss"], rel=0.1)
    weights = load_file(tmp_path / "1" / "weights.safetensors")
    assert all(tensor.dtype != torch.bfloat16 for tensor in weights.values())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler has warnings of its own
@pytest.mark.parametrize("extra", [(), (HALF,)])
def test_compiled_whole_it_learns_the_same(
    tmp_path: Path, extra: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = train(tmp_path / "plain", SHORT, *extra)
    handed, compile_ = [], torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, **options: handed.append(model) or compile_(model, **options))
    compiled = train(tmp_path / "compiled", SHORT, *extra, "executor.compile=true")
    stages = [model for model in handed if isinstance(model, torch.nn.Module)]
    assert len(stages) == 2 and isinstance(stages[0], precsearch.SearchableModel)
    assert compiled.metrics["train_loss"] == pytest.approx(plain.metrics["train_loss"], rel=0.05)
    assert compiled.allocation.cost == plain.allocation.cost


def test_compiling_needs_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computing, "compiler_problem", lambda: "InvalidCxxCompiler: No working C++ compiler found")
    message = r"`executor.compile: true` needs torch.compile with a C\+\+ compiler, but it failed here: InvalidCxx"
    with pytest.raises(ConfigurationError, match=message):
        train(tmp_path, SHORT, "executor.compile=true")


def test_a_trial_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    train(tmp_path, NOISY, SHORT, "executor.threads=2")
    assert torch.equal(torch.random.get_rng_state(), before) and torch.get_num_threads() == threads
    with pytest.raises(ConfigurationError):
        train(tmp_path, "inner.pin.nope=3", "executor.threads=2")
    assert torch.equal(torch.random.get_rng_state(), before) and torch.get_num_threads() == threads
