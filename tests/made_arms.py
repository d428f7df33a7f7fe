"""Run directories of the kinds `compare` and `grid`, as complete as a report may meet; nothing is trained; seeded."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from made_reports import LAYERS, accuracy_of, allocation, evaluation, searched, steps

from precsearch.allocation import Allocation
from precsearch.experiment import Experiment
from precsearch.experiment.cells import Arm, Layers, arms_of, cells_of, has_layers, seeds_of
from precsearch.experiment.loading import dump_experiment, load_experiment_text
from precsearch.results import RunDirectory, TrainingRecord

COMPARE = """
version: 1
kind: compare
name: made-compare
data: {name: mnist, train_limit: 1000}
model: {name: lenet5}
inner: {bits: [2, 3, 4, 6, 8], budget: {kind: average_bits, limit: 3.0}}
compare:
  seeds: 6
  at: {inner.budget.limit: [2.5, 4.0]}
  arms:
    float: {kind: float}
    uniform: {kind: uniform}
    learned: {kind: learned}
    random: {kind: random}
  tune: {over: {inner.optimizer.lr: [5.0e-4, 2.0e-3]}, seeds: 2}
"""
GRID = """
version: 1
kind: grid
name: made-grid
data: {name: mnist}
model: {name: mlp}
inner: {targets: [weight], quantizer: symmetric}
grid:
  seeds: 5
  axes: {model.width: [0.25, 0.5, 1.0, 2.0], model.depth: [1, 2]}
  bits: [2, 3, 4]
  retrain: {inner.optimizer.lr: 5.0e-4}
  layers: true
  layers_at: {model.width: 1.0, model.depth: 2}
