"""Words into the study: progress, constraints, values, states. A kill may have each said twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.trial import FrozenTrial, Trial

from precsearch.allocation import Allocation, Target
from precsearch.experiment import ConstraintSettings, StudySettings
from precsearch.results import Progress, TrialRecord, TrialState
from precsearch.study.artifacts import leave_artifacts
from precsearch.study.ledger import Ledger

STATES: Final[dict[TrialState, optuna.trial.TrialState]] = {
    "complete": optuna.trial.TrialState.COMPLETE,
    "pruned": optuna.trial.TrialState.PRUNED,
    "failed": optuna.trial.TrialState.FAIL,
}
_METRICS: Final = "metrics"
_PROGRESS: Final = "progress"  # user attribute: step -> the pruner's metric
_REASON: Final = {"pruned": "prune_reason", "failed": "fail_reason"}


def told_progress(attributes: dict[str, Any]) -> dict[int, float]:
    """Step -> the pruner's metric, as a trial's user attributes keep it."""
    return {int(step): value for step, value in attributes.get(_PROGRESS, {}).items()}


def told_record(frozen: FrozenTrial, seed: int) -> TrialRecord:
    """What the study alone knows of a trial that ended."""
    state = next(name for name, told in STATES.items() if told == frozen.state)
    reasons = (frozen.user_attrs[key] for key in _REASON.values() if key in frozen.user_attrs)
    return TrialRecord(
        number=frozen.number,
        state=state,
        params=frozen.params,
        seed=seed,
        metrics=frozen.user_attrs.get(_METRICS, {}),
        reason=None if state == "complete" else str(next(reasons, "unknown")),
    )


def excesses(constraints: Iterable[ConstraintSettings], metrics: Mapping[str, float]) -> dict[str, float]:
    """Bound, such as ``model_size <= 100000.0`` -> by how much it is broken; at most 0 where it is kept."""
    beyond = {}
    for constraint in constraints:
        value = metrics[constraint.metric]
        if constraint.max is not None:
            beyond[f"{constraint.metric} <= {constraint.max}"] = value - constraint.max
        if constraint.min is not None:
            beyond[f"{constraint.metric} >= {constraint.min}"] = constraint.min - value
    return beyond


def bits_text(allocation: Allocation) -> str:
    """``conv1 4/5, fc1 2/f``: weight / activation bits, f for float32; one number where only weights have any."""
    targets: tuple[Target, ...] = ("weight", "activation")
    if not any("activation" in layer.targets for layer in allocation.layers):
        targets = targets[:1]
    return ", ".join(
        f"{layer.name} {'/'.join(str(layer.bits(target) or 'f') for target in targets)}" for layer in allocation.layers
    )


class LiveTrial:
    """A running trial, new or continued: what was told of it, and how to tell more.

    Args:
        trial: Optuna's.
        ledger: it belongs to.
        study: objectives and constraints.
    """

    def __init__(self, trial: Trial, ledger: Ledger, study: StudySettings) -> None:
        self.progress = told_progress(trial.user_attrs)
        self._trial = trial
        self._ledger = ledger
        self._study = study
        self._shown: set[int] | None = None  # of several objectives Optuna takes no reports
        if len(study.objectives) == 1:
            self._shown = set(ledger.frozen(trial.number).intermediate_values)

    def show(self, progress: Progress) -> None:
        """Give optuna-dashboard its curves."""
        value = progress.metrics.get(self._study.objectives[0].metric)
        if self._shown is not None and value is not None and progress.step not in self._shown:
            self._shown.add(progress.step)
            self._trial.report(value, progress.step)

    def note(self, step: int, value: float) -> None:
        """Keep what the pruner compares, for whoever continues the study; a resume repeats steps."""
        if step not in self.progress:
            self.progress[step] = value
            self._trial.set_user_attr(_PROGRESS, {str(each): told for each, told in self.progress.items()})

    def end(self, record: TrialRecord, folder: Path) -> None:
        """Tell how the trial ended, and for people what bits `folder` holds: the file outlives the process."""
        values = None
        if record.state == "complete":
            self._constrain(record)
            self._trial.set_user_attr(_METRICS, record.metrics)
            if (found := folder / "allocation.json").is_file():
                self._trial.set_user_attr("bits", bits_text(Allocation.from_json(found)))
            if "optuna-dashboard" in self._study.viewers:
                leave_artifacts(self._trial, folder.parents[1], folder)  # not once it has ended
            values = [record.metrics[objective.metric] for objective in self._study.objectives]
        else:
            self._trial.set_user_attr(_REASON[record.state], record.reason)
        self._ledger.study.tell(self._trial, values, state=STATES[record.state])

    def _constrain(self, record: TrialRecord) -> None:
        there = self._trial.constraints
        for name, amount in excesses(self._study.constraints, record.metrics).items():
            if name not in there:
                self._trial.set_constraint(name, amount)
