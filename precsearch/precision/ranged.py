"""A knapsack whose limit varies: drawn anew for every step, or asked for after the search.

Legend: C constraints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from precsearch.errors import BudgetError
from precsearch.precision.budgets import Budget
from precsearch.precision.limits import Limit, Range, along, at, count
from precsearch.precision.pricing import Row
from precsearch.precision.problem import Floats, Problem


@dataclass(frozen=True)
class Ranged:
    """One problem for every limit within a range.

    Attributes:
        budget: with the range.
        index: of it among the budgets.
        rows: [C] the constraints.
        problem: at the limit that the search ends with; its `feasible` keeps the lowest.
    """

    budget: Budget
    index: int
    rows: tuple[Row, ...]
    problem: Problem

    @property
    def ends(self) -> Range:
        """The range."""
        return self.budget.range or (0.0, 0.0)

    @classmethod
    def make(cls, budgets: Sequence[Budget], rows: Sequence[Row], lowest: Problem) -> Ranged | None:
        """None where no budget has a range.

        Args:
            budgets: as given.
            rows: [C].
            lowest: the problem at the low end, with what is `feasible` there.
        """
        found = next((i for i, budget in enumerate(budgets) if budget.range is not None), None)
        if found is None:
            return None
        own = cls(budgets[found], found, tuple(rows), lowest)
        # new and not `with_limits`, so that prices are parts of the limits that the search ends with
        return replace(own, problem=replace(lowest, limits=own._limits(budgets[found])))

    def at(self, limit: Limit) -> Problem:
        """The problem at one limit.

        Raises:
            BudgetError: when it is not within the range.
        """
        return self.problem.with_limits(self._limits(self.budget.at(limit)))

    def draw(self, generator: torch.Generator) -> Problem:
        """The problem at a limit drawn evenly from the range; for each target on its own, where the range is so."""
        ends = self.ends
        shares = torch.rand(count(ends), generator=generator, dtype=torch.float64).tolist()
        return self.problem.with_limits(self._limits(replace(self.budget, limit=at(ends, shares))))

    def _limits(self, budget: Budget) -> Floats:
        limits = [budget.limit_of(row.scope) if row.budget == self.index else row.limit for row in self.rows]
        own = [row.room_at(row.limit if limit is None else limit) for row, limit in zip(self.rows, limits, strict=True)]
        return np.array(own, dtype=np.float64)


def lowest(budgets: Sequence[Budget]) -> list[Budget]:
    """The budgets, that with a range at its low end: what keeps these keeps every draw.

    Raises:
        BudgetError: when more than one has a range.
    """
    ranged = [budget.title for budget in budgets if budget.range is not None]
    if len(ranged) > 1:
        raise BudgetError(
            f"one budget at most may have a range, but got {' and '.join(ranged)}; give the others a limit"
        )
    return [each if each.range is None else replace(each, limit=along(each.range, 0.0)) for each in budgets]
