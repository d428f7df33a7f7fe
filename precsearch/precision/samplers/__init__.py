"""Samplers: how an allocation is drawn for one step, by name; one class each."""

from __future__ import annotations

from typing import Final

import torch

from precsearch.errors import ConfigurationError
from precsearch.precision.planning import Plan
from precsearch.precision.preferences import PREFERENCES
from precsearch.precision.problem import Ints
from precsearch.precision.samplers.base import Draw, Sampler
from precsearch.precision.samplers.constant import Fixed, Random, Uniform
from precsearch.precision.samplers.learned import GumbelSoftmax, PerturbAndMap
from precsearch.precision.samplers.multinomial import Multinomial

__all__ = ["RANGED", "SAMPLERS", "Draw", "Fixed", "Sampler", "check_sampler", "make_sampler"]

RANGED: Final = "sensitivity"
"""The preferences of a search whose budget has a range, unless others are asked for; see docs/any-budget.md."""

SAMPLERS: dict[str, type[Sampler]] = {
    "perturb-and-map": PerturbAndMap,
    "multinomial": Multinomial,
    "gumbel-softmax": GumbelSoftmax,
    "uniform": Uniform,
    "random": Random,
    "fixed": Fixed,
}


def check_sampler(name: str, has_allocation: bool) -> None:
    """Refuse a name that is none, and an allocation without ``fixed`` or the other way round.

    Raises:
        ConfigurationError: saying which.
    """
    if name not in SAMPLERS:
        raise ConfigurationError(f"sampler must be one of {', '.join(SAMPLERS)}, but got {name!r}")
    if (name == "fixed") != has_allocation:
        raise ConfigurationError(
            f"an allocation goes with the `fixed` sampler, and only with it, but got sampler {name!r}"
        )


def make_sampler(
    name: str, plan: Plan, generator: torch.Generator, preferences: str | None = None, fixed: Ints | None = None
) -> Sampler:
    """The sampler of this name, for a plan.

    Args:
        name: a key of `SAMPLERS`.
        plan: with the problem, and its range if it has one.
        generator: of all randomness.
        preferences: a key of `PREFERENCES`; ``free``, or `RANGED` under a range, where None.
        fixed: [S] candidates, for ``fixed``.

    Raises:
        BudgetError: when `fixed` breaks a budget.
        ConfigurationError: when the sampler does not go with preferences or a range, or there are no such preferences.
    """
    kind = SAMPLERS[name]
    if preferences is not None and preferences not in PREFERENCES:
        raise ConfigurationError(f"preferences must be one of {', '.join(PREFERENCES)}, but got {preferences!r}")
    if preferences not in (None, "free") and not kind.prefers:
        own = ", ".join(name for name, each in SAMPLERS.items() if each.prefers)
        raise ConfigurationError(
            f"preferences go with the samplers {own}, but got {preferences!r} with {name!r}; leave them out"
        )
    if plan.ranged is not None and not kind.keeps:
        raise ConfigurationError(
            f"a budget with a range needs a sampler whose draws keep it, but {name!r} draws without it; "
            "use perturb-and-map, or drop the range"
        )
    if fixed is not None:
        plan.check_kept(fixed)
        return Fixed(plan.problem, generator, fixed)
    if not kind.learns:
        return kind(plan.problem, generator)
    if not kind.prefers:
        return kind(plan.problem, generator, plan.ranged)
    form = preferences or ("free" if plan.ranged is None else RANGED)
    return kind(plan.problem, generator, plan.ranged, preferences=form)  # type: ignore[call-arg]