"""
NAMES = [name for name, *_ in LAYERS]
ALONE: Layers = {name: [other for other in NAMES if other != name] for name in NAMES}
HARM = {"float": 0.0, "uniform": 0.02, "learned": 0.012, "random": 0.04, "direct": 0.2, "retrained": 0.02}


@dataclass(frozen=True)
class MadeArms:
    """What is in a made run.

    Attributes:
        text: of the experiment.
        seeds: of every arm; those of the experiment where None. Fewer than it has: the run is not finished.
        failed: (cell, label, index) of trainings that failed.
        measured: whether every training has an `evaluation.json`; `steps` a `steps.jsonl`.
        more: label -> metrics that its trainings have as well, such as ``{"stochastic": {"drawn_test_loss": 0.2}}``.
    """

    text: str = COMPARE
    seeds: int | None = None
    failed: tuple[tuple[int, str, int], ...] = ()
    measured: bool = True
    steps: bool = True
    more: dict[str, dict[str, float]] = field(default_factory=dict)


def make_arms(path: Path, made: MadeArms = MadeArms(), seed: int = 0) -> RunDirectory:
    """Write a run directory; the same arguments write the same bytes."""
    run, experiment = RunDirectory(path), load_experiment_text(made.text)
    path.mkdir(parents=True)
    run.experiment.write_text(dump_experiment(experiment))
    run.environment.write_text(json.dumps({"precsearch": "0.1.0", "python": "3.11.2", "torch": "2.9.0"}))
    tuned = _tuning(run, experiment, seed)
    alone = {cell: ALONE for cell, point in enumerate(cells_of(experiment)) if has_layers(experiment, point)}
    if alone:
        run.layers.write_text(json.dumps(alone))
    for cell, arm, index in _all(experiment, alone, made.seeds):
        failed = (cell, arm.label, index) in made.failed
        _train(run, experiment, cell, arm, index, made, tuned, failed, seed)
    return run


def make_compare(path: Path, seed: int = 0, **made: Any) -> RunDirectory:
    """Four arms at two budgets, tuned."""
    return make_arms(path, MadeArms(**made), seed)


def make_grid(path: Path, seed: int = 0, **made: Any) -> RunDirectory:
    """Networks of four widths and two depths; each layer alone in one of them."""
    return make_arms(path, MadeArms(text=GRID, **made), seed)


def _all(experiment: Experiment, alone: dict[int, Layers], seeds: int | None) -> Iterator[tuple[int, Arm, int]]:
    for index in range(seeds_of(experiment) if seeds is None else seeds):
        for cell, _ in enumerate(cells_of(experiment)):
            for arm in arms_of(experiment, alone.get(cell)):
                yield cell, arm, index


def _tuning(run: RunDirectory, experiment: Experiment, seed: int) -> dict[str, dict[str, Any]]:
    """`tuned.json`, and what was chosen for each arm."""
    if experiment.compare is None or experiment.compare.tune is None:
        return {}
    chance, tune = random.Random(seed), experiment.compare.tune
    ((path, values),) = tune.over.items()
    rows = [
        {
            "cell": cell,
            "arm": arm.label,
            "chosen": {path: chance.choice(values)},
            "tried": [{"params": {path: value}, "mean": 0.9 + chance.gauss(0, 0.01)} for value in values],
        }
        for cell, _ in enumerate(cells_of(experiment))
        for arm in arms_of(experiment)
    ]
    head = {"format": "precsearch-tuned", "version": 1}
    run.tuned.write_text(json.dumps({**head, "metric": tune.metric, "seeds": tune.seeds, "arms": rows}))
    return {f"{row['cell']} {row['arm']}": row["chosen"] for row in rows}  # type: ignore[misc]


def _train(
    run: RunDirectory, experiment: Experiment, cell: int, arm: Arm, index: int, made: MadeArms,
    tuned: dict[str, dict[str, Any]], failed: bool, seed: int,
) -> None:  # fmt: skip
    chance = random.Random(f"{seed} {cell} {arm.label} {index}")
    point = cells_of(experiment)[cell]
    limit = point.get("inner.budget.limit", 3.0)
    found = _allocation(arm, limit, cell, index)
    folder = run.training(cell, arm.label, index)
    folder.mkdir(parents=True)
    metrics = _metrics(arm, point, found, chance, random.Random(index).gauss(0, 0.003))
    record = TrainingRecord(
        number=cell,
        state="failed" if failed else "complete",
        baseline=arm.label,
        params=point | tuned.get(f"{cell} {arm.label}", {}),
        seed=2**31 + index,
        metrics={} if failed else metrics | made.more.get(arm.label, {}),
        reason="DivergedError: the loss is nan" if failed else None,
        seconds=4.2,
        limit=limit if experiment.kind == "compare" else None,
        arm=arm.arm,
        index=index,
        bits=arm.bits,
        layer=arm.layer,
    )
    (folder / "result.json").write_text(json.dumps(record.model_dump(mode="json")))
    if failed:
        return
    (folder / "allocation.json").write_text(found.to_json())
    if made.measured:
        measured = evaluation(found, metrics, "test", chance)
        (folder / "evaluation.json").write_text(json.dumps(measured.model_dump(mode="json")))
    if made.steps and arm.arm != "direct":
        (folder / "steps.jsonl").write_text("".join(json.dumps(line) + "\n" for line in steps(found, chance)))


def _allocation(arm: Arm, limit: float, cell: int, index: int) -> Allocation:
    if arm.arm in ("learned", "random"):
        return searched(limit, random.Random(f"{cell} {arm.arm} {index}"), 1.0 if arm.arm == "learned" else -1.0)
    width = arm.bits or (max(bits for bits in (2, 3, 4) if bits <= limit) if arm.arm == "uniform" else None)
    return allocation([(width if arm.layer in (None, name) else None, None) for name in NAMES], limit)


def _metrics(
    arm: Arm, point: dict[str, Any], found: Allocation, chance: random.Random, luck: float
) -> dict[str, float]:
    """`luck` is the seed's own: the same in every arm."""
    size = float(point.get("model.width", 1.0)) * float(point.get("model.depth", 1))
    harm = HARM.get(arm.arm, 0.015) * 4.0 ** (2 - (arm.bits or 2)) * (0.3 if arm.layer else 1.0) / size**0.5
    accuracy = min(0.999, max(0.1, accuracy_of(found, chance) - harm - 0.02 / size + luck))
    metrics = {}
    for split, gap in (("train", 0.01), ("validation", 0.0), ("test", -0.002)):
        metrics |= {f"{split}_accuracy": min(1.0, accuracy + gap), f"{split}_loss": 3 * (1 - accuracy - gap)}
    by_target = {f"average_bits_{target}": bits for target, bits in found.cost.average_bits.items()}
    return {
        **metrics,
        "generalization_gap": metrics["train_accuracy"] - accuracy,
        "test_brier": 1.5 * (1 - accuracy),
        "test_ece": 0.03 + 0.1 * (1 - accuracy),
        **by_target,
        "average_bits": sum(by_target.values()) / max(1, len(by_target)),
        "model_size": float(found.cost.model_size) * size,
        "bitops": float(found.cost.bitops) * size,
    }
