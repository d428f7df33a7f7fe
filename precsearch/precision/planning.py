"""From layers, pins and budgets to the knapsack that every draw solves.

Legend: S slots, K candidates, H candidates of a slot's hub, C constraints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from precsearch.allocation import BudgetPlan, BudgetUse
from precsearch.errors import BudgetError
from precsearch.precision.budgets import BoundBudget, Budget, Moment, Priced, Scope
from precsearch.precision.feasible import make_problem, with_feasible
from precsearch.precision.layout import SEARCHED, Choice, LayerChoices, Layout, Searched, find_hubs, lay_out
from precsearch.precision.pricing import Row, cost_array, price_rows
from precsearch.precision.problem import Ints, Problem

__all__ = ["SEARCHED", "Choice", "LayerChoices", "Plan", "Searched", "make_plan"]


@dataclass(frozen=True)
class Plan:
    """A problem, and the budgets that it stands for.

    Attributes:
        problem: the knapsack.
        bound: the budgets, in the order given.
        loose: those that even the dearest allocation keeps.
        constraints: [C] which budget each of the problem's constraints is of, and its scope.
        moments: what is in memory while each layer runs.
        layout: the slots, and the layers that they set.
    """

    problem: Problem
    bound: tuple[BoundBudget, ...]
    loose: tuple[Budget, ...]
    constraints: tuple[tuple[int, Scope], ...]
    moments: tuple[Moment, ...]
    layout: Layout

    def check_kept(self, candidates: Ints) -> None:
        """Refuse an allocation, [S] chosen candidates, that breaks a budget.

        Raises:
            BudgetError: naming the budgets.
        """
        over = np.flatnonzero(self.problem.spent(candidates) > self.problem.limits)
        if len(over):
            broken = [self.bound[i].budget for i in sorted({self.constraints[c][0] for c in over})]
            told = " and ".join(f"{each.title} <= {each.limit}" for each in broken)
            raise BudgetError(
                f"the fixed allocation must keep the budget ({told}), but it costs more; "
                "raise the limit or lower its bits"
            )

    def untold(self) -> list[str]:
        """What a user should know: budgets that hold whatever is drawn."""
        choice = bool((self.layout.candidates.sum(1) > 1).any())
        return [
            f"the budget {each.title} <= {each.limit} binds nowhere: even the most bits of every layer keep it; "
            "lower the limit, offer more bits, or leave the budget out"
            for each in (self.loose if choice else ())
        ]

    def uses(self, layers: Sequence[Priced]) -> tuple[BudgetUse, ...]:
        """What an allocation spends of every budget."""
        return tuple(bound.use(layers) for bound in self.bound)

    def ends(self, choices: Sequence[LayerChoices]) -> tuple[list[Priced], list[Priced]]:
        """Every layer at its fewest bits, and every layer at its most."""
        count, own = len(self.layout.bits), self.layout.candidates
        fewest, most = own.argmax(1), count - 1 - own[:, ::-1].argmax(1)
        return self.layout.price_at(choices, fewest), self.layout.price_at(choices, most)

    def describe(self, choices: Sequence[LayerChoices]) -> tuple[BudgetPlan, ...]:
        """What each budget allows, and what the fewest and the most bits of all layers would cost."""
        ends = [self.uses(layers) for layers in self.ends(choices)]
        return tuple(
            BudgetPlan(
                name=bound.budget.name,
                kind=bound.budget.kind,
                limit=cheapest.limit,
                cheapest=_by_scope(cheapest),
                dearest=_by_scope(dearest),
                loose=bound.budget in self.loose,
            )
            for bound, cheapest, dearest in zip(self.bound, *ends, strict=True)
        )


def _by_scope(use: BudgetUse) -> dict[str, float]:
    by_target = {str(target): spent for target, spent in use.by_target.items()}
    return by_target or ({} if isinstance(use.achieved, dict) else {"all": use.achieved})


def make_plan(
    budget: Budget | Sequence[Budget],
    choices: Sequence[LayerChoices],
    bits: Sequence[int],
    float_elements: int,
    moments: Sequence[Moment] | None = None,
) -> Plan:
    """Build the knapsack of one or several budgets.

    Args:
        budget: each of them is kept by every allocation.
        choices: every layer.
        bits: candidate bit-widths, ascending, of what names none of its own.
        float_elements: elements outside the layers.
        moments: what is in memory while each layer runs; where None, its input and the next layer's.

    Raises:
        BudgetError: when no budget binds a searched target, nothing is searched, or no allocation keeps them all.
        DataError: when a table of costs cannot be read.
    """
    budgets = [budget] if isinstance(budget, Budget) else list(budget)
    if not budgets:
        raise BudgetError("at least one budget must be given, but got none")
    layout = lay_out(choices, bits)
    names = [choice.layer.name for choice in choices]
    if moments is None:
        moments = chain(names, [choice.layer.inputs for choice in choices])
    bound = [BoundBudget.bind(each, names, float_elements, moments) for each in budgets]
    rows = [row for i, each in enumerate(bound) for row in price_rows(i, each, choices, layout)]
    _check_bound(budgets, layout, rows)
    hub = find_hubs({pair for row in rows for pair in row.pairs}, layout.slots)
    cost, limits = cost_array(rows, layout, hub)
    problem = make_problem(layout.slots, layout.bits, cost, limits, candidates=layout.candidates, hub=hub)
    _check_kept(bound, rows, choices, layout, problem)
    binding = {rows[c].budget for c in np.flatnonzero(problem.binding)}
    problem, rows = _without_duplicates(problem, rows, bound)
    found = _kept_together(problem, budgets)
    scopes = [tuple(dict.fromkeys(row.scope for row in rows if row.budget == i)) for i in range(len(bound))]
    return Plan(
        problem=found,
        bound=tuple(replace(each, scopes=own) for each, own in zip(bound, scopes, strict=True)),
        loose=tuple(each for i, each in enumerate(budgets) if i not in binding),
        constraints=tuple((row.budget, row.scope) for row in rows),
        moments=tuple(moments),
        layout=layout,
    )


def _kept_together(problem: Problem, budgets: Sequence[Budget]) -> Problem:
    found = with_feasible(problem)
    if found is None:
        limits_told = "; ".join(f"{each.title} <= {each.limit}" for each in budgets)
        raise BudgetError(
            "the budgets must be kept all at once; each can be kept alone, but no allocation keeps them all together: "
            f"{limits_told}; raise one of these limits, or offer fewer bits"
        )
    return found


def chain(names: Sequence[str], inputs: Sequence[int]) -> list[Moment]:
    """The moments of layers that run one after the other: while one runs, its input and the next one's are there."""
    tensors = list(zip(names, inputs, strict=True))
    return [Moment(name, tuple(tensors[i : i + 2])) for i, name in enumerate(names)]


def _without_duplicates(problem: Problem, rows: list[Row], bound: Sequence[BoundBudget]) -> tuple[Problem, list[Row]]:
    """Of the moments of a budget, those that another one's limit does not imply, and at least one."""
    kept = np.ones(len(rows), dtype=bool)
    for i in range(len(bound)):
        own = [c for c, row in enumerate(rows) if row.budget == i and isinstance(row.scope, int)]
        dearest = {c: problem.spent(problem.extreme(c, 1.0))[c] / problem.scale[c] for c in own}
        for n, c in enumerate(sorted(own, key=lambda c: -dearest[c])):
            others = [d for d in own if d != c and kept[d]]
            implied = problem.limits[c] > 0 and any((problem.price[c] <= problem.price[d]).all() for d in others)
            kept[c] = n == 0 or not (implied or not problem.binding[c])
    if kept.all():
        return problem, rows
    return (
        replace(problem, cost=problem.cost[kept], limits=problem.limits[kept]),
        [row for row, keep in zip(rows, kept, strict=True) if keep],
    )


def _check_kept(
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


def _check_bound(budgets: Sequence[Budget], layout: Layout, rows: Sequence[Row]) -> None:
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
