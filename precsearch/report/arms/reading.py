"""Everything that a report shows of a run of kind `compare` or `grid`; nothing here writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from precsearch.analysis.sentences import budget_text
from precsearch.errors import RunDirectoryError
from precsearch.experiment.cells import arms_of, cells_of, seeds_of
from precsearch.experiment.loading import load_experiment
from precsearch.measured import DRAWN, Evaluation, read_evaluation
from precsearch.report import words
from precsearch.report.view import read_allocation
from precsearch.results import read_steps

if TYPE_CHECKING:
    from precsearch.allocation import Allocation
    from precsearch.experiment import Experiment
    from precsearch.report.arms.compared import Compared
    from precsearch.report.arms.grid import Gridded
    from precsearch.results import Progress, RunDirectory, TrainingRecord

LIMIT: Final = "inner.budget.limit"


@dataclass(frozen=True)
class ArmTraining:
    """One training that has ended; its files are read when they are first asked for.

    Attributes:
        record: how it was configured and ended; a failed one has no metrics.
        folder: that holds its files.
    """

    record: TrainingRecord
    folder: Path

    @property
    def complete(self) -> bool:
        """Whether it has metrics."""
        return self.record.state == "complete"

    @property
    def cell(self) -> int:
        """Number of its cell."""
        return self.record.number

    @property
    def arm(self) -> str:
        """Its arm: a name of `compare.arms`, or ``float``, ``direct``, ``retrained``."""
        return self.record.arm

    @property
    def label(self) -> str:
        """Arm, bits and layer in one: ``uniform``, ``retrained-2``, ``direct-2-fc1``."""
        return self.record.baseline or self.record.arm

    @cached_property
    def allocation(self) -> Allocation | None:
        """Its bits; None where its file is not there."""
        return read_allocation(self.folder)

    @cached_property
    def evaluation(self) -> Evaluation | None:
        """What was measured of it, frozen; None where its file is not there."""
        return read_evaluation(self.folder)

    @cached_property
    def drawn(self) -> Evaluation | None:
        """What was measured of it as the mean over draws; None unless the arm is stochastic."""
        return read_evaluation(self.folder, DRAWN)

    @cached_property
    def steps(self) -> tuple[Progress, ...]:
        """Its epochs; empty where its file is not there."""
        return read_steps(self.folder)


class Tried(BaseModel):
    """One combination of what was tuned: its settings, and the mean metric of it, None where all seeds failed."""

    params: dict[str, Any]
    mean: float | None


class TunedArm(BaseModel):
    """One arm in one cell: what was tried, and what was chosen; None where no combination trained to its end."""

    cell: int
    arm: str
    chosen: dict[str, Any] | None
    tried: tuple[Tried, ...]


class Tuned(BaseModel):
    """`tuned.json`: the metric that chose, seeds of each combination, and every arm that is tuned by now."""

    metric: str
    seeds: int
    arms: tuple[TunedArm, ...]


@dataclass(frozen=True, eq=False)
class ArmsData:
    """One run of kind `compare` or `grid`, finished or not.

    Attributes:
        label: what tells it from other runs of the same report.
        run: its directory.
        experiment: the resolved experiment.
        trainings: every one that has ended, failed ones too, by cell, arm in the experiment's order, and seed.
        tuning: those that only tuned an arm, likewise.
        tuned: what the tuning chose; None where nothing is tuned yet.
    """

    label: str
    run: RunDirectory
    experiment: Experiment
    trainings: tuple[ArmTraining, ...]
    tuning: tuple[ArmTraining, ...] = ()
    tuned: Tuned | None = None

    @property
    def path(self) -> Path:
        """Of the run directory."""
        return self.run.path

    @property
    def kind(self) -> str:
        """``compare`` or ``grid``."""
        return self.experiment.kind

    @property
    def complete(self) -> tuple[ArmTraining, ...]:
        """The trainings that have metrics."""
        return tuple(training for training in self.trainings if training.complete)

    @property
    def failed(self) -> tuple[ArmTraining, ...]:
        """The trainings that have none."""
        return tuple(training for training in self.trainings if not training.complete)

    @cached_property
    def wanted(self) -> int:
        """Trainings that the experiment asks for, without the tuning."""
        layers = self._layers
        cells = ((cell, arms_of(self.experiment, layers.get(str(cell)))) for cell in self.points)
        return seeds_of(self.experiment) * sum(len(arms) for _, arms in cells)

    @property
    def finished(self) -> bool:
        """Whether every training that is asked for now has ended; a run may hold more seeds."""
        return sum(training.record.index < seeds_of(self.experiment) for training in self.trainings) >= self.wanted

    @cached_property
    def points(self) -> dict[int, dict[str, Any]]:
        """Cell -> dotted path -> its value there, of the paths that make the cells."""
        return dict(enumerate(cells_of(self.experiment)))

    @cached_property
    def places(self) -> dict[int, str]:
        """Cell -> its point in words, such as ``2.5 bits``; empty where there is one cell."""
        return {cell: self._place(point) for cell, point in self.points.items()}

    @cached_property
    def compared(self) -> Compared:
        """What the arms of a `compare` come to."""
        from precsearch.report.arms.compared import Compared

        return Compared(self)

    @cached_property
    def gridded(self) -> Gridded:
        """What the networks of a `grid` come to."""
        from precsearch.report.arms.grid import Gridded

        return Gridded(self)

    @cached_property
    def _layers(self) -> dict[str, dict[str, list[str]]]:
        """Cell -> layer that is quantized alone in a grid -> all others; empty where it is not known yet."""
        try:
            found: dict[str, dict[str, list[str]]] = json.loads(self.run.layers.read_text(encoding="utf-8"))
            return found
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise RunDirectoryError(f"cannot read {self.run.layers}: {error}; was the file cut short?") from None

    def _place(self, point: Mapping[str, Any]) -> str:
        rest = {path: value for path, value in point.items() if path != LIMIT}
        kind = point.get("inner.budget.kind", self.experiment.inner.budget.kind)
        limit = [budget_text(point[LIMIT], kind)] if LIMIT in point else []
        return ", ".join([*limit, *([words.params_text(rest, brief=True)] if rest else [])])

    def of(self, label: str, cell: int | None = None) -> tuple[ArmTraining, ...]:
        """The complete trainings of one label, in one cell or in all."""
        return tuple(
            training for training in self.complete if training.label == label and cell in {None, training.cell}
        )


def read_arms_data(run: RunDirectory, label: str) -> ArmsData:
    """Read a run directory of kind `compare` or `grid`, finished or not, moved or not.

    Raises:
        RunDirectoryError: when it is none, or one of its files cannot be read.
    """
    run.require()
    experiment = load_experiment(run.experiment)
    order = [arm.label for arm in arms_of(experiment)]
    return ArmsData(
        label=label,
        run=run,
        experiment=experiment,
        trainings=_trainings(run.trainings(), order),
        tuning=_trainings(run.tunings(), order),
        tuned=_tuned(run.tuned),
    )


def _tuned(path: Path) -> Tuned | None:
    try:
        return Tuned.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise RunDirectoryError(f"cannot read {path}: {first}; delete the file to report without it") from None


def _trainings(found: Sequence[tuple[Path, TrainingRecord]], order: Sequence[str]) -> tuple[ArmTraining, ...]:
    """By cell, arm in the experiment's order, and seed; arms that it does not name (single layers) come last."""
    places = {label: place for place, label in enumerate(order)}
    trainings = (ArmTraining(record, folder) for folder, record in found)
    # sorted() keeps seeds of one arm as they come: by index
    return tuple(sorted(trainings, key=lambda each: (each.cell, places.get(each.label, len(places)))))
