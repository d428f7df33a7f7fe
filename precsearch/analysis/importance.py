"""Which searched parameters matter: by Optuna's evaluator, and by a surrogate that is asked how much it knows.

An importance can be computed from anything, noise as well. So the surrogate first predicts trials that it has not seen;
where it cannot, the message says that no importance here deserves belief. Nothing of the run's own study is opened: the
records are enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from precsearch.analysis.measures import Direction, measure
from precsearch.analysis.surrogate import Dependence, fit_surrogate, searched
from precsearch.results import TrialRecord
from precsearch.space import CategoricalDimension, Dimension, FloatDimension

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

FEWEST: Final = 10  # trials
BELIEVED: Final = 0.3  # R2 on unseen trials from which on importances are worth a look


@dataclass(frozen=True)
class Importance:
    """How much one searched parameter matters.

    Attributes:
        param: its dotted path.
        share: by Optuna's PED-ANOVA: what sets the best tenth of the trials apart; all shares sum to 1, or are 0.
        drop: how much of its R2 the surrogate loses on unseen trials when the parameter's values are shuffled; near 0,
            or below, where it does not matter.
        trials: in which it was searched.
    """

    param: str
    share: float
    drop: float
    trials: int


@dataclass(frozen=True)
class Importances:
    """What a study's trials tell about its parameters and one metric.

    Attributes:
        metric: its name.
        trials: complete ones that have it.
        r2: of the surrogate on trials it has not seen, 1 at best, 0 for the mean of all; None where there is none.
        importances: by `drop`, the largest first; empty where nothing can be told.
        dependences: in the order of `importances`.
        message: what to know before believing any of it; empty where there is nothing.
    """

    metric: str
    trials: int
    r2: float | None
    importances: tuple[Importance, ...]
    dependences: tuple[Dependence, ...]
    message: str

    @property
    def believed(self) -> bool:
        """Whether the surrogate knows enough of unseen trials."""
        return self.r2 is not None and self.r2 >= BELIEVED


def parameter_importances(
    records: Sequence[TrialRecord],
    space: Mapping[str, Dimension],
    metric: str,
    direction: Direction | None = None,
    seed: int = 0,
) -> Importances:
    """How much each searched parameter matters for `metric`.

    Args:
        records: trials of a study; those that are not complete, or have not the metric, are left out.
        space: dotted path -> dimension, as the experiment has it; conditional ones are judged on the trials that
            searched them.
        metric: a key of their metrics.
        direction: which way is better; what the metric is known for where None.
        seed: of the surrogate.
    """
    kept = [record for record in records if record.state == "complete" and metric in record.metrics]
    tried = {path: own for path, own in space.items() if any(searched(record, path, own) for record in kept)}
    values = np.array([record.metrics[metric] for record in kept])
    message = _why_not(len(kept), bool(space), bool(tried), bool(kept) and np.ptp(values) == 0, metric)
    if message:
        return Importances(metric, len(kept), None, (), (), message)
    known = fit_surrogate(kept, tried, values, seed)
    shares = _shares(kept, tried, metric, direction or measure(metric).direction)
    order = sorted(tried, key=lambda path: (-known.drops[path], path))
    return Importances(
        metric=metric,
        trials=len(kept),
        r2=known.r2,
        importances=tuple(
            Importance(path, shares[path], known.drops[path], sum(searched(r, path, tried[path]) for r in kept))
            for path in order
        ),
        dependences=tuple(known.dependences[path] for path in order),
        message="" if known.r2 >= BELIEVED else _doubt(metric, known.r2),
    )


def _why_not(trials: int, searches: bool, tried: bool, constant: bool, metric: str) -> str:
    """Why importances cannot be told; empty where they can."""
    if not searches:
        return "The experiment searches no parameter."
    if trials < FEWEST:
        return f"{trials} complete trials are too few to tell which parameters matter: it takes {FEWEST}."
    if not tried:
        return "No trial searched a parameter of the experiment."
    return f"Every trial has the same {measure(metric).words}." if constant else ""


def _doubt(metric: str, r2: float) -> str:
    return (
        f"Of the differences in {measure(metric).words} between trials that it has not seen, the surrogate explains "
        f"{max(r2, 0.0):.0%} (R2 {r2:.2f}): believe no importance here."
    )


def _shares(
    records: Sequence[TrialRecord], space: Mapping[str, Dimension], metric: str, direction: Direction
) -> dict[str, float]:
    """PED-ANOVA's shares, by a study in memory that holds the records."""
    import optuna

    from precsearch.study.journal import quiet_optuna

    distributions = {path: _distribution(dimension) for path, dimension in space.items()}
    with quiet_optuna():
        study = optuna.create_study(direction=direction)
        for record in records:
            params = {path: record.params[path] for path, own in space.items() if searched(record, path, own)}
            study.add_trial(
                optuna.trial.create_trial(
                    params=params,
                    distributions={path: distributions[path] for path in params},
                    value=record.metrics[metric],
                )
            )
        found = optuna.importance.get_param_importances(study)
    return {path: float(found.get(path, 0.0)) for path in space}


def _distribution(dimension: Dimension) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, CategoricalDimension):
        return CategoricalDistribution(dimension.choices)
    if isinstance(dimension, FloatDimension):
        return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)
    return IntDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step or 1)
