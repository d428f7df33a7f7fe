"""Comparisons as full as a report may meet: every kind of arm, stochastic ones measured twice; nothing is trained."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from made_arms import COMPARE, MadeArms, make_arms

from precsearch.measured import DRAWN
from precsearch.report.arms.reading import ArmsData, read_arms_data
from precsearch.results import RunDirectory, TrainingRecord, read_training

EVERY_KIND = COMPARE.replace(
    "    random: {kind: random}\n",
    """\
    stochastic: {kind: stochastic}
    random: {kind: random}
    dropout: {kind: dropout}
    weight-noise: {kind: weight-noise}
""",
)
ONE_CELL = EVERY_KIND.replace("  at: {inner.budget.limit: [2.5, 4.0]}\n", "")
Shift = Callable[[TrainingRecord], dict[str, float]]
_DRAWN = ("train_accuracy", "train_loss", "test_accuracy", "test_loss", "test_brier", "test_ece")


def make_comparison(path: Path, **made: Any) -> RunDirectory:
    """A run whose stochastic arm has `drawn_` metrics and `drawn.json`; other arms as `make_arms` leaves them."""
    run = make_arms(path, MadeArms(**{"text": EVERY_KIND, **made}))
    chance = random.Random(0)
    for folder, record in run.trainings():
        if record.arm == "stochastic" and record.state == "complete":
            shift = chance.gauss(0.003, 0.001)
            drawn = {
                f"drawn_{name}": value + (shift if name.endswith("accuracy") else -0.02)
                for name, value in record.metrics.items()
                if name in _DRAWN
            }
            drawn["drawn_train_accuracy"] = record.metrics["train_accuracy"] - 0.002
            rewrite(run, folder, record, record.metrics | drawn)
            if (folder / "evaluation.json").is_file():
                measured = json.loads((folder / "evaluation.json").read_text())
                (folder / DRAWN).write_text(json.dumps(measured | {"draws": 10}))
    return run


def comparison_data(path: Path, label: str = "made", **made: Any) -> ArmsData:
    """The same as read for a report."""
    return read_arms_data(make_comparison(path, **made), label)


def rewrite(run: RunDirectory, folder: Path, record: TrainingRecord, metrics: dict[str, float]) -> None:
    """Give one training other metrics."""
    changed = record.model_copy(update={"metrics": metrics})
    (folder / "result.json").write_text(json.dumps(changed.model_dump(mode="json")))


def set_metric(run: RunDirectory, metric: str, value: Callable[[TrainingRecord], float]) -> None:
    """Give every complete training another value of one metric."""
    for folder in sorted((run.path / "trainings").iterdir()):
        record = read_training(folder)
        if record is not None and record.state == "complete":
            rewrite(run, folder, record, record.metrics | {metric: value(record)})
