"""The prices of a model's slots under a budget: exact whole numbers, then the arrays that draws compute with.

Legend: S slots, K candidates, H candidates of a slot's hub, C constraints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from precsearch.errors import BudgetError
from precsearch.precision.budgets import BoundBudget, Scope
from precsearch.precision.layout import TARGETS, LayerChoices, Layout, Searched
from precsearch.precision.problem import Floats, Ints

# Of Python's own integers, which do not round: [K] or [K, K].
_Whole = npt.NDArray[Any]
# Sums of whole numbers below this are exact in double precision.
_EXACT = 2**52


@dataclass
class Row:
    """One constraint: what every slot spends of a budget in one scope.

    Attributes:
        budget: which of the budgets.
        scope: of the budget.
        limit: in the kind's unit.
        unit: of the limit.
        measure: whole units of one of the limit's.
        spent: what is spent whatever is chosen, in whole units.
        single: slot -> [K] what it spends at each candidate.
        pairs: (slot, slot) -> [K, K] what the two spend together.
        varies: the slots whose bits change the cost.
    """

    budget: int
    scope: Scope
    limit: Fraction
    unit: str
    measure: Fraction = Fraction(1)
    spent: Fraction = Fraction(0)
    single: dict[int, _Whole] = field(default_factory=dict)
    pairs: dict[tuple[int, int], _Whole] = field(default_factory=dict)
    varies: set[int] = field(default_factory=set)

    @property
    def room(self) -> int:
        """What the searched slots may spend, in whole units."""
        return self._most(self.limit)

    @cached_property
    def grain(self) -> int:
        """What costs of many digits are divided by: whole units in one that double precision sums exactly."""
        tables = [*self.single.values(), *self.pairs.values()]
        return max(1, -(-sum(int(table.max()) for table in tables) // _EXACT))

    def room_at(self, limit: Fraction) -> float:
        """What the searched slots may spend under another limit, in the units of `cost_array`."""
        return float(self._most(limit) // self.grain)

    def _most(self, limit: Fraction) -> int:
        """The most whole units within `limit`, which may be a cost as it was printed: rounded, perhaps down."""
        most = math.floor(limit * self.measure - self.spent)
        return most + 1 if float((most + 1 + self.spent) / self.measure) <= float(limit) else most

    @property
    def key(self) -> str:
        """What a message names once: a target, or all moments together."""
        return f"{self.budget}:{'moment' if isinstance(self.scope, int) else self.scope}"

    def add(self, slots: Sequence[int], table: _Whole) -> None:
        """Add a layer's prices by the candidates of its one or two slots; those that add up are taken apart."""
        for axis, slot in enumerate(slots):
            if (table != table.take([0], axis)).any():
                self.varies.add(slot)
        if len(slots) == 1:
            self.single[slots[0]] = self.single.get(slots[0], 0) + table
            return
        first, second = table[:, :1], table[:1, :] - table[0, 0]
        if (table == first + second).all():
            self.add(slots[:1], first[:, 0])
            self.add(slots[1:], second[0])
        else:
            self.pairs[slots[0], slots[1]] = self.pairs.get((slots[0], slots[1]), 0) + table


def price_rows(index: int, bound: BoundBudget, choices: Sequence[LayerChoices], layout: Layout) -> list[Row]:
    """The constraints of one budget: one for each scope in which something is searched.

    Raises:
        BudgetError: when nothing that it counts is searched, and the limit is broken all the same.
    """
    rows = []
    for scope in bound.kind.scopes():
        limit = bound.budget.limit_of(scope)
        if limit is None:
            continue
        row = Row(index, scope, limit, bound.kind.unit)
        at_least = bound.own(layout.price_at(choices, layout.candidates.argmax(1)))
        divisor = sum(bound.kind.share(priced, scope) for priced in at_least) or 1
        spent = bound.kind.fixed(bound.float_elements, scope) * bound.kind.scale
        own = {choice.layer.name: choice for choice in choices}
        for priced in at_least:
            spent += _add_layer(row, bound, scope, own[priced.layer.name], priced.layer, layout)
        row.measure, row.spent = Fraction(divisor * bound.kind.scale), Fraction(spent)
        if row.single or row.pairs:
            rows.append(row)
        elif row.room < 0 and scope not in TARGETS:
            raise BudgetError(
                f"{bound.budget.title} cannot be kept at {float(limit):g} {bound.kind.unit}: what is not searched "
                f"costs {float(Fraction(spent, bound.kind.scale)):g} already; raise the limit"
            )
    return rows


def _add_layer(row: Row, bound: BoundBudget, scope: Scope, choice: LayerChoices, layer: Any, layout: Layout) -> int:
    """Add what a layer spends to the row -> what it spends whatever is chosen."""
    targets = [t for t in bound.kind.targets(scope) if isinstance(choice.choice(t), Searched)]
    slots = list(dict.fromkeys(layout.slot_of[choice.layer.name, target] for target in targets))
    valid = [np.flatnonzero(layout.candidates[slot]) for slot in slots]
    table: _Whole = np.zeros([len(own) for own in valid], dtype=object)
    for index in np.ndindex(table.shape):
        bits = {s: layout.bits[int(own[i])] for s, own, i in zip(slots, valid, index, strict=True)}
        given = [bits.get(layout.slot_of.get((choice.layer.name, target), -1), 0) for target in TARGETS]
        table[index] = bound.kind.price(choice.at(*given)._replace(layer=layer), scope)
    if not slots:
        return int(table[()])
    if table.any():
        whole: _Whole = np.zeros([len(layout.bits)] * len(slots), dtype=object)
        whole[np.ix_(*valid)] = table
        row_add(row, slots, table, whole, valid)
    return 0


def row_add(row: Row, slots: Sequence[int], table: _Whole, whole: _Whole, valid: Sequence[Ints]) -> None:
    """Add a layer's table, given by its slots' own candidates, in terms of all candidates."""
    part = Row(row.budget, row.scope, row.limit, row.unit)
    part.add(slots, table)
    row.varies |= part.varies
    for slot, single in part.single.items():
        spread: _Whole = np.zeros(whole.shape[0], dtype=object)
        spread[valid[list(slots).index(slot)]] = single
        row.single[slot] = row.single.get(slot, 0) + spread
    for pair in part.pairs:
        row.pairs[pair] = row.pairs.get(pair, 0) + whole


def cost_array(rows: Sequence[Row], layout: Layout, hub: Ints) -> tuple[Floats, list[float]]:
    """[C, S, H, K] costs and [C] limits, in units that double precision sums exactly."""
    count = len(layout.bits)
    coupled = bool((hub < len(hub)).any())
    cost = np.zeros((len(rows), len(hub), count if coupled else 1, count))
    limits = []
    for c, row in enumerate(rows):
        # Costs of many digits are rounded up, and the limit down: what is kept so is kept exactly as well.
        grain = row.grain
        limits.append(float(row.room // grain))
        for slot, single in row.single.items():
            whole = np.array([-(-int(value) // grain) for value in single], dtype=np.float64)
            cost[c, slot, : 1 if hub[slot] == len(hub) else count] += whole
        for (one, other), pair in row.pairs.items():
            table = np.array([[-(-int(value) // grain) for value in line] for line in pair], dtype=np.float64)
            if hub[one] == other:
                cost[c, one] += table.T
            else:
                cost[c, other] += table
    return cost, limits
