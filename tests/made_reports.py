"""Run directories as large and as complete as a report may meet, made without training anything; seeded."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from precsearch.allocation import Allocation, BudgetUse, Cost, LayerPrecision, ModelIdentity, TargetPrecision
from precsearch.experiment.outer import ObjectiveSettings
from precsearch.measured import (
    Alone,
    AttackCurve,
    BitFlips,
    Calibration,
    Corruption,
    Evaluation,
    MaskingCheck,
    Perturbation,
    ReliabilityBin,
)
from precsearch.report.reading import RunData, read_report_data
from precsearch.results import RunDirectory, TrialRecord
from precsearch.selection import best, front

BITS = (2, 3, 4, 6, 8)
# name, type, weights, inputs, MACs, how much rounding it hurts
LAYERS = [
    ("conv1", "Conv2d", 150, 784, 117_600, 0.25),
    ("conv2", "Conv2d", 2_400, 1_176, 240_000, 0.5),
    ("fc1", "Linear", 48_000, 400, 48_000, 0.15),
    ("fc2", "Linear", 10_080, 120, 10_080, 0.2),
    ("fc3", "Linear", 840, 84, 840, 0.9),
]
EPSILONS = (0.0, 0.05, 0.1, 0.2, 0.3)
OBJECTIVES = ({"metric": "validation_accuracy", "direction": "maximize"}, {"metric": "bitops", "direction": "minimize"})


@dataclass(frozen=True)
class Made:
    """What is in a made run.

    Attributes:
        trials: complete ones.
        pruned: and failed: ended early.
        baselines: arms beside each member of the front; ``float`` only beside the best.
        measured: whether trials and baselines have an `evaluation.json`; on a front alone where ``front``.
        steps: whether trials have a `steps.jsonl`.
        seeds: fresh seeds that confirm the best trial and the cheapest of the front.
        constant: every trial measures the same accuracy.
        name: of the experiment.
    """

    trials: int = 12
    pruned: int = 1
    failed: int = 1
    baselines: tuple[str, ...] = ("uniform", "random", "float")
    measured: bool = True
    steps: bool = True
    seeds: int = 5
    constant: bool = False
    name: str = "made"


def make_report(path: Path, made: Made = Made(), seed: int = 0) -> RunDirectory:
    """Write a run directory; the same arguments write the same bytes."""
    chance = random.Random(seed)
    run = RunDirectory(path)
    path.mkdir(parents=True)
    run.experiment.write_text(yaml.safe_dump(experiment(made)))
    environment = {"precsearch": "0.1.0", "python": "3.11.2", "torch": "2.9.0"}
    run.environment.write_text(json.dumps(environment))
    records = []
    for number in range(made.trials):
        limit = chance.choice([2.0, 2.5, 3.0, 3.5, 4.0, 5.0])
        found = searched(limit, chance)
        records.append(record_of(number, found, limit, chance, made))
        write(run.trial(number), records[-1], found, made, chance)
    for number in range(made.trials, made.trials + made.pruned + made.failed):
        write_json(run.trial(number) / "result.json", stopped(number, number < made.trials + made.pruned, chance))
    objectives = [ObjectiveSettings(**each) for each in OBJECTIVES]  # type: ignore[arg-type]
    members, chosen = front(records, objectives), best(records, objectives)
    for member in members:
        for arm in made.baselines:
            if arm != "float" or member is chosen:
                write_beside(run.baseline(member.number, arm), member, arm, made, chance)
    confirming = {chosen.number, members[0].number} if chosen and made.seeds else set()
    for member in members:
        if member.number in confirming:
            for arm in ("found", "uniform", "random"):
                for index in range(made.seeds):
                    folder = run.confirm(member.number, arm, index)
                    write_beside(folder, member, arm, made, chance, seed=1000 + index)
    if chosen:
        publish(run, members, chosen, made)
    return run


def publish(run: RunDirectory, members: list[TrialRecord], chosen: TrialRecord, made: Made) -> None:
    """`best.json` and `pareto.json`, as a finished study leaves them."""
    run.best.write_text((run.trial(chosen.number) / "allocation.json").read_text())
    tested = [
        {
            "trial": member.number,
            "metrics": {"test_accuracy": member.metrics["validation_accuracy"] - 0.003},
            "baselines": {
                arm: {"metrics": {"test_accuracy": member.metrics["validation_accuracy"] - 0.01}, "allocation": None}
                for arm in made.baselines
                if arm != "float" or member is chosen
            },
        }
        for member in members
    ]
    document = {"format": "precsearch-pareto", "version": 1, "objectives": list(OBJECTIVES), "best": chosen.number}
    run.pareto.write_text(json.dumps(document | {"front": tested}))


def made_data(path: Path, made: Made = Made(), seed: int = 0, label: str = "made") -> RunData:
    """The same as read for a report."""
    return read_report_data(make_report(path, made, seed), label)


def experiment(made: Made) -> dict[str, Any]:
    return {
        "version": 1,
        "name": made.name,
        "model": {"name": "lenet5"},
        "data": {"name": "mnist"},
        "inner": {"bits": list(BITS), "budget": {"kind": "average_bits", "limit": 3.0}},
        "study": {
            "objectives": [dict(each) for each in OBJECTIVES],
            "n_trials": max(1, made.trials + made.pruned + made.failed),
        },
        "space": {
            "inner.budget.limit": {"type": "float", "low": 2.0, "high": 5.0, "step": 0.5},
            "inner.regularization.strength": {"type": "float", "low": 1e-3, "high": 1.0, "log": True},
            "inner.quantizer": {"type": "categorical", "choices": ["dorefa", "symmetric"]},
        },
    }


def searched(limit: float, chance: random.Random, spread: float = 1.0) -> Allocation:
    """An allocation about `limit` bits on average, more of them where rounding hurts more."""
    bits = []
    for *_, hurt in LAYERS:
        wanted = limit + spread * (2 * hurt - 0.5 + chance.gauss(0, 0.5))
        bits.append(min(BITS, key=lambda candidate: abs(candidate - wanted)))
    inputs = [min(BITS, key=lambda candidate: abs(candidate - width - chance.gauss(0, 1))) for width in bits]
    return allocation(list(zip(bits, inputs, strict=True)), limit)


def allocation(bits: list[tuple[int | None, int | None]], limit: float) -> Allocation:
    layers = tuple(
        LayerPrecision(
            name=name,
            type=kind,
            numel=numel,
            inputs=inputs,
            macs=macs,
            targets={
                "weight": TargetPrecision(bits=weight),
                "activation": TargetPrecision(bits=activation, signed=False),
            },
        )
        for (name, kind, numel, inputs, macs, _), (weight, activation) in zip(LAYERS, bits, strict=True)
    )
    float32 = all(weight is None for weight, _ in bits)
    sizes = sum(layer.numel for layer in layers), sum(layer.inputs for layer in layers)
    means = (
        sum((layer.bits("weight") or 32) * layer.numel for layer in layers) / sizes[0],
        sum((layer.bits("activation") or 32) * layer.inputs for layer in layers) / sizes[1],
    )
    return Allocation(
        model=ModelIdentity(name="lenet5", fingerprint="0" * 16),
        budget=BudgetUse(kind="average_bits", limit=limit, achieved=means[0]),
        layers=layers,
        cost=Cost(
            average_bits={} if float32 else {"weight": means[0], "activation": means[1]},
            model_size=round(means[0] * sizes[0] / 8) + 900,
            bitops=sum(x.macs * (x.bits("weight") or 32) * (x.bits("activation") or 32) for x in layers),
        ),
    )


def accuracy_of(found: Allocation, chance: random.Random) -> float:
    harm = sum(hurt * 4.0 ** -(layer.bits() or 32) for layer, (*_, hurt) in zip(found.layers, LAYERS, strict=True))
    return min(0.995, max(0.1, 0.985 - harm + chance.gauss(0, 0.002)))


def record_of(
    number: int,
    found: Allocation,
    limit: float,
    chance: random.Random,
    made: Made,
    arm: str | None = None,
    seed: int | None = None,
) -> TrialRecord:
    accuracy = 0.9 if made.constant else accuracy_of(found, chance)
    gap = 0.004 + 0.001 * limit + chance.gauss(0, 0.001)
    by_target = {f"average_bits_{target}": bits for target, bits in found.cost.average_bits.items()}
    metrics = {
        "train_accuracy": accuracy + gap,
        "validation_accuracy": accuracy,
        "train_loss": 3 * (1 - accuracy - gap),
        "validation_loss": 3 * (1 - accuracy),
        "generalization_gap": gap,
        **by_target,
        "average_bits": sum(by_target.values()) / max(1, len(by_target)),
        "model_size": float(found.cost.model_size),
        "bitops": float(found.cost.bitops),
    }
    if seed is not None:  # confirmed on the test split
        metrics |= {"test_accuracy": accuracy - 0.002 + chance.gauss(0, 0.0015), "test_loss": 3 * (1 - accuracy)}
    return TrialRecord(
        number=number,
        state="complete",
        baseline=arm,
        params={
            "inner.budget.limit": limit,
            "inner.regularization.strength": 10 ** chance.uniform(-3, 0),
            "inner.quantizer": chance.choice(["dorefa", "symmetric"]),
        },
        seed=number if seed is None else seed,
        metrics=metrics,
        seconds=4.2,
        limit=limit,
    )


def stopped(number: int, pruned: bool, chance: random.Random) -> TrialRecord:
    reason = "median pruner at step 3" if pruned else "loss is nan at epoch 2"
    limit = chance.choice([2.0, 3.0])
    params = {
        "inner.budget.limit": limit, "inner.regularization.strength": 0.01, "inner.quantizer": "dorefa",
    }  # fmt: skip
    return TrialRecord(
        number=number, state="pruned" if pruned else "failed", params=params, seed=number, reason=reason, limit=limit
    )


def write_beside(
    folder: Path, member: TrialRecord, arm: str, made: Made, chance: random.Random, seed: int | None = None
) -> None:
    """A baseline at the budget of `member`, or, with a seed, a training that confirms it."""
    limit = float(member.limit) if isinstance(member.limit, float) else 3.0
    if arm == "found":
        found = searched(limit, random.Random(member.number))
    elif arm == "random":
        found = searched(limit, chance, spread=-1.0)
    else:
        width = None if arm == "float" else max(bits for bits in BITS if bits <= limit)
        found = allocation([(width, width)] * len(LAYERS), limit)
    write(folder, record_of(member.number, found, limit, chance, made, arm, seed), found, made, chance)


def write(folder: Path, record: TrialRecord, found: Allocation, made: Made, chance: random.Random) -> None:
    write_json(folder / "result.json", record)
    (folder / "allocation.json").write_text(found.to_json())
    if made.measured:
        split = "test" if "test_accuracy" in record.metrics else "validation"
        write_json(folder / "evaluation.json", evaluation(found, record.metrics, split, chance))
    if made.steps and record.baseline is None:
        (folder / "steps.jsonl").write_text("".join(json.dumps(line) + "\n" for line in steps(found, chance)))


def write_json(path: Path, value: TrialRecord | Evaluation) -> None:
    """Without the flush to disk that `precsearch.files` takes care of."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value.model_dump(mode="json")))


