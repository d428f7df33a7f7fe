"""From layers, pins and a budget to the knapsack that every draw solves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from precsearch.allocation import Target
from precsearch.errors import BudgetError
from precsearch.precision.budgets import (
    BUDGETS,
    Bits,
    Budget,
    BudgetKind,
    Footprint,
    Scope,
    spend,
)
from precsearch.precision.problem import Floats, Problem, Slot, make_problem

SEARCHED = "searched"
# Of one layer's target: to be searched, pinned to bits, or None for float.
Choice = str | Bits


Priced = tuple[Footprint, Bits, Bits]


@dataclass(frozen=True)
class LayerChoices:
    """A layer, and what is to be decided about each of its targets."""

    layer: Footprint
    weight: Choice
    activation: Choice

    def choice(self, target: str) -> Choice:
        """What is to be decided about `target`."""
        return self.weight if target == "weight" else self.activation

    def at(self, weight: int, activation: int) -> Priced:
        """The layer with its searched targets at these bits."""
        return self.layer, _decided(self.weight, weight), _decided(self.activation, activation)


def _decided(choice: Choice, searched: int) -> Bits:
    return choice if choice is None or isinstance(choice, int) else searched


@dataclass(frozen=True)
class Plan:
    """A problem, and which scopes of the budget it binds.

    Attributes:
        problem: the knapsack.
        scopes: of the budget, one a constraint.
    """

    problem: Problem
    scopes: tuple[Scope, ...]


def make_plan(budget: Budget, choices: Sequence[LayerChoices], bits: Sequence[int], float_elements: int) -> Plan:
    """Build the knapsack of `budget`.

    Args:
        budget: kind and limit.
        choices: every layer.
        bits: candidate bit-widths, ascending.
        float_elements: elements outside the layers.

    Raises:
        BudgetError: when the budget does not bind a searched target, nothing is searched, or no allocation keeps it.
    """
    kind = BUDGETS[budget.kind]
    slots: list[Slot] = []
    units: list[tuple[tuple[int, ...], Floats, int]] = []
    limits: list[float] = []
    scopes: list[Scope] = []
    for scope in kind.scopes():
        targets = _targets(scope)
        if not any(choice.choice(target) == SEARCHED for choice in choices for target in targets):
            continue
        _check_kept(budget, kind, scope, choices, bits, float_elements)
        limits.append(_room(budget, kind, scope, choices, bits, float_elements))
        for choice in choices:
            searched = [target for target in targets if choice.choice(target) == SEARCHED]
            if searched:
                own = tuple(range(len(slots), len(slots) + len(searched)))
                slots += [Slot(((choice.layer.name, target),)) for target in searched]
                units.append((own, _table(kind, scope, choice, searched, bits), len(scopes)))
        scopes.append(scope)
    if not slots:
        raise BudgetError("at least one layer must be searched, but every layer is pinned; remove a pin")
    if len(bits) > 1:
        _check_bound(budget, slots, units)
    return Plan(make_problem(slots, bits, units, limits), tuple(scopes))


def _limit(budget: Budget, scope: Scope) -> Fraction:
    if not isinstance(budget.limit, Mapping):
        return Fraction(str(budget.limit))
    if scope == "all":
        raise BudgetError(
            f"{budget.kind} binds weights and activations together; give one limit, not {dict(budget.limit)}"
        )
    if scope not in budget.limit:
        raise BudgetError(
            f"every searched target must be bound by the budget, but limit {dict(budget.limit)} has no {scope!r}; "
            f"add it, or take {scope!r} out of the targets"
        )
    return Fraction(str(budget.limit[scope]))


def _table(
    kind: BudgetKind, scope: Scope, choice: LayerChoices, searched: Sequence[Target], bits: Sequence[int]
) -> Floats:
    table = np.zeros((len(bits),) * len(searched))
    for index in np.ndindex(table.shape):
        given = {target: bits[k] for target, k in zip(searched, index, strict=True)}
        layer, weight, activation = choice.at(given.get("weight", bits[0]), given.get("activation", bits[0]))
        table[index] = kind.price(layer, scope, weight, activation)
    return table


def _room(
    budget: Budget,
    kind: BudgetKind,
    scope: Scope,
    choices: Sequence[LayerChoices],
    bits: Sequence[int],
    float_elements: int,
) -> float:
    """What the searched layers may spend: the limit in whole units, less what is spent anyway."""
    at_least = [choice.at(bits[0], bits[0]) for choice in choices]
    divisor = sum(kind.share(layer, scope, weight, act) for layer, weight, act in at_least) or 1
    pinned = sum(
        kind.price(layer, scope, weight, act)
        for choice, (layer, weight, act) in zip(choices, at_least, strict=True)
        if not any(choice.choice(target) == SEARCHED for target in _targets(scope))
    )
    return float(math.floor(_limit(budget, scope) * divisor) - kind.fixed(float_elements) - pinned)


def _targets(scope: Scope) -> tuple[Target, ...]:
    return ("weight", "activation") if scope == "all" else (scope,)


def _check_kept(
    budget: Budget,
    kind: BudgetKind,
    scope: Scope,
    choices: Sequence[LayerChoices],
    bits: Sequence[int],
    float_elements: int,
) -> None:
    cheapest = spend(kind, scope, [choice.at(bits[0], bits[0]) for choice in choices], float_elements)
    limit = _limit(budget, scope)
    if cheapest > limit:
        whose = "" if scope == "all" else f" of the {scope}s"
        raise BudgetError(
            f"{budget.kind}{whose} cannot be kept at {float(limit):g} {kind.unit}: the cheapest possible allocation "
            f"(every searched layer at {bits[0]} bits) costs {_show(cheapest)}; raise the limit to at least that, "
            "or offer fewer bits"
        )


def _check_bound(budget: Budget, slots: Sequence[Slot], units: Sequence[tuple[tuple[int, ...], Floats, int]]) -> None:
    """A target whose bits never change the cost would be searched without limit."""
    bound = {"weight": False, "activation": False}
    for own, table, _ in units:
        for place, slot in enumerate(own):
            changes = bool(np.ptp(table, axis=place).any())
            for _, target in slots[slot].members:
                bound[target] |= changes
    for target in {target for slot in slots for _, target in slot.members}:
        if not bound[target]:
            raise BudgetError(
                f"every searched target must be bound by the budget, but {budget.kind} does not count the bits "
                f"of the {target}s; take {target!r} out of the targets, pin it, or use average_bits or bitops"
            )


def _show(value: Fraction) -> str:
    """Rounded up where it is not exact, so that the figure named is one that works."""
    number = math.ceil(value * 10000) / 10000
    return f"{number:g}" if number < 1e5 else f"{math.ceil(value)}"  # noqa: PLR2004
