"""A run directory made by hand: what a finished study leaves behind, without training anything."""

from __future__ import annotations

import json
from pathlib import Path

from precsearch.allocation import Allocation, BudgetUse, Cost, LayerPrecision, ModelIdentity, TargetPrecision
from precsearch.results import RunDirectory, TrialRecord

EXPERIMENT = """\
version: 1
name: made
inner:
  bits: [2, 3, 4, 8]
  budget: {kind: average_bits, limit: 3.0}
study:
  n_trials: 4
  baselines: [uniform, random]
space:
  inner.budget.limit: {type: float, low: 2.0, high: 4.0, step: 0.5}
"""


def allocation(bits: list[tuple[int | None, int | None]], trial: int = 0) -> Allocation:
    layers = tuple(
        LayerPrecision(
            name=f"fc{index}",
            type="Linear",
            numel=1000 * index,
            inputs=64,
            macs=1000 * index,
            targets={
                "weight": TargetPrecision(bits=weight),
                "activation": TargetPrecision(bits=activation, signed=False),
            },
        )
        for index, (weight, activation) in enumerate(bits, start=1)
    )
    means = {
        target: sum(layer.bits(target) or 32 for layer in layers) / len(layers) for target in ("weight", "activation")
    }
    return Allocation(
        model=ModelIdentity(name="mlp", fingerprint="0" * 16),
        budget=BudgetUse(kind="average_bits", limit=4.0, achieved=means["weight"]),
        layers=layers,
        cost=Cost(average_bits=means, model_size=2345, bitops=1_234_567),
        provenance={"trial": trial},
    )


def record(number: int, accuracy: float, bitops: float, limit: float, baseline: str | None = None) -> TrialRecord:
    return TrialRecord(
        number=number,
        state="complete",
        baseline=baseline,
        params={"inner.budget.limit": limit},
        seed=number,
        metrics={
            "validation_accuracy": accuracy,
            "bitops": bitops,
            "model_size": 2345,
            "average_bits_weight": limit,
            "average_bits_activation": limit,
        },
        seconds=4.2,
        limit=limit,
    )


TRIALS = [
    (record(0, 0.91, 1_200_000, 2.0), allocation([(2, 2), (2, 2), (2, 2)], 0)),
    (record(1, 0.955, 1_900_000, 3.0), allocation([(3, 4), (4, 3), (2, 2)], 1)),
    (record(2, 0.96, 4_000_000, 4.0), allocation([(4, 4), (None, 4), (8, 2)], 2)),
]
FAILED = TrialRecord(
    number=3, state="failed", params={"inner.budget.limit": 2.5}, seed=3, reason="loss is nan at epoch 2"
)
PRUNED = TrialRecord(
    number=3, state="pruned", params={"inner.budget.limit": 2.5}, seed=3, reason="median pruner at step 3"
)


def make_run(path: Path, last: TrialRecord | None = PRUNED) -> RunDirectory:
    run = RunDirectory(path)
    path.mkdir(parents=True)
    run.experiment.write_text(EXPERIMENT)
    for made, found in TRIALS:
        run.write_record(run.trial(made.number), made)
        found.to_json(run.trial(made.number) / "allocation.json")
        for kind, loss in (("uniform", 0.01), ("random", 0.05)):
            beside = record(made.number, made.metrics["validation_accuracy"] - loss, made.metrics["bitops"], 2.0, kind)
            run.write_record(run.baseline(made.number, kind), beside)
            found.to_json(run.baseline(made.number, kind) / "allocation.json")
    if last is not None:
        run.write_record(run.trial(last.number), last)
    TRIALS[1][1].to_json(run.best)
    tested = {
        kind: {"metrics": {"test_accuracy": accuracy}, "allocation": None}
        for kind, accuracy in (("uniform", 0.931), ("random", 0.911))
    }
    front = [{"trial": made.number, "metrics": {"test_accuracy": 0.941}, "baselines": tested} for made, _ in TRIALS]
    document = {"format": "precsearch-pareto", "version": 1, "objectives": [], "best": 1, "front": front}
    run.pareto.write_text(json.dumps(document))
    return run


def listing(path: Path) -> dict[str, tuple[int, bytes]]:
    """Every file with its time and bytes: equal before and after means nothing was written."""
    return {
        str(file.relative_to(path)): (file.stat().st_mtime_ns, file.read_bytes() if file.is_file() else b"")
        for file in sorted(path.rglob("*"))
    }
