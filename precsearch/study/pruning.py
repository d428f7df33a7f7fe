"""Ending hopeless trials early with Optuna's pruners, compared only among trials of like budgets.

A trial that may spend two bits is worse at every epoch than one that may spend six, so one comparison over
all would prune the whole cheap end of the front. Here the searched range of the budget's limit is cut into
equal bands, and each band has an Optuna study of its own in memory. It has a single objective, the pruner's
metric, so it also serves studies of several objectives, where Optuna's own trials refuse to report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import optuna
from optuna.pruners import BasePruner
from optuna.study import StudyDirection
from optuna.trial import Trial, TrialState

from precsearch.errors import ConfigurationError
from precsearch.experiment import Experiment
from precsearch.results import Progress
from precsearch.space import CategoricalDimension, Dimension
from precsearch.study.arguments import build
from precsearch.study.feasibility import is_limit


@dataclass(frozen=True)
class PrunerKind:
    """A pruner by name: its class, what the YAML may pass on, and defaults for steps that are epochs."""

    make: Callable[..., BasePruner]
    arguments: tuple[str, ...]
    defaults: dict[str, Any] = field(default_factory=dict)


_RANKING: Final = ("n_startup_trials", "n_warmup_steps", "interval_steps", "n_min_trials")
PRUNERS: Final[dict[str, PrunerKind]] = {
    "median": PrunerKind(optuna.pruners.MedianPruner, _RANKING),
    "percentile": PrunerKind(optuna.pruners.PercentilePruner, ("percentile", *_RANKING), {"percentile": 25.0}),
    "asha": PrunerKind(
        optuna.pruners.SuccessiveHalvingPruner,
        ("min_resource", "reduction_factor", "min_early_stopping_rate", "bootstrap_count"),
        {"min_resource": 1},
    ),
    "hyperband": PrunerKind(
        optuna.pruners.HyperbandPruner,
        ("min_resource", "max_resource", "reduction_factor", "bootstrap_count"),
    ),
}


def make_pruning(experiment: Experiment) -> BandedPruning | None:
    """The pruning that `study.pruner:` asks for, checked; None where it asks for none.

    Raises:
        ConfigurationError: for an argument the pruner does not have.
    """
    settings = experiment.study.pruner
    if settings.name == "none":
        return None
    kind = PRUNERS[settings.name]
    arguments = {**kind.defaults, **(settings.model_extra or {})}

    def fresh() -> BasePruner:
        return build("study.pruner", settings.name, kind.make, arguments, kind.arguments)

    return BandedPruning(settings.name, fresh, settings.metric, settings.bands, experiment.space)


class BandedPruning:
    """One pruner for each band of budget limits.

    What it decides depends only on the trials told before, in order: telling them again after a resume brings
    it back to the same state.

    Args:
        name: of the pruner, for messages.
        fresh: makes a pruner.
        metric: compared at every step.
        bands: how many.
        space: what is searched; without the budget's limit in it there is one band.
    """

    def __init__(
        self,
        name: str,
        fresh: Callable[[], BasePruner],
        metric: str,
        bands: int,
        space: Mapping[str, Dimension],
    ) -> None:
        self.metric = metric
        self._name = name
        self._ranges = {
            path: bounds
            for path, dimension in space.items()
            if is_limit(path) and (bounds := _bounds(dimension)) is not None
        }
        self.bands = bands if self._ranges else 1
        direction = StudyDirection.MAXIMIZE if metric.endswith("accuracy") else StudyDirection.MINIMIZE
        self._studies = [
            # The name counts: Hyperband draws its brackets from it.
            optuna.create_study(
                study_name=f"band-{band}",
                direction=direction,
                pruner=fresh(),
                sampler=optuna.samplers.RandomSampler(seed=0),
            )
            for band in range(self.bands)
        ]
        self._shadows: dict[int, tuple[int, Trial, set[int]]] = {}

    def band(self, params: Mapping[str, Any]) -> int:
        """The band, from 0, of a point's limit; the limits of several targets count by their mean place."""
        places = [
            (float(params[path]) - low) / (high - low) for path, (low, high) in self._ranges.items() if path in params
        ]
        if not places:
            return 0
        place = sum(places) / len(places)
        return min(max(int(place * self.bands), 0), self.bands - 1)

    def begin(self, number: int, params: Mapping[str, Any], told: Mapping[int, float]) -> str | None:
        """Enter a trial into its band, with what it reported before a resume.

        Returns:
            The reason to prune it now, where it was killed between its last report and its end.
        """
        band = self.band(params)
        self._shadows[number] = (band, self._studies[band].ask(), set())
        reason = None
        for step in sorted(told):
            reason = self.report(number, step, told[step])
        return reason

    def value(self, progress: Progress) -> float:
        """The metric to compare.

        Raises:
            ConfigurationError: when the trial does not report it.
        """
        if self.metric not in progress.metrics:
            raise ConfigurationError(
                f"study.pruner: a metric reported at every epoch must be named, but got {self.metric!r}; "
                f"this trial reports {', '.join(sorted(progress.metrics))}"
            )
        return progress.metrics[self.metric]

    def report(self, number: int, step: int, value: float) -> str | None:
        """Note a trial's value at a step, and say why to prune it, or None.

        A step that was told before (a resume repeats some) changes nothing.
        """
        band, shadow, steps = self._shadows[number]
        if step in steps:
            return None
        steps.add(step)
        shadow.report(value, step)
        if not shadow.should_prune():
            return None
        where = f" in budget band {band + 1} of {self.bands}" if self.bands > 1 else ""
        return f"pruned by {self._name}{where} at step {step}: {self.metric} {value:.6g}"

    def follow(self, number: int, params: Mapping[str, Any], told: Mapping[int, float], state: TrialState) -> None:
        """Note a trial that another driver trains: what it has told so far, and whether it ended."""
        if number not in self._shadows:
            if not told and not state.is_finished():  # its point may not be drawn to its end yet
                return
            self.begin(number, params, told)
        else:
            for step in sorted(told):
                self.report(number, step, told[step])
        if state.is_finished():
            self.finish(number, state)

    def finish(self, number: int, state: TrialState) -> None:
        """Close a trial in its band, so that later ones are compared with it."""
        if number not in self._shadows:
            return
        band, shadow, _ = self._shadows.pop(number)
        value = 0.0 if state == TrialState.COMPLETE else None  # never looked at: pruners compare by step
        self._studies[band].tell(shadow, value, state=state)


def _bounds(dimension: Dimension) -> tuple[float, float] | None:
    """Lowest and highest value of a numeric dimension, None where they do not span a range."""
    if isinstance(dimension, CategoricalDimension):
        numbers = [float(choice) for choice in dimension.choices if isinstance(choice, int | float)]
        if len(numbers) < len(dimension.choices):
            return None
        low, high = min(numbers), max(numbers)
    else:
        low, high = float(dimension.low), float(dimension.high)
    return (low, high) if high > low else None
