"""What the run directory of a `compare` or a `grid` holds, read for people and machines; nothing here writes."""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum
from typing import TYPE_CHECKING, Any

from precsearch.experiment.loading import load_experiment
from precsearch.report.view import exit_status
from precsearch.results import RunDirectory, TrainingRecord
from precsearch.study.arms.look import read_layers
from precsearch.study.arms.plan import ArmsPlan, plan_arms

if TYPE_CHECKING:
    from precsearch.experiment import Experiment
    from precsearch.experiment.cells import Arm, Point


@dataclass(frozen=True)
class ArmRow:
    """One arm in one cell, over its seeds.

    Attributes:
        cell: its number.
        arm: what is trained.
        complete: how many seeds are done.
        failed: how many failed.
        metrics: mean of each metric over the complete ones, of those that all of them have.
    """

    cell: int
    arm: Arm
    complete: int
    failed: int
    metrics: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """As one JSON object."""
        own = {"label": self.arm.label, "arm": self.arm.arm, "bits": self.arm.bits, "layer": self.arm.layer}
        return {"cell": self.cell, **own, "complete": self.complete, "failed": self.failed, "metrics": self.metrics}


@dataclass(frozen=True)
class ArmsView:
    """Everything that `list` and the closing summary show.

    Attributes:
        run: its directory.
        experiment: the resolved one.
        plan: everything that it is to hold.
        trainings: every one that has ended, by cell, label and seed.
        tunings: likewise, of the tuning.
        rows: by cell, in the order of the arms.
    """

    run: RunDirectory
    experiment: Experiment
    plan: ArmsPlan
    trainings: tuple[TrainingRecord, ...]
    tunings: tuple[TrainingRecord, ...]
    rows: tuple[ArmRow, ...]

    @property
    def cells(self) -> tuple[Point, ...]:
        """What sets each cell apart."""
        return self.plan.cells

    @property
    def wanted(self) -> int:
        """Trainings in all, with those that are shared, without the tuning."""
        return len(self.plan.trainings) + self.plan.shared

    @property
    def asked_for(self) -> list[TrainingRecord]:
        """The trainings that have ended, of those that the experiment asks for now; a run may hold more seeds."""
        return [record for record in self.trainings if record.index < len(self.plan.seeds)]

    @property
    def finished(self) -> bool:
        """Whether everything that was asked for has ended."""
        return len(self.asked_for) >= self.wanted and len(self.tunings) >= len(self.plan.tuning)

    @property
    def counts(self) -> dict[str, int]:
        """State -> number of trainings, without the tuning."""
        states = [record.state for record in self.trainings]
        return {state: states.count(state) for state in ("complete", "failed")}

    @property
    def seconds(self) -> float:
        """Of training, the tuning with it."""
        return fsum(record.seconds for record in (*self.trainings, *self.tunings))

    @property
    def exit_status(self) -> int:
        """0 done, 1 no training completed, 3 done but some failed; what tunes is told, but does not count."""
        return exit_status(self.counts)

    def to_dict(self) -> dict[str, Any]:
        """The view as one JSON object; `precsearch list --json` prints it.

        Keys: ``run``, ``name``, ``kind``, ``seeds``, ``wanted`` (trainings in all), ``finished``, ``counts`` (by
        state), ``seconds``, ``cells`` (the point of each), ``arms`` (a list of ``cell``, ``label``, ``arm``, ``bits``,
        ``layer``, ``complete``, ``failed``, ``metrics``: means over seeds), ``trainings`` and ``tunings`` (every
        `TrainingRecord`).
        """
        return {
            "run": str(self.run.path),
            "name": self.experiment.name,
            "kind": self.experiment.kind,
            "seeds": len(self.plan.seeds),
            "wanted": self.wanted,
            "finished": self.finished,
            "counts": self.counts,
            "seconds": self.seconds,
            "cells": [dict(point) for point in self.cells],
            "arms": [row.to_dict() for row in self.rows],
            "trainings": [record.model_dump(mode="json") for record in self.trainings],
            "tunings": [record.model_dump(mode="json") for record in self.tunings],
        }


def read_arms(run: RunDirectory) -> ArmsView:
    """Read a run directory of kind compare or grid, finished or not, moved or not.

    Raises:
        RunDirectoryError: when it is none, or one of its files cannot be read.
    """
    run.require()
    experiment = load_experiment(run.experiment)
    plan = plan_arms(experiment, read_layers(run))
    trainings = tuple(record for _, record in run.trainings())
    by_arm: dict[tuple[int, str], list[TrainingRecord]] = {}
    for record in trainings:
        by_arm.setdefault((record.number, record.label), []).append(record)
    rows = [_row(cell, arm, by_arm.get((cell, arm.label), [])) for cell, arms in enumerate(plan.arms) for arm in arms]
    return ArmsView(run, experiment, plan, trainings, tuple(record for _, record in run.tunings()), tuple(rows))


def _row(cell: int, arm: Arm, records: list[TrainingRecord]) -> ArmRow:
    complete = [record for record in records if record.state == "complete"]
    return ArmRow(cell, arm, len(complete), len(records) - len(complete), means(complete))


def means(records: list[TrainingRecord]) -> dict[str, float]:
    """Mean of each metric that all of these have."""
    first = records[0].metrics if records else {}
    names = [name for name in first if all(name in record.metrics for record in records)]
    return {name: fsum(record.metrics[name] for record in records) / len(records) for name in names}