def evaluation(found: Allocation, metrics: dict[str, float], split: Any, chance: random.Random) -> Evaluation:
    clean, coarse = metrics["validation_accuracy"], 1 / (metrics["average_bits"] or 32)
    attacks = tuple(
        AttackCurve(
            attack=attack,
            norm=norm,
            epsilons=tuple(epsilon * scale for epsilon in EPSILONS),
            accuracies=tuple(clean * max(0.0, 1 - (epsilon * steep * (1.2 - coarse)) ** 1.3) for epsilon in EPSILONS),
            steps=1 if attack == "fgsm" else 20,
            restarts=1,
        )
        for norm, scale in (("linf", 1.0), ("l2", 10.0))
        for attack, steep in (("fgsm", 3.0), ("pgd", 5.0))
    )
    return Evaluation(
        split=split,
        images=500,
        seed=0,
        calibration=calibration(clean, chance),
        attacks=attacks,
        perturbations=(Perturbation(norm="linf", quartiles=(0.05, 0.11, None), largest=0.5),),
        masking=masking(coarse, attacks[0]),
        corruptions=tuple(
            Corruption(
                corruption=name,
                accuracies=tuple(max(0.1, clean - hurt * severity * (0.5 + coarse)) for severity in range(1, 6)),
            )
            for name, hurt in (("gaussian_noise", 0.02), ("blur", 0.05), ("contrast", 0.03), ("occlusion", 0.08))
        ),
        bit_flips=tuple(
            BitFlips(rate=rate, accuracies=tuple(max(0.1, clean - 8 * rate - chance.uniform(0, rate)) for _ in "123"))
            for rate in (1e-4, 1e-3, 1e-2, 0.1)
        ),
        alone=tuple(
            Alone(
                layer=name, target=target, bits=bits, loss=0.05 + hurt * 4.0**-bits, accuracy=clean - hurt * 4.0**-bits
            )
            for name, _, _, _, _, hurt in LAYERS
            for target in ("weight", "activation")
            for bits in BITS
        ),
        float_loss=0.05,
        seconds=1.5,
    )


