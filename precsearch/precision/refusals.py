"""Budgets that no allocation keeps, and targets that no budget counts: refused before any training.

Legend: S slots, K candidates, C constraints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

from precsearch.errors import BudgetError
from precsearch.precision.budgets import BoundBudget, Budget
from precsearch.precision.layout import LayerChoices, Layout
from precsearch.precision.pricing import Row
from precsearch.precision.problem import Problem


def check_kept(
    bound: Sequence[BoundBudget],
    rows: Sequence[Row],
    choices: Sequence[LayerChoices],
    layout: Layout,
    problem: Problem,
) -> None:
    """Refuse limits below the cheapest allocation of their own budget; every one is named."""
    told: dict[str, tuple[Fraction, str]] = {}
    for c, row in enumerate(rows):
        cheapest = problem.extreme(c, -1.0)
        if problem.spent(cheapest)[c] <= problem.limits[c]:
            continue
        each = bound[row.budget]
        spent = [each.spend(layout.price_at(choices, chosen), row.scope) for chosen in (cheapest, problem.lowest)]
        text = _impossible(each.budget, row, spent[0], _fewest(layout) if spent[0] == spent[1] else "")
        told[row.key] = max(told.get(row.key, (spent[0], text)), (spent[0], text))
    if told:
        raise BudgetError(
            "; ".join(text for _, text in told.values()) + "; raise the limit to at least that, or offer fewer bits"
        )


def _impossible(budget: Budget, row: Row, cheapest: Fraction, at: str) -> str:
    whose = f" of the {row.scope}s" if isinstance(row.scope, str) and row.scope != "all" else ""
    return (
        f"{budget.title}{whose} cannot be kept at {float(row.limit):g} {row.unit}: the cheapest possible allocation"
        f"{at} costs {show(cheapest)}"
    )


def _fewest(layout: Layout) -> str:
    fewest = {layout.bits[k] for k in layout.candidates.argmax(1)}
    return f" (every searched layer at {min(fewest)} bits)" if len(fewest) == 1 else " (all at their fewest bits)"


def check_bound(budgets: Sequence[Budget], layout: Layout, rows: Sequence[Row]) -> None:
    """A target whose bits never change the cost would be searched without limit."""
    counted = {slot for row in rows for slot in row.varies}
    free = layout.candidates.sum(1) > 1
    kinds = " and ".join(budget.kind for budget in budgets)
    for target in dict.fromkeys(target for slot in layout.slots for _, target in slot.members):
        own = [s for s, slot in enumerate(layout.slots) if free[s] and target in {t for _, t in slot.members}]
        if not own or counted.intersection(own):
            continue
        for budget in budgets:
            if isinstance(budget.limit, Mapping) and target not in budget.limit:
                raise BudgetError(
                    f"every searched target must be bound by the budget, but limit {dict(budget.limit)} has no "
                    f"{target!r}; add it, or take {target!r} out of the targets"
                )
        suited = "layer_bits" if target == "gradient" else "bitops"
        raise BudgetError(
            f"every searched target must be bound by the budget, but {kinds} does not count the bits of the {target}s; "
            f"take {target!r} out of the targets, pin it, or use average_bits or {suited}"
        )


def show(value: Fraction) -> str:
    """Rounded up where it is not exact, so that the figure named is one that works."""
    number = math.ceil(value * 10000) / 10000
    return f"{number:g}" if number < 1e5 else f"{math.ceil(value)}"  # noqa: PLR2004
