"""The budgets as a multiple-choice knapsack: slots, stars of slots whose prices are coupled, limits.

Legend: S slots, K candidates, H candidates of a slot's hub (K, or 1 where no slot has one), C constraints, L leaves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from precsearch.precision.stars import Flags, Floats, Ints, Slot, Stars

__all__ = ["Flags", "Floats", "Ints", "Problem", "Slot"]

_OF_COSTS = (
    "leaves", "_hubs", "center", "_each", "_has_hub", "_flat", "lowest", "dearest", "scale", "price",
    "_alone", "spends", "group", "separable", "_parts",
)  # fmt: skip
_OF_OWNERS = ("owner", "owned", "own_price")  # where the problem is separable


@dataclass(frozen=True, eq=False)
class Problem(Stars):
    """Choose one candidate a slot so that no constraint's cost exceeds its limit.

    Attributes:
        limits: [C] what may be spent, in the units of `cost`.
        feasible: [S] candidates that keep every limit.
    """

    limits: Floats
    feasible: Ints

    def keeps_budget(self, chosen: Ints) -> bool:
        """Whether [S] chosen candidates keep every limit."""
        return bool((self.spent(chosen) <= self.limits).all())

    @cached_property
    def owner(self) -> Ints:
        """[S] the constraint that the slot's star spends of, where the problem is separable."""
        owner: Ints = self.spends.argmax(0).astype(np.int64)
        return owner

    @cached_property
    def owned(self) -> Floats:
        """[S, C] 1 where the constraint is the slot's `owner`."""
        owned: Floats = np.eye(len(self.limits))[self.owner]
        return owned

    @cached_property
    def start(self) -> Ints:
        """[S] the fewest bits of every slot where that keeps every limit, else `feasible`."""
        return self.lowest if self.keeps_budget(self.lowest) else self.feasible

    @cached_property
    def binding(self) -> Flags:
        """[C] whether some choice exceeds the limit."""
        return self.dearest > self.limits

    @cached_property
    def tight(self) -> Problem:
        """The problem without the constraints that cannot be broken."""
        binding = self.binding
        if binding.all():
            return self
        key = binding.tobytes()
        if key not in self._parts:
            part = replace(self, cost=self.cost[binding], limits=self.limits[binding])
            part.__dict__["scale"] = self.scale[binding]
            self._parts[key] = part
        return self._parts[key].with_limits(self.limits[binding])

    @cached_property
    def _parts(self) -> dict[bytes, Problem]:
        """By their flags in `binding`: the problem without the other constraints."""
        return {}

    def with_limits(self, limits: Floats) -> Problem:
        """The same choice under other limits, [C], that `feasible` keeps too.

        What follows from the costs alone is shared, `scale` included: prices stay parts of this problem's limits.
        """
        if not len(limits) or np.array_equal(limits, self.limits):
            return self
        other = replace(self, limits=limits)
        other.__dict__.update(
            {name: getattr(self, name) for name in (*_OF_COSTS, *(_OF_OWNERS if self.separable else ()))}
        )
        return other

    @cached_property
    def scale(self) -> Floats:
        """[C] what costs are divided by to make kinds comparable: the limits, or 1 where nothing may be spent.

        Of a problem made by `with_limits`, those of the one that it was made from.
        """
        return np.where(self.limits > 0, self.limits, 1.0)

    @cached_property
    def price(self) -> Floats:
        """[C, S, H, K] costs in parts of the limits."""
        return self.cost / self.scale[:, None, None, None]

    @cached_property
    def _alone(self) -> Floats:
        own: Floats = self.cost[:, :, 0].sum(0)
        return own

    @cached_property
    def own_price(self) -> Floats:
        """[S, H, K] price of each slot under its owner, where the problem is separable."""
        price: Floats = self.price.sum(0)
        return price

    @cached_property
    def group(self) -> Ints:
        """[C] constraints that share a star, directly or through others, have the same number."""
        label = np.arange(len(self.limits))
        together = self.spends.astype(np.int64) @ self.spends.T.astype(np.int64) > 0
        for _ in label:
            label = np.where(together, label[None, :], len(label)).min(1, initial=len(label))
        return label.astype(np.int64)

    @cached_property
    def separable(self) -> bool:
        """Whether every star spends of one constraint at most."""
        return bool((self.spends.sum(0) <= 1).all())

    def extra(self, chosen: Ints) -> Floats:
        """[C, S, K] what moving one slot to each candidate would add; a hub's move reprices its leaves."""
        moved = self.cost[:, self._each, self._column(chosen)]
        if len(self.leaves):
            leaves = self.leaves
            self.to_hubs(moved, self.cost[:, leaves, :, chosen[leaves]].swapaxes(0, 1), axis=1)
        difference: Floats = moved - moved[:, self._each, chosen][:, :, None]
        return difference

    def moves(self, chosen: Ints) -> tuple[Flags, Floats]:
        """[S, K] whether moving one slot to each candidate keeps every limit, and its extra cost in parts of them."""
        slack = self.limits - self.spent(chosen)
        if len(slack) and self.separable and not len(self.leaves):
            own = self._alone
            more = own - own[self._each, chosen][:, None]
            fits: Flags = self.candidates & (more <= slack[self.owner][:, None])
            return fits, np.maximum(more, 0) / self.scale[self.owner][:, None]
        extra = self.extra(chosen)
        fits = self.candidates & np.all(extra <= slack[:, None, None], axis=0)
        price: Floats = (np.maximum(extra, 0) / self.scale[:, None, None]).sum(0)
        return fits, price

    def raised(self, chosen: Ints) -> tuple[Ints, Flags]:
        """The least that gives one slot more bits.

        Args:
            chosen: [S] candidates that keep the budget.

        Returns:
            [S] the slot's next candidate that fits, and [S] whether there is one.
        """
        higher = np.arange(len(self.bits)) > chosen[:, None]
        more: Flags = higher & self.tight.moves(chosen)[0]
        return more.argmax(1).astype(np.int64), np.asarray(more.any(1))