def masking(coarse: float, curve: AttackCurve) -> tuple[MaskingCheck, ...]:
    """Coarse networks fail the second."""
    value, attacked = 0.3 if coarse > 0.4 else 0.1, curve.accuracies[2]
    noise = min(1.0, attacked + 0.1)
    told = (
        f"under random noise {noise:.1%} of the images are right, under FGSM {attacked:.1%}; noise must not hurt more"
    )
    return (
        MaskingCheck(check="noise", passed=True, value=noise, bound=attacked, told=told, epsilon=0.1),
        MaskingCheck(
            check="transfer", passed=value < 0.2, value=value, bound=0.2, told=f"transfer leaves {100 * value:.1f} %"
        ),
    )


def calibration(clean: float, chance: random.Random) -> Calibration:
    bins = []
    for index in range(15):
        low, high = index / 15, (index + 1) / 15
        count = 0 if index < 3 else 4 * 2 ** max(0, index - 8)
        confidence = (low + high) / 2 if count else 0.0
        accuracy = min(1.0, max(0.0, confidence - 0.04 + chance.gauss(0, 0.02))) if count else 0.0
        bins.append(ReliabilityBin(low=low, high=high, count=count, confidence=confidence, accuracy=accuracy))
    return Calibration(nll=3 * (1 - clean), brier=1.5 * (1 - clean), ece=0.03 + 0.1 * (1 - clean), bins=tuple(bins))


def steps(found: Allocation, chance: random.Random) -> list[dict[str, Any]]:
    """One warm-up, eight search and two fine-tuning epochs."""
    phases = ["warmup"] + ["search"] * 8 + ["finetune"] * 2
    lines, left = [], chance.uniform(0.55, 0.85)
    for step, phase in enumerate(phases, start=1):
        metrics = {
            "train_loss": 2.0 / step,
            "validation_loss": 2.2 / step,
            "validation_accuracy": 1 - 0.6 / step,
            "average_bits": 3.0,
        }
        if phase != "finetune":
            metrics |= {"entropy": 1.6 * left ** (step - 1) + chance.uniform(0, 0.05), "temperature": 2.0 * 0.75**step}
        bits = {layer.name: {t: p.bits for t, p in layer.targets.items()} for layer in found.layers}
        line = {"phase": phase, "epoch": 1 + phases[: step - 1].count(phase), "step": step, "steps": len(phases)}
        lines.append(line | {"metrics": metrics, "bits": bits})
    return lines
