"""Which trainings a `compare` or a `grid` asks for: cells, arms and seeds, and which of them would be trained alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from precsearch.experiment import Experiment
from precsearch.experiment.cells import Arm, Layers, Point, arms_of, cells_of, combinations, joined, seeds_of
from precsearch.experiment.evaluate import EvaluateSettings, unmeasured
from precsearch.experiment.loading import apply_point
from precsearch.results import RunDirectory, TrainingRecord, read_training
from precsearch.study.alike import alike
from precsearch.study.seeds import arm_seeds, tuning_seeds

_START: Final = {"model.checkpoint": "weights.safetensors"}
CellLayers = Mapping[int, Layers]  # cell -> the layers that are quantized alone there


@dataclass(frozen=True)
class Training:
    """One training.

    Attributes:
        cell: its number.
        arm: what is trained.
        index: of the seed.
        seed: the same in every arm and cell.
        tried: which combination of what is tuned; None where it is not for the tuning.
    """

    cell: int
    arm: Arm
    index: int
    seed: int
    tried: int | None = None

    def folder(self, directory: RunDirectory) -> Path:
        """Where its files are."""
        if self.tried is None:
            return directory.training(self.cell, self.arm.label, self.index)
        return directory.tuning(self.cell, self.arm.label, self.tried, self.index)

    @property
    def name(self) -> str:
        """As observers are told it, beside the cell: ``uniform-02``, ``tuning/uniform-01-00``."""
        tried = "" if self.tried is None else f"-{self.tried:02d}"
        return f"{'' if self.tried is None else 'tuning/'}{self.arm.label}{tried}-{self.index:02d}"


@dataclass(frozen=True)
class ArmsPlan:
    """Everything that is trained.

    Attributes:
        cells: the point of each.
        arms: of each cell.
        seeds: of every arm.
        owners: (cell, label) -> the cell whose trainings are its own as well, since both would be trained alike.
        tried: every combination of what is tuned; none where nothing is.
        tuning: the trainings that tune.
        trainings: the others, seed by seed, so that whoever is interrupted has whole pairs; without those shared.
    """

    cells: tuple[Point, ...]
    arms: tuple[tuple[Arm, ...], ...]
    seeds: tuple[int, ...]
    owners: dict[tuple[int, str], int]
    tried: tuple[Point, ...]
    tuning: tuple[Training, ...]
    trainings: tuple[Training, ...]

    @property
    def passes(self) -> tuple[tuple[Training, ...], ...]:
        """What has to end before the next begins: the tuning, what others start from, those others."""
        first = tuple(each for each in self.trainings if each.arm.start is None)
        then = tuple(each for each in self.trainings if each.arm.start is not None)
        return tuple(each for each in (self.tuning, first, then) if each)

    @property
    def shared(self) -> int:
        """How many results are those of another cell's training."""
        return len(self.seeds) * sum(owner != cell for (cell, _), owner in self.owners.items())

    def sharing(self, training: Training) -> list[Training]:
        """The trainings of other cells that this one is trained for as well."""
        label = training.arm.label
        cells = [cell for (cell, other), owner in self.owners.items() if (other, owner) == (label, training.cell)]
        return [replace(training, cell=cell) for cell in cells if cell != training.cell]

    def started_by(self, training: Training) -> Training | None:
        """The training whose weights this one starts from; None where it starts as the experiment says."""
        label = training.arm.start
        if label is None:
            return None
        arm = next(arm for arm in self.arms[training.cell] if arm.label == label)
        return replace(training, cell=self.owners[training.cell, label], arm=arm)

    def results(self, directory: RunDirectory) -> Iterator[tuple[Training, TrainingRecord]]:
        """The trainings that have ended, those of the tuning first."""
        for training in (*self.tuning, *self.trainings):
            if (record := read_training(training.folder(directory))) is not None:
                yield training, record


def plan_arms(experiment: Experiment, layers: CellLayers | None = None) -> ArmsPlan:
    """Decide what to train; reads, and writes nothing.

    Args:
        experiment: of kind compare or grid.
        layers: that are quantized alone, of the cells where any are.
    """
    cells = cells_of(experiment)
    arms = [tuple(arms_of(experiment, (layers or {}).get(cell))) for cell in range(len(cells))]
    tune = experiment.compare.tune if experiment.compare is not None else None
    tried = combinations(tune.over) if tune is not None else []
    owners = _owners(experiment, cells, arms, tried[0] if tried else {})
    own = [(cell, arm) for cell in range(len(cells)) for arm in arms[cell] if owners[cell, arm.label] == cell]
    seeds = arm_seeds(experiment.study.seed, seeds_of(experiment))
    tuned_on = tuning_seeds(experiment.study.seed, tune.seeds if tune is not None else 0)
    return ArmsPlan(
        cells=tuple(cells),
        arms=tuple(arms),
        seeds=tuple(seeds),
        owners=owners,
        tried=tuple(tried),
        tuning=tuple(
            Training(cell, arm, index, seed, point)
            for index, seed in enumerate(tuned_on)
            for cell, arm in own
            for point in range(len(tried))
        ),
        trainings=tuple(Training(cell, arm, index, seed) for index, seed in enumerate(seeds) for cell, arm in own),
    )


def experiment_of(experiment: Experiment, plan: ArmsPlan, training: Training, tuned: Point) -> Experiment:
    """What one training trains.

    Args:
        experiment: of the run.
        plan: of it.
        training: of the plan.
        tuned: what was chosen for its arm in its cell; looked at where it does not tune itself.

    Raises:
        ConfigurationError: when the point is not allowed.
    """
    if training.tried is None:
        return arm_experiment(experiment, plan.cells[training.cell], training.arm, tuned)
    values = joined(plan.tried[training.tried], _no_more_than_chooses(experiment))
    return arm_experiment(experiment, plan.cells[training.cell], training.arm, values)


def _no_more_than_chooses(experiment: Experiment) -> Point:
    """What spares the tuning attacks, corruptions and all the rest, where the metric that chooses is none of it."""
    tune = experiment.compare.tune if experiment.compare is not None else None
    nothing = EvaluateSettings()
    spared = tune is not None and unmeasured(tune.metric, nothing) is None
    return {"evaluate": nothing.model_dump()} if spared else {}


def arm_experiment(experiment: Experiment, cell: Point, arm: Arm, tuned: Point) -> Experiment:
    """What an arm trains in a cell; a start is set by name alone, for its file is there only later."""
    return apply_point(experiment, joined(cell, arm.point, tuned, _START if arm.start is not None else {}))


def _owners(
    experiment: Experiment, cells: list[Point], arms: list[tuple[Arm, ...]], tuned: Point
) -> dict[tuple[int, str], int]:
    owners: dict[tuple[int, str], int] = {}
    first: dict[tuple[str, str, int | None], int] = {}
    for cell, point in enumerate(cells):
        for arm in arms[cell]:
            start = owners[cell, arm.start] if arm.start is not None else None
            key = arm.label, alike(arm_experiment(experiment, point, arm, tuned)), start
            owners[cell, arm.label] = first.setdefault(key, cell)
    return owners
