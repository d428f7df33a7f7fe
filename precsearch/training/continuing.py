"""What may differ between the experiment that left a checkpoint and the one that continues it.

A trial is continued by its own study with nothing changed, and by population-based training with another
learning rate, from another trial's checkpoint. What a checkpoint cannot follow is refused by name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from precsearch.allocation import Allocation, BudgetUse
from precsearch.errors import BudgetError, ConfigurationError
from precsearch.experiment import BudgetSettings, Experiment
from precsearch.experiment.inner import InnerSettings

LIMIT: Final = "inner.budget.limit"
LIMITS: Final = "inner.budgets."  # of the further budgets: a name and `.limit` follow
MUTABLE: Final = (
    "inner.optimizer.lr",
    "inner.optimizer.finetune_lr",
    "inner.optimizer.momentum",
    "inner.optimizer.weight_decay",
    "inner.logits.lr",
    "inner.regularization",
    "inner.temperature",
    LIMIT,
    "inner.budgets.*.limit",
)
# Where the same images lie, and the weights of a start that a checkpoint has left behind.
_MACHINE: Final = ("data.root", "data.download", "data.workers", "data.in_memory", "model.checkpoint")
_LATER: Final = {"inner.stochastic": False, "inner.noise.kind": "none", "inner.noise.rate": 0.1}  # and what was before
_SETTLED: Final = ("fixed", "uniform", "random")  # samplers whose allocation is made before the first step


def trained_with(experiment: Experiment) -> str:
    """What a checkpoint says of the experiment that trained it."""
    return json.dumps(experiment.model_dump(include={"data", "model", "inner"}), default=repr)


def check_continues(before: str | None, experiment: Experiment) -> None:
    """Check that a checkpoint can be continued under `experiment`.

    Args:
        before: its `trained_with`; None in checkpoints that do not say.
        experiment: as it is now.

    Raises:
        ConfigurationError: naming what has changed and must not.
    """
    if before is None:
        return
    old, new = (dict(_leaves("", json.loads(text))) for text in (before, trained_with(experiment)))
    old = _LATER | old
    changed = [path for path in sorted(old.keys() | new.keys()) if old.get(path) != new.get(path)]
    for path in changed:
        if not any(fnmatchcase(f"{path}.", f"{free}.*") for free in (*MUTABLE, *_MACHINE)):
            raise ConfigurationError(
                f"a checkpoint must be continued with the `{path}` it was trained with, which was {old.get(path)!r}, "
                f"but got {new.get(path)!r}; only {', '.join(MUTABLE)} may change while a trial trains: "
                f"leave `{path}` out of the scheduler's mutations, or start without the checkpoint"
            )
        if _is_limit(path) and experiment.inner.sampler in _SETTLED:
            raise ConfigurationError(
                f"`{path}` must stay while a trial trains with `inner.sampler: {experiment.inner.sampler}`, whose "
                f"allocation is made before the first step, but it was {old.get(path)!r} and is {new.get(path)!r}; "
                "leave it out of the scheduler's mutations"
            )


def under_limit(allocation: Allocation, inner: InnerSettings) -> Allocation:
    """The allocation of a checkpoint, saying the limits that hold now; its bits are not searched again.

    Raises:
        BudgetError: when it does not keep them.
    """
    settings: dict[str | None, BudgetSettings] = {None: inner.budget}
    settings.update(inner.budgets)
    uses = tuple(_use_under(use, settings[use.name]) if use.name in settings else use for use in _uses(allocation))
    return allocation.model_copy(update={"budget": uses[0], "budgets": uses}) if uses else allocation


def _uses(allocation: Allocation) -> tuple[BudgetUse, ...]:
    return allocation.budgets or ((allocation.budget,) if allocation.budget is not None else ())


def _use_under(use: BudgetUse, budget: BudgetSettings) -> BudgetUse:
    if use.limit == budget.limit:
        return use
    path = LIMIT if use.name is None else f"{LIMITS}{use.name}.limit"
    limits: dict[Any, float] = {**budget.limit} if isinstance(budget.limit, dict) else {}
    spends: dict[Any, Any] = {**use.by_target} if use.by_target else {"all": use.achieved}
    for target, spent in spends.items():
        limit = limits.get(target, math.inf) if limits else budget.limit
        if spent > limit:
            raise BudgetError(
                f"`{path}` must not fall below what the allocation spends once the search is over, but it is {limit} "
                f"now and the allocation in the checkpoint spends {spent:g} ({use.kind}, {target}); leave it out of "
                "the scheduler's mutations, or end the trials with the search (`inner.epochs.finetune: 0`)"
            )
    achieved = {target: spends[target] for target in limits if target in spends} or max(spends.values())
    return use.model_copy(update={"limit": budget.limit, "achieved": achieved})


def _is_limit(path: str) -> bool:
    return path.startswith(LIMIT) or (path.startswith(LIMITS) and ".limit" in path.removeprefix(LIMITS))


def _leaves(before: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(f"{before}.{key}" if before else str(key), inner)
    else:
        yield before, value
