"""A look at a study before it begins: whether its trials can be trained at all, told before anything is written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from precsearch.errors import AllocationError, BudgetError, ConfigurationError, ModelError, PrecsearchError
from precsearch.experiment import Experiment
from precsearch.experiment.loading import apply_point
from precsearch.space import CategoricalDimension, Dimension

if TYPE_CHECKING:
    from precsearch.plans import TrialPlan

# What one point of a space may raise and another not; without a space every trial would raise it.
ONE_POINT: Final = (BudgetError, ModelError, AllocationError)


def is_limit(path: str) -> bool:
    """Whether a dotted path is a budget's limit, or that of one target."""
    return re.match(r"inner\.(budget|budgets\.[^.]+)\.limit(\.|$)", path) is not None


def inspect_study(experiment: Experiment) -> TrialPlan:
    """What a trial would do with every searched limit at its lowest; nothing is trained.

    Where choices are searched as well, one combination of them that can be trained is enough: points that
    cannot fail alone.

    Raises:
        PrecsearchError: what trials would raise, when none could be trained there.
    """
    from precsearch.trial import inspect_trial

    refused: list[tuple[dict[str, Any], PrecsearchError]] = []
    for point in lowest(experiment):
        try:
            at_point = apply_point(experiment, point)
        except ConfigurationError as error:
            refused.append((point, error))
            continue
        try:
            return inspect_trial(at_point).model_copy(update={"point": point})
        except ONE_POINT as error:
            refused.append((point, error))
    point, reason = refused[0]
    if not point:
        raise reason
    where = ", ".join(f"{path}={value}" for path, value in point.items())
    raise type(reason)(f"no trial can be trained at the lowest end of `space` ({where}): {reason}")


def lowest(experiment: Experiment) -> Iterator[dict[str, Any]]:
    """Every combination of choices, with the numbers and the limits at their lowest."""
    points: list[dict[str, Any]] = [{}]
    for path, dimension in experiment.space.items():
        points = [
            {**point, path: value} if dimension.holds(point) else point
            for point in points
            for value in (_values(path, dimension) if dimension.holds(point) else [None])
        ]
    yield from points


def _values(path: str, dimension: Dimension) -> list[Any]:
    if not isinstance(dimension, CategoricalDimension):
        return [dimension.low]
    numbers = [choice for choice in dimension.choices if isinstance(choice, int | float)]
    return [min(numbers)] if is_limit(path) and numbers else list(dimension.choices)
