"""A trial of a study that somebody else made and owns: what it is asked, and the little that it is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import optuna
from optuna.trial import BaseTrial, Trial

from precsearch.allocation import Allocation
from precsearch.errors import AllocationError, ConfigurationError, TrialStopped
from precsearch.experiment import Experiment, StudySettings
from precsearch.results import Progress
from precsearch.space import Dimension, suggest
from precsearch.study.telling import bits_text, excesses

if TYPE_CHECKING:
    from optuna.artifacts._protocol import ArtifactStore

_METRICS: Final = "precsearch:metrics"
_ALLOCATION: Final = "precsearch:allocation"
_BITS: Final = "precsearch:bits"
_SEED: Final = "precsearch:seed"
_REASON: Final = "precsearch:fail_reason"


class HostedTrial:
    """A trial as its study hands it to an objective.

    Args:
        trial: of Optuna; a `FixedTrial` and a `FrozenTrial` will do.
        prefix: put before the name of every parameter.
    """

    def __init__(self, trial: BaseTrial, prefix: str) -> None:
        self.number = trial.number
        self._trial = trial
        self._prefix = prefix

    def check_directions(self, experiment: Experiment) -> None:
        """Check that the trial's study wants what the experiment measures; a `FixedTrial` has no study.

        Raises:
            ConfigurationError: names the directions of both.
        """
        study: optuna.Study | None = getattr(self._trial, "study", None)
        if study is None:
            return
        there = [direction.name.lower() for direction in study.directions]
        objectives = experiment.study.objectives
        wanted = [objective.direction for objective in objectives]
        if there != wanted:
            named = ", ".join(f"{objective.metric}: {objective.direction}" for objective in objectives)
            raise ConfigurationError(
                "the study must have the directions of the experiment's objectives, in their order, but study "
                f"{study.study_name!r} has {there}, and experiment {experiment.name!r} has [{named}]; "
                f"create the study with directions={wanted}, or change `study.objectives` of the experiment"
            )

    def suggest(self, space: Mapping[str, Dimension]) -> dict[str, Any]:
        """Ask for a point -> dotted path -> value, the paths without the prefix."""
        return suggest(_Prefixed(self._trial, self._prefix), space)

    def note_seed(self, seed: int) -> None:
        """Say what the training is seeded with."""
        self._trial.set_user_attr(_SEED, seed)

    def note_failure(self, reason: str) -> None:
        """Say why the trial failed."""
        self._trial.set_user_attr(_REASON, reason)

    def report(self, progress: Progress, metric: str) -> None:
        """Show an epoch, where `metric` is measured at epochs, and ask the study's pruner.

        Raises:
            TrialStopped: when the pruner says so.
        """
        value = progress.metrics.get(metric)
        if value is None:
            return
        self._trial.report(value, progress.step)
        if self._trial.should_prune():
            raise TrialStopped(f"pruned at epoch {progress.step} of {progress.steps}: {metric} {value:.6g}")

    def attach(self, study: StudySettings, metrics: dict[str, float], allocation: Allocation) -> None:
        """Set the constraints, and say what was measured and found."""
        there = self._trial.constraints  # a trial that is trained again has them
        for name, amount in excesses(study.constraints, metrics).items():
            if name not in there:
                self._trial.set_constraint(name, amount)
        self._trial.set_user_attr(_METRICS, metrics)
        self._trial.set_user_attr(_ALLOCATION, allocation.model_dump(mode="json"))
        self._trial.set_user_attr(_BITS, bits_text(allocation))

    def upload(self, store: ArtifactStore, file: Path) -> None:
        """Give the trial a file; only one that its study is running can take any."""
        if isinstance(self._trial, Trial):
            optuna.artifacts.upload_artifact(artifact_store=store, file_path=str(file), study_or_trial=self._trial)


def attached_allocation(trial: BaseTrial) -> Allocation:
    """The allocation that `attach` left with a trial.

    Raises:
        AllocationError: when there is none.
    """
    if _ALLOCATION not in trial.user_attrs:
        why = trial.user_attrs.get(_REASON, "it was pruned, has not ended, or is of another objective")
        raise AllocationError(
            f"a trial that found an allocation must be given, but trial {trial.number} has none: {why}"
        )
    return Allocation.from_json(json.dumps(trial.user_attrs[_ALLOCATION]))


class _Prefixed:
    """A trial that is asked by other names."""

    def __init__(self, trial: BaseTrial, prefix: str) -> None:
        self._trial = trial
        self._prefix = prefix

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return self._trial.suggest_float(self._prefix + name, low, high, step=step, log=log)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return self._trial.suggest_int(self._prefix + name, low, high, step=step, log=log)

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return self._trial.suggest_categorical(self._prefix + name, choices)
