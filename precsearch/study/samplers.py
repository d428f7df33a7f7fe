"""Optuna's samplers, made repeatable: a draw is a function of the study's seed, the trial and its history.

Optuna's samplers carry a random stream from draw to draw, so a study that was killed and continued draws
other values than one that ran through, and seeding again repeats the first points. Here each draw of each
trial asks a fresh sampler with a seed of its own. A trial that was killed between two parameters gets the
same remaining ones, and neither a resume nor the order in which trials end shifts a stream.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from precsearch.errors import ConfigurationError
from precsearch.experiment import Experiment
from precsearch.space import Dimension, grid, suggest
from precsearch.study.arguments import build
from precsearch.study.seeds import derive_seed, place_of

Space = Mapping[str, Dimension]
MOST_GRID_POINTS: Final = 100_000


@dataclass(frozen=True)
class SamplerKind:
    """A sampler by name.

    Attributes:
        make: its class.
        arguments: what the YAML may pass on; nothing that Optuna calls experimental or deprecated.
        defaults: from the experiment, where Optuna's own are made for hundreds of trials.
    """

    make: Callable[..., BaseSampler]
    arguments: tuple[str, ...] = ()
    defaults: Callable[[Experiment], dict[str, Any]] = lambda experiment: {}


def concurrent(experiment: Experiment) -> bool:
    """Whether trials may be asked for while others run."""
    several = experiment.executor.name == "ray" and experiment.executor.max_concurrent != 1
    return several or experiment.study.storage is not None


def _startup(experiment: Experiment) -> dict[str, Any]:
    """Random points before the model: two a dimension; never of n_trials, which may grow later."""
    return {"n_startup_trials": min(10, max(4, 2 * len(experiment.space)))}


def _tpe(experiment: Experiment) -> dict[str, Any]:
    # One trial at a time needs no lies about running ones, and saves a journal line a trial.
    return {**_startup(experiment), "constant_liar": concurrent(experiment)}


SAMPLERS: Final[dict[str, SamplerKind]] = {
    "tpe": SamplerKind(
        optuna.samplers.TPESampler,
        ("n_startup_trials", "n_ei_candidates", "multivariate", "constant_liar"),
        _tpe,
    ),
    "random": SamplerKind(optuna.samplers.RandomSampler),
    "gp": SamplerKind(optuna.samplers.GPSampler, ("n_startup_trials",), _startup),
    "nsga2": SamplerKind(
        optuna.samplers.NSGAIISampler,
        ("population_size", "mutation_prob", "crossover_prob", "swapping_prob"),
        lambda experiment: {"population_size": 10},
    ),
}


def make_sampler(experiment: Experiment) -> BaseSampler:
    """The sampler that `study.sampler:` names, checked.

    Raises:
        ConfigurationError: for an argument the sampler does not have, or a grid that is too large.
    """
    settings, seed = experiment.study.sampler, experiment.study.seed
    given = dict(settings.model_extra or {})
    if settings.name == "grid":
        build("study.sampler", "grid", dict, given, ())
        return GridSampler(experiment.space, seed, len(experiment.study.enqueue))
    kind = SAMPLERS[settings.name]
    arguments = {**kind.defaults(experiment), **given}

    def fresh(seed: int) -> BaseSampler:
        return kind.make(seed=seed, **arguments)

    build("study.sampler", settings.name, partial(kind.make, seed=0), arguments, kind.arguments)
    return RepeatableSampler(fresh, seed)


class RepeatableSampler(BaseSampler):
    """Asks a fresh sampler for every draw of a trial.

    Args:
        fresh: seed -> sampler.
        seed: of the study.
    """

    def __init__(self, fresh: Callable[[int], BaseSampler], seed: int) -> None:
        self._fresh = fresh
        self._seed = seed
        self._steady = fresh(0)  # for what draws nothing: making a sampler takes a third of a millisecond

    def _of(self, trial: FrozenTrial, draw: str) -> BaseSampler:
        return self._fresh(derive_seed(self._seed, place_of(trial), draw))

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Prepare a trial; done again when it is continued."""
        self._steady.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters that are drawn together."""
        return self._steady.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw the parameters that are drawn together."""
        sampler = self._of(trial, "relative")
        sampler.infer_relative_search_space(study, trial)  # some keep what they find for the draw
        return sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw one parameter, from a stream of its own."""
        sampler = self._of(trial, param_name)
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Let the sampler note how a trial ended."""
        self._steady.after_trial(study, trial, state, values)


class GridSampler(BaseSampler):
    """Every point of the grid once, in an order shuffled by the study's seed.

    Optuna's own counts inactive conditional parameters as different points, refuses enqueued points that
    leave a parameter open, and raises at the last point when it is asked and told.

    Args:
        space: what is searched.
        seed: of the study.
        enqueued: trials that come before the grid's first point.

    Raises:
        ConfigurationError: when a dimension has no grid, or the grid is too large to walk.
    """

    def __init__(self, space: Space, seed: int, enqueued: int) -> None:
        values = grid(space)
        size = math.prod(len(choices) for choices in values.values())
        if size > MOST_GRID_POINTS:
            raise ConfigurationError(
                f"study.sampler: at most {MOST_GRID_POINTS} grid points must hold, but `space` has {size}; "
                "give larger steps or take another sampler"
            )
        self._points: list[dict[str, Any]] = []
        for combination in itertools.product(*values.values()):
            point = suggest(FixedTrial(dict(zip(values, combination, strict=True))), space)
            if point not in self._points:  # two combinations that differ in inactive parameters only are one
                self._points.append(point)
        random.Random(derive_seed(seed, 0, "grid")).shuffle(self._points)
        self._enqueued = enqueued
        self.trials = enqueued + len(self._points)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Nothing: a point is looked up."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing: a point is looked up."""
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The point's value; an enqueued point that leaves a parameter open takes any of the grid's."""
        point = self._points[(place_of(trial) - self._enqueued) % len(self._points)]
        if param_name in point:
            return point[param_name]
        return next(other[param_name] for other in self._points if param_name in other)


def most_trials(sampler: BaseSampler, wanted: int) -> int:
    """How many of the trials that are wanted the sampler has points for."""
    return min(wanted, sampler.trials) if isinstance(sampler, GridSampler) else wanted
