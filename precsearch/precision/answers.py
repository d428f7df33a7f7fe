"""What a search answers: the allocation at the limit that it ends with, or at any other of its range.

Legend: S slots.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from precsearch.allocation import BudgetUse
from precsearch.errors import BudgetError
from precsearch.precision.budgets import Priced
from precsearch.precision.limits import Limit
from precsearch.precision.planning import Plan
from precsearch.precision.problem import Ints, Problem
from precsearch.precision.samplers.base import Sampler


class Answers:
    """The answers of one search.

    Args:
        plan: the problem, and its range if it has one.
        sampler: what is searched.
    """

    def __init__(self, plan: Plan, sampler: Sampler) -> None:
        self._plan, self._sampler = plan, sampler
        self._asked: Limit | None = None
        self._problem: Problem | None = None

    @property
    def limit(self) -> Limit:
        """Of the budget that has a range, or the first one."""
        if self._asked is not None:
            return self._asked
        ranged = self._plan.ranged
        return (self._plan.bound[0].budget if ranged is None else ranged.budget).limit

    @contextmanager
    def at(self, limit: Limit | None) -> Iterator[None]:
        """Answer at `limit` for a while; as before where None.

        Raises:
            BudgetError: as `ask`.
        """
        before = self._asked, self._problem
        try:
            if limit is not None:
                self.ask(limit)
            yield
        finally:
            self._asked, self._problem = before

    def ask(self, limit: Limit) -> None:
        """Answer at `limit` from now on.

        Raises:
            BudgetError: when no budget has a range, the limit is outside, or the sampler has one allocation only.
        """
        ranged = self._plan.ranged
        if ranged is None:
            limit = self._plan.bound[0].budget.at(limit).limit  # says why not
        elif not self._sampler.learns:
            raise BudgetError("a search answers other limits, but this sampler has one allocation; use perturb-and-map")
        else:
            self._problem = ranged.at(limit)
        self._asked = limit

    def state(self) -> Tensor:
        """What the answer follows from: everything that learns, and the limit; on the CPU."""
        # Version counters would not tell a step: fused optimizers leave them alone.
        parameters = [parameter.detach().flatten().cpu().double() for parameter in self._sampler.parameters()]
        limits = self.limit.values() if isinstance(self.limit, Mapping) else [self.limit]
        return torch.cat([*parameters, torch.tensor([*limits], dtype=torch.float64)])

    def solve(self) -> Ints:
        """[S] candidates."""
        return self._sampler.solve(self._problem)

    def uses(self, layers: Sequence[Priced]) -> tuple[BudgetUse, ...]:
        """What an allocation spends of every budget."""
        return self._plan.uses(layers, self._asked)
