"""One training of a run directory, finished or not, with what stands beside it; nothing here writes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from precsearch.allocation import FLOAT_BITS, Allocation
from precsearch.errors import ConfigurationError
from precsearch.experiment.loading import for_searches, load_experiment
from precsearch.measured import read_evaluation
from precsearch.report.view import read_allocation, read_run
from precsearch.report.watch import title
from precsearch.results import RunDirectory, TrialRecord, read_record, read_steps, read_training

if TYPE_CHECKING:
    from precsearch.experiment import Experiment
    from precsearch.measured import Evaluation
    from precsearch.report.view import RunView
    from precsearch.results import Progress

_BYTE = 8  # bits


@dataclass(frozen=True)
class Shown:
    """A trial, or a baseline beside one.

    Attributes:
        run: its run directory.
        experiment: of the run.
        number: of the trial.
        baseline: its kind; None for the trial itself.
        record: how it ended; None where it has not.
        metrics: what was measured; after its last epoch where it is not complete.
        allocation: its bits; None where it is not complete, or its file was not copied.
        evaluation: what `evaluate:` measured of it; None where there is none.
        steps: its epochs.
        best: whether it is the run's best trial.
        on_front: whether it is on the run's front.
        beside: the complete trainings of the same number: the trial, its baselines; empty within `beside`.
        at: its folder, where it is an arm's training; found by number and baseline where None.
    """

    run: RunDirectory
    experiment: Experiment
    number: int
    baseline: str | None
    record: TrialRecord | None
    metrics: dict[str, float]
    allocation: Allocation | None
    evaluation: Evaluation | None
    steps: tuple[Progress, ...]
    best: bool = False
    on_front: bool = False
    beside: tuple[Shown, ...] = ()
    at: Path | None = None

    @property
    def state(self) -> str:
        """``complete``, ``pruned`` or ``failed``; ``not ended`` where it runs, or was interrupted."""
        return self.record.state if self.record is not None else "not ended"

    @property
    def arm(self) -> str:
        """``found`` for a trial, else the kind of baseline."""
        return self.baseline or "found"

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.at or _folder(self.run, self.number, self.baseline)

    @property
    def title(self) -> str:
        """`trial 3`, `uniform beside trial 3`, `training 0003-uniform-02`."""
        return title(self.number, self.baseline) if self.at is None else f"training {self.at.name}"

    def to_dict(self) -> dict[str, Any]:
        """As one JSON object; `precsearch show --json` prints it.

        Keys: ``run``, ``name``, ``trial``, ``baseline`` (null for a trial), ``state``, ``best``, ``on_front``,
        ``record`` (`TrialRecord`, or null), ``metrics``, ``float32`` (costs in float32), ``allocation``,
        ``evaluation``, ``steps`` (a list of `Progress`), and ``beside``: by kind ``metrics``, ``allocation`` and
        ``evaluation`` of the others of the same number.
        """
        return {
            "run": str(self.run.path),
            "name": self.experiment.name,
            "trial": self.number,
            "baseline": self.baseline,
            "state": self.state,
            "best": self.best,
            "on_front": self.on_front,
            "record": self.record.model_dump(mode="json") if self.record else None,
            **self._measured(),
            "float32": float_costs(self.allocation) if self.allocation else {},
            "steps": [step.model_dump(mode="json") for step in self.steps],
            "beside": {each.arm: each._measured() for each in self.beside},
        }

    def _measured(self) -> dict[str, Any]:
        return {
            "metrics": self.metrics,
            "allocation": self.allocation.model_dump(mode="json") if self.allocation else None,
            "evaluation": self.evaluation.model_dump(mode="json") if self.evaluation else None,
        }


def read_shown(run: RunDirectory, trial: int | None, baseline: str | None) -> Shown:
    """Read one training of a run directory.

    Args:
        run: finished or not, moved or not.
        trial: its number; the best one's where None.
        baseline: the kind of baseline beside it; the trial itself where None.

    Raises:
        ConfigurationError: when there is none such; says which there are.
        RunDirectoryError: when it is no run directory, or a file cannot be read.
    """
    for_searches(run, "show", "name one with --training")
    view = read_run(run)
    numbers = _numbers(run.path / "trials")
    if trial is None:
        trial = _best(view, numbers)
    there = {each.name.partition("-")[2] for each in run.path.glob(f"baselines/{trial:04d}-*/")}
    named = [str(kind) for kind in view.experiment.study.baselines]
    kinds = [*(kind for kind in named if kind in there), *sorted(there.difference(named))]
    if trial not in numbers and not kinds:
        raise ConfigurationError(
            f"a trial of {run.path} must be named, but got --trial {trial}; there {_there_are(numbers)}"
        )
    if baseline is not None and baseline not in kinds:
        has = ", ".join(kinds) or "none; they are trained beside the front when all trials have ended"
        raise ConfigurationError(
            f"a baseline beside trial {trial} must be named, but got --baseline {baseline}; it has {has}"
        )
    arms: list[str | None] = [*([None] if trial in numbers else []), *kinds]
    read = {arm: _read(view, trial, arm) for arm in arms}
    wanted = read.pop(baseline if trial in numbers or baseline is not None else kinds[0])
    return replace(wanted, beside=tuple(each for each in read.values() if each.state == "complete"))


def read_training_shown(run: RunDirectory, name: str) -> Shown:
    """Read one training of a `compare` or a `grid`.

    Args:
        run: finished or not, moved or not.
        name: of its folder, such as ``0003-uniform-02``.

    Raises:
        ConfigurationError: when there is none such; names the nearest.
        RunDirectoryError: when it is no run directory, or a file cannot be read.
    """
    folder = run.find_training(name)
    record, steps = read_training(folder), read_steps(folder)
    complete = record is not None and record.state == "complete"
    last = dict(steps[-1].metrics) if steps else {}
    return Shown(
        run=run,
        experiment=load_experiment(run.experiment),
        number=int(name.partition("-")[0]),
        baseline=record.label if record is not None else name.partition("-")[2].rpartition("-")[0],
        record=record,
        metrics=record.metrics if record is not None and complete else last,
        allocation=read_allocation(folder) if complete else None,
        evaluation=read_evaluation(folder),
        steps=steps,
        at=folder,
    )


def float_costs(allocation: Allocation) -> dict[str, float]:
    """What the network costs in float32: metric -> value, for the metrics that follow from the layers alone.

    Scales, a few bytes a layer, are counted though float32 needs none.
    """
    own = [layer for layer in allocation.layers if layer.tied_to is None]
    more = sum(layer.numel * FLOAT_BITS // _BYTE - _packed(layer.numel, layer.bits()) for layer in own)
    bits = {f"average_bits_{target}": float(FLOAT_BITS) for target in allocation.cost.average_bits}
    return {
        **bits,
        "average_bits": float(FLOAT_BITS),
        "model_size": float(allocation.cost.model_size + more),
        "bitops": float(sum(layer.macs for layer in allocation.layers) * FLOAT_BITS**2),
    }


def _packed(numel: int, bits: int | None) -> int:
    return math.ceil(numel * (bits or FLOAT_BITS) / _BYTE)


def _read(view: RunView, number: int, baseline: str | None) -> Shown:
    folder = _folder(view.run, number, baseline)
    record, steps = read_record(folder), read_steps(folder)
    complete = record is not None and record.state == "complete"
    last = dict(steps[-1].metrics) if steps else {}
    return Shown(
        run=view.run,
        experiment=view.experiment,
        number=number,
        baseline=baseline,
        record=record,
        metrics=_metrics(view, record) if record is not None and complete else last,
        allocation=read_allocation(folder) if complete else None,
        evaluation=read_evaluation(folder),
        steps=steps,
        best=baseline is None and view.best is not None and view.best.record.number == number,
        on_front=baseline is None and any(member.record.number == number for member in view.front),
    )


def _metrics(view: RunView, record: TrialRecord) -> dict[str, float]:
    """Its metrics, with those on the test split that an older run keeps with its front alone."""
    rows = (row for member in view.front for row in (member, *member.baselines))
    return next((row.metrics for row in rows if row.record == record), record.metrics)


def _folder(run: RunDirectory, number: int, baseline: str | None) -> Path:
    return run.trial(number) if baseline is None else run.baseline(number, baseline)


def _numbers(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in folder.glob("*/") if path.name.isdecimal())


def _best(view: RunView, numbers: list[int]) -> int:
    if view.best is None:
        kept = " and keeps the constraints" if view.experiment.study.constraints else ""
        raise ConfigurationError(
            f"no trial of {view.run.path} is complete{kept}, so none is the best; name one with --trial: "
            f"there {_there_are(numbers)}"
        )
    return view.best.record.number


def _there_are(numbers: list[int]) -> str:
    return f"are {', '.join(_ranges(numbers))}" if numbers else "are none yet"


def _ranges(numbers: list[int]) -> Iterator[str]:
    """``0 to 3``, ``7``: runs of neighbours."""
    starts = [number for number in numbers if number - 1 not in numbers]
    ends = [number for number in numbers if number + 1 not in numbers]
    yield from (f"{a}" if a == b else f"{a} to {b}" for a, b in zip(starts, ends, strict=True))
