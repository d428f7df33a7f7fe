"""A look at the arms before any is trained: whether each can be, what it would do, which layers there are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from precsearch.errors import AllocationError, ConfigurationError, RunDirectoryError
from precsearch.experiment import Experiment
from precsearch.experiment.cells import Arm, Layers, Point, arms_of, cells_of, has_layers, joined
from precsearch.experiment.loading import apply_point
from precsearch.files import json_text, write_if_other
from precsearch.plans import TrialPlan
from precsearch.results import RunDirectory
from precsearch.study.alike import alike
from precsearch.study.arms.plan import ArmsPlan, CellLayers, plan_arms
from precsearch.study.executors.base import Executor
from precsearch.study.viewers import check_viewers


@dataclass(frozen=True)
class ArmsLook:
    """What is known before any training.

    Attributes:
        plan: all trainings.
        layers: that are quantized alone, of the cells where any are.
        trials: (cell, label) -> what its trainings would do; those of layers alone are left out.
    """

    plan: ArmsPlan
    layers: CellLayers
    trials: Mapping[tuple[int, str], TrialPlan]


def look_at_arms(experiment: Experiment, executor: Executor) -> ArmsLook:
    """Look at every arm where it would be trained; nothing is trained or written.

    Raises:
        PrecsearchError: what a training would raise; names the arm and the cell, unless data is missing.
    """
    check_viewers(experiment)
    layers = layers_of(experiment, executor)
    plan = plan_arms(experiment, layers)
    seen: dict[str, TrialPlan] = {}
    trials = {}
    for cell, arms in enumerate(plan.arms):
        for arm in arms:
            if arm.layer is not None:
                continue
            at = _before(experiment, plan.cells[cell], arm, plan.tried[0] if plan.tried else {})
            key = alike(at)
            if key not in seen:
                seen[key] = _inspect(executor, at, arm.label, plan.cells[cell])
            trials[cell, arm.label] = seen[key]
    return ArmsLook(plan, layers, trials)


def layers_of(experiment: Experiment, executor: Executor) -> CellLayers:
    """The layers that are quantized alone, of every cell where any are; asked where trainings would run."""
    found: dict[int, Layers] = {}
    for cell, point in enumerate(cells_of(experiment)):
        if has_layers(experiment, point):
            quantized = next(arm for arm in arms_of(experiment) if arm.bits is not None)
            at = _before(experiment, point, quantized)
            found[cell] = _alone(_inspect(executor, at, quantized.label, point))
    return found


def read_layers(directory: RunDirectory) -> CellLayers | None:
    """What `write_layers` wrote; None where it did not.

    Raises:
        RunDirectoryError: when the file cannot be read.
    """
    try:
        document = json.loads(directory.layers.read_text(encoding="utf-8"))
        return {int(cell): {name: tuple(others) for name, others in own.items()} for cell, own in document.items()}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise RunDirectoryError(
            f"cannot read {directory.layers}: {error}; delete the file to have it made again"
        ) from None


def write_layers(directory: RunDirectory, layers: CellLayers) -> None:
    """Note the layers, so that a run directory says what it is to hold without building a network."""
    if layers:
        write_if_other(directory.layers, json_text({str(cell): own for cell, own in layers.items()}))


def _before(experiment: Experiment, cell: Point, arm: Arm, tuned: Point | None = None) -> Experiment:
    """What an arm trains, but from a start that is there already, and so with the experiment's own epochs."""
    epochs = {"inner.epochs": experiment.inner.epochs.model_dump()} if arm.start is not None else {}
    return apply_point(experiment, joined(cell, arm.point, tuned or {}, epochs))


def _inspect(executor: Executor, at: Experiment, label: str, cell: Point) -> TrialPlan:
    try:
        return executor.inspect(at)
    except (ConfigurationError, AllocationError) as error:
        where = f" at {', '.join(f'{path}={value}' for path, value in cell.items())}" if cell else ""
        raise type(error)(f"arm {label!r}{where}: {error}") from None


def _alone(plan: TrialPlan) -> Layers:
    """Each layer of which anything is quantized -> all others; layers with tied weights are one."""
    owner = {layer.name: layer.tied_to or layer.name for layer in plan.layers}
    quantized = {
        layer.name
        for layer in plan.layers
        if layer.tied_to is None and any(own.decided == "searched" for own in layer.targets.values())
    }
    return {
        layer.name: tuple(other for other in owner if owner[other] != layer.name)
        for layer in plan.layers
        if layer.name in quantized
    }
