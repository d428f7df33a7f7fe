"""From layers, pins and budgets to the knapsack that every draw solves.

Legend: S slots, K candidates, H candidates of a slot's hub, C constraints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from precsearch.allocation import BudgetPlan, BudgetUse
from precsearch.errors import BudgetError
from precsearch.precision.budgets import BoundBudget, Budget, Moment, Priced, Scope
from precsearch.precision.feasible import make_problem, with_feasible
from precsearch.precision.layout import SEARCHED, Choice, LayerChoices, Layout, Searched, find_hubs, lay_out
from precsearch.precision.limits import Limit, pairs
from precsearch.precision.pricing import Row, cost_array, price_rows
from precsearch.precision.problem import Ints, Problem
from precsearch.precision.ranged import Ranged, lowest
from precsearch.precision.refusals import check_bound, check_kept

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
        ranged: the problem at every limit of a budget's range; None where none has one.
    """

    problem: Problem
    bound: tuple[BoundBudget, ...]
    loose: tuple[Budget, ...]
    constraints: tuple[tuple[int, Scope], ...]
    moments: tuple[Moment, ...]
    layout: Layout
    ranged: Ranged | None = None

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

    def uses(self, layers: Sequence[Priced], limit: Limit | None = None) -> tuple[BudgetUse, ...]:
        """What an allocation spends of every budget, that with a range at `limit`."""
        if limit is None:
            return tuple(bound.use(layers) for bound in self.bound)
        ranged = [replace(each, budget=each.budget.at(limit)) if each.budget.range else each for each in self.bound]
        return tuple(bound.use(layers) for bound in ranged)

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
                range=None if bound.budget.range is None else pairs(bound.budget.range),
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
    least = lowest(budgets)
    bound = [BoundBudget.bind(each, names, float_elements, moments) for each in least]
    rows = [row for i, each in enumerate(bound) for row in price_rows(i, each, choices, layout)]
    check_bound(budgets, layout, rows)
    hub = find_hubs({pair for row in rows for pair in row.pairs}, layout.slots)
    cost, limits = cost_array(rows, layout, hub)
    problem = make_problem(layout.slots, layout.bits, cost, limits, candidates=layout.candidates, hub=hub)
    check_kept(bound, rows, choices, layout, problem)
    binding = {rows[c].budget for c in np.flatnonzero(problem.binding)}
    problem, rows = _without_duplicates(problem, rows, bound)
    found = _kept_together(problem, least)
    ranged = Ranged.make(budgets, rows, found)
    scopes = [tuple(dict.fromkeys(row.scope for row in rows if row.budget == i)) for i in range(len(bound))]
    return Plan(
        problem=found if ranged is None else ranged.problem,
        bound=tuple(replace(a, budget=b, scopes=own) for a, b, own in zip(bound, budgets, scopes, strict=True)),
        loose=tuple(each for i, each in enumerate(budgets) if i not in binding),
        constraints=tuple((row.budget, row.scope) for row in rows),
        moments=tuple(moments),
        layout=layout,
        ranged=ranged,
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
