"""What the tuning chose for every arm in every cell: the combination with the best mean on the tuning's seeds."""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum
from typing import Any

from precsearch.experiment import Experiment, TuneSettings
from precsearch.experiment.cells import Point
from precsearch.files import json_text, write_if_other
from precsearch.results import RunDirectory, TrainingRecord
from precsearch.study.arms.plan import ArmsPlan

FORMAT = "precsearch-tuned"


@dataclass(frozen=True)
class Tuned:
    """What was chosen for one arm in one cell.

    Attributes:
        chosen: dotted path -> value; None where no combination trained to its end with every seed.
        means: of each combination, the metric's mean over the seeds; None where a seed has none.
    """

    chosen: Point | None
    means: tuple[float | None, ...] = ()


def tune_arms(experiment: Experiment, directory: RunDirectory, plan: ArmsPlan) -> dict[tuple[int, str], Tuned]:
    """Choose, and write `tuned.json`; nothing is chosen or written where nothing is tuned.

    Args:
        experiment: of kind compare.
        directory: of the run, whose tuning has ended.
        plan: of it.

    Returns:
        (cell, label) -> what was chosen; of trainings that are shared as well.
    """
    tune = experiment.compare.tune if experiment.compare is not None else None
    if tune is None:
        return {key: Tuned({}) for key in plan.owners}
    records = {(t.cell, t.arm.label, t.tried, t.index): r for t, r in plan.results(directory) if t.tried is not None}
    found = {
        (cell, label): _choose(plan, tune, {at[2:]: r for at, r in records.items() if at[:2] == (owner, label)})
        for (cell, label), owner in plan.owners.items()
    }
    write_if_other(directory.tuned, json_text(_document(plan, tune, found)))
    return found


def _choose(plan: ArmsPlan, tune: TuneSettings, records: dict[tuple[Any, ...], TrainingRecord]) -> Tuned:
    means = tuple(_mean(tune, [records.get((tried, i)) for i in range(tune.seeds)]) for tried in range(len(plan.tried)))
    sign = 1 if tune.rising else -1
    known = [(sign * mean, -tried) for tried, mean in enumerate(means) if mean is not None]
    return Tuned(plan.tried[-max(known)[1]] if known else None, means)


def _mean(tune: TuneSettings, records: list[TrainingRecord | None]) -> float | None:
    values = [record.metrics.get(tune.metric) if record is not None else None for record in records]
    known = [value for value in values if value is not None]
    return fsum(known) / len(known) if len(known) == len(values) else None


def _document(plan: ArmsPlan, tune: TuneSettings, found: dict[tuple[int, str], Tuned]) -> dict[str, Any]:
    arms = [
        {
            "cell": cell,
            "arm": label,
            "chosen": tuned.chosen,
            "tried": [{"params": p, "mean": mean} for p, mean in zip(plan.tried, tuned.means, strict=True)],
        }
        for (cell, label), tuned in found.items()
    ]
    return {"format": FORMAT, "version": 1, "metric": tune.metric, "seeds": tune.seeds, "arms": arms}
