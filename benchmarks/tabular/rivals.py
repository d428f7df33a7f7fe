"""Black boxes over the bits of each layer, played on the table: Optuna's TPE and random draws.

A training is a look at the loss that the table has of an allocation with one seed. What was trained is not trained
again and costs nothing, and neither does an allocation beyond the budget: costs are known beforehand.

Legend: A allocations.
"""

from __future__ import annotations

import csv

import numpy as np
import optuna
from rich.progress import track

from benchmarks.tabular.problem import Bits, Problem
from benchmarks.tabular.table import SHOWN, Floats, Table, digits, from_digits
from precsearch.files import write_text

TPE, RANDOM = "TPE", "random draws"
RUNS = range(2 * len(SHOWN))
"""Two on the losses of each seed shown."""
TRAININGS = 500
ONE_BUDGET = 100
"""Trainings of a run for one budget."""
ASKS = {True: 100, False: 200}
"""Of TPE, with and without one budget: it asks for what it trained ever more often."""


class Rivals:
    """What the runs trained, in order; those of TPE are kept in a file.

    Attributes:
        trained: (kind, limit or 0 where none, run) -> numbers of allocations.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.problem: Problem = table.problem
        self.trained: dict[tuple[str, float, int], list[int]] = {}
        for limit, run in self._runs():
            self.trained[RANDOM, limit, run] = draw(table, limit, run)
        if self.problem.file("-tpe").is_file():
            with self.problem.file("-tpe").open(newline="") as file:
                for row in csv.DictReader(file):
                    visited = [table.place[from_digits(text)] for text in row["trained"].split()]
                    self.trained[TPE, float(row["limit"]), int(row["run"])] = visited

    def fill(self) -> None:
        """Run what is missing."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        jobs = [job for job in self._runs() if (TPE, *job) not in self.trained]
        for limit, run in track(jobs, description=f"{self.problem.name}: {len(jobs)} runs of TPE"):
            self.trained[TPE, limit, run] = tpe(self.table, limit, run)
            if run == RUNS[-1]:
                self._store()
        self._store()

    def _runs(self) -> list[tuple[float, int]]:
        return [(limit, run) for limit in (0.0, *self.problem.limits) for run in RUNS]

    def _store(self) -> None:
        lines = ["limit,run,trained"]
        for (kind, limit, run), visited in self.trained.items():
            if kind == TPE:
                lines.append(f"{limit:g},{run}," + " ".join(digits(self.table.allocations[a]) for a in visited))
        write_text(self.problem.file("-tpe"), "\n".join(lines) + "\n")


def seen_by(table: Table, run: int) -> Floats:
    """[A] the losses that a run sees."""
    return table.columns[SHOWN[run % len(SHOWN)]]


def draw(table: Table, limit: float, run: int) -> list[int]:
    """Allocations drawn evenly, each once; those within the limit where there is one."""
    order = np.random.default_rng(run).permutation(len(table.allocations))
    kept = [int(a) for a in order if not limit or table.cost[a] <= limit]
    return kept[: ONE_BUDGET if limit else TRAININGS]


def tpe(table: Table, limit: float, run: int) -> list[int]:
    """TPE over the bits of each layer: loss and cost together, or the loss alone under the limit."""
    losses, wanted = seen_by(table, run), ONE_BUDGET if limit else TRAININGS
    wanted = min(wanted, int((table.cost <= limit).sum()) if limit else len(table.allocations))
    study = optuna.create_study(
        directions=["minimize"] if limit else ["minimize", "minimize"],
        sampler=optuna.samplers.TPESampler(seed=run, constraints_func=_excess if limit else None),
    )
    trained: dict[int, None] = {}
    for _ in range(ASKS[bool(limit)]):
        trial = study.ask()
        bits: Bits = tuple(
            table.problem.bits[trial.suggest_int(f"layer{layer}", 0, len(table.problem.bits) - 1)]
            for layer in range(len(table.problem.elements))
        )
        number = table.place[bits]
        trial.set_user_attr("excess", float(table.cost[number] - limit))
        if not limit:
            study.tell(trial, [losses[number], table.cost[number]])
        else:
            study.tell(trial, losses[number] if table.cost[number] <= limit else losses.max())
        if not limit or table.cost[number] <= limit:
            trained[number] = None
        if len(trained) == wanted:
            break
    return list(trained)


def _excess(trial: optuna.trial.FrozenTrial) -> tuple[float]:
    return (trial.user_attrs["excess"],)
