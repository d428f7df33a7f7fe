"""What one run came to, in a few figures; and what a reader must know before all else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from precsearch.allocation import FLOAT_BITS
from precsearch.report import words

if TYPE_CHECKING:
    from precsearch.allocation import Allocation
    from precsearch.report.reading import RunData
    from precsearch.report.view import Member
    from precsearch.results import RunDirectory


@dataclass(frozen=True)
class Tile:
    """One key figure: its name, its value, and what it is to be held against."""

    name: str
    value: str
    beside: str


@dataclass(frozen=True)
class RunPart:
    """One run on the page.

    Attributes:
        label: tells it from the others.
        path: of its directory.
        outcome: how its trials ended, one sentence.
        tiles: key figures; none before a trial of the front has ended.
        yaml: the resolved experiment as it is written.
        environment: versions and machine, by name.
    """

    label: str
    path: str
    outcome: str
    tiles: tuple[Tile, ...]
    yaml: str
    environment: tuple[tuple[str, str], ...]


def run_part(run: RunData) -> RunPart:
    """The run's part of the page."""
    best = run.view.best
    return RunPart(
        label=run.label,
        path=str(run.view.run.path),
        outcome=_outcome(run),
        tiles=_tiles(run, best) if best is not None else (),
        yaml=run.view.run.experiment.read_text(encoding="utf-8"),
        environment=environment_of(run.view.run),
    )


def unfinished(run: RunData) -> bool:
    """Whether trials are still to come, or baselines beside the front of a search that goes on.

    Drivers that share a study train baselines beside their own trials only: there the trials alone count.
    """
    if len(run.view.trials) < _wanted(run):
        return True
    if run.experiment.study.storage is not None:
        return False
    ended = {(record.number, record.baseline) for record in run.view.baselines}
    best = run.view.best.record.number if run.view.best is not None else None
    return any(
        (member.record.number, kind) not in ended
        for member in run.view.front
        for kind in run.experiment.study.beside(member.record.number == best)
    )


def notes(runs: Sequence[RunData]) -> tuple[str, ...]:
    """What is not finished, and what cannot be compared."""
    found = [_open_note(run, len(runs) > 1) for run in runs if unfinished(run)]
    objectives = {_objectives(run) for run in runs}
    if len(objectives) > 1:
        told = "; ".join(f"{run.label}: {_objectives(run)}" for run in runs)
        found.append(
            f"These runs searched for different things ({told}), so their fronts and best trials are not comparable; "
            "metrics of the same name are."
        )
    data = {(run.experiment.data.name, run.experiment.data.validation) for run in runs}
    if len(data) > 1:
        found.append(
            "These runs did not measure on the same images (another data set, or another validation split): "
            "their accuracies are not comparable."
        )
    return tuple(found)


def _open_note(run: RunData, several: bool) -> str:
    done, wanted = len(run.view.trials), _wanted(run)
    name = f"{run.label} is" if several else "This run is"
    missing = f"{done} of {words.count(wanted, 'trial')} have ended" if done < wanted else "baselines are still to come"
    return (
        f"{name} not finished: {missing}, and what follows may change. While the run goes on this page is written "
        "anew now and then; it loads itself again every 30 s."
    )


def _wanted(run: RunData) -> int:
    """The trials asked for; of a grid no more than it has points."""
    study = run.experiment.study
    if study.sampler.name != "grid" or len(run.view.trials) >= study.n_trials:
        return study.n_trials
    from precsearch.study.samplers import make_sampler, most_trials

    return most_trials(make_sampler(run.experiment), study.n_trials)


def _objectives(run: RunData) -> str:
    return ", ".join(f"{each.direction} {each.metric}" for each in run.experiment.study.objectives)


def _outcome(run: RunData) -> str:
    counts = run.view.counts
    parts = [f"{counts['complete']} complete"]
    parts += [f"{counts[state]} {state}" for state in ("pruned", "failed") if counts[state]]
    seconds = sum(record.seconds for record in run.view.trials + run.view.baselines)
    trials = words.count(len(run.view.trials), "trial")
    model = run.experiment.model.name
    return (
        f"{model} on {run.experiment.data.name}: {trials}, {', '.join(parts)}; "
        f"{words.duration(seconds)} of training with the baselines. Searched for: {_objectives(run)}."
    )


def _tiles(run: RunData, best: Member) -> tuple[Tile, ...]:
    rule = "the knee of the front" if len(run.experiment.study.objectives) > 1 else "by its objective"
    bits = words.allocation_average_bits(best.allocation, best.metrics)
    found = [Tile("Best trial", str(best.record.number), f"{rule}; mean bits of weights/activations {bits}")]
    if (accuracy := best.metrics.get("validation_accuracy")) is not None:
        beside = [
            f"{member.record.baseline} {100 * other:.2f} %"
            for member in best.baselines
            if (other := member.metrics.get("validation_accuracy")) is not None
        ]
        found.append(Tile("Validation accuracy", f"{100 * accuracy:.2f} %", ", ".join(beside) or "one training"))
    if (test := best.metrics.get("test_accuracy")) is not None:
        found.append(Tile("Test accuracy", f"{100 * test:.2f} %", "read once, nothing is chosen by it"))
    if best.allocation is not None:
        found += _costs(best.allocation)
    return tuple(found)


def _costs(allocation: Allocation) -> list[Tile]:
    """Size and BitOPs, against the same network with nothing quantized."""
    own = [layer for layer in allocation.layers if layer.tied_to is None]
    saved = sum(layer.numel * (FLOAT_BITS - (layer.bits("weight") or FLOAT_BITS)) for layer in own) / 8
    cost = allocation.cost
    float_bitops = sum(layer.macs for layer in allocation.layers) * FLOAT_BITS**2
    return [
        _cost("Model size", cost.model_size, cost.model_size + saved, "B"),
        _cost("BitOPs per image", cost.bitops, float_bitops, ""),
    ]


def _cost(name: str, value: float, in_float: float, unit: str) -> Tile:
    times = f", {in_float / value:.3g} times as much" if value else ""
    return Tile(
        name, f"{words.prefixed(value)}{unit}".strip(), f"float32: {words.prefixed(in_float)}{unit}".strip() + times
    )


def environment_of(run: RunDirectory) -> tuple[tuple[str, str], ...]:
    """Versions and machine by name; nothing where the file is not there."""
    path = run.environment
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        packages = {name: str(version) for name, version in dict(found.pop("packages", {})).items()}
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, TypeError, AttributeError) as error:
        return (("environment.json", f"cannot be read: {error}"),)
    command = found.get("command")
    if isinstance(command, list):
        found["command"] = " ".join(map(str, command))
    return tuple((name, str(value)) for name, value in (packages | found).items())
