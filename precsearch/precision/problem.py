"""The budgets as a multiple-choice knapsack: slots, stars of slots whose prices are coupled, limits.

Where a price depends on two slots (weight bits x activation bits), one of them is the other's hub. A hub and its
leaves make a star; with the hub's candidate given, every leaf is priced on its own.

Legend: S slots, K candidates, H candidates of a slot's hub (K, or 1 where no slot has one), C constraints, L leaves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from precsearch.allocation import Target

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Slot:
    """One bit-width to choose, and the (layer, target) pairs that it sets."""

    members: tuple[tuple[str, Target], ...]

    @property
    def name(self) -> str:
        """For messages: ``layer.target``."""
        return " + ".join(f"{layer}.{target}" for layer, target in self.members)


@dataclass(frozen=True, eq=False)
class Problem:
    """Choose one candidate a slot so that no constraint's cost exceeds its limit.

    Attributes:
        slots: S bit-widths to choose.
        bits: K candidate bit-widths, ascending; what any slot may have.
        candidates: [S, K] what each slot may have, at least one.
        hub: [S] the slot that the slot's price depends on as well; S where there is none. A hub has no hub.
        cost: [C, S, H, K] what a slot spends of a constraint at each candidate, while its hub is at each of its own;
            slots without a hub are priced at ``h = 0``. In units that sum without rounding; 0 where not a candidate.
        limits: [C] what may be spent, in the same units.
        feasible: [S] candidates that keep every limit.
    """

    slots: tuple[Slot, ...]
    bits: tuple[int, ...]
    candidates: Flags
    hub: Ints
    cost: Floats
    limits: Floats
    feasible: Ints

    @cached_property
    def leaves(self) -> Ints:
        """[L] the slots that have a hub, hub by hub."""
        leaves = np.flatnonzero(self.hub < len(self.slots)).astype(np.int64)
        by_hub: Ints = leaves[np.argsort(self.hub[leaves], kind="stable")]
        return by_hub

    @cached_property
    def _hubs(self) -> tuple[Ints, Ints, Ints]:
        """[L] hub of each leaf, the hubs themselves, and where in L the leaves of each begin."""
        of_leaves = self.hub[self.leaves]
        hubs, begin = np.unique(of_leaves, return_index=True)
        return of_leaves, hubs, begin

    def to_hubs(self, into: Floats, of_leaves: Floats, axis: int = 0) -> None:
        """Add what the leaves have, [..., L, ...], to what their hubs have, [..., S, ...], in place."""
        _, hubs, begin = self._hubs
        summed = of_leaves if len(hubs) == len(self.leaves) else np.add.reduceat(of_leaves, begin, axis=axis)
        into.swapaxes(0, axis)[hubs] += summed.swapaxes(0, axis)

    @cached_property
    def center(self) -> Ints:
        """[S] the hub of each slot, itself where it has none: what its star is called."""
        return np.where(self.hub < len(self.slots), self.hub, self._each)

    @cached_property
    def _each(self) -> Ints:
        return np.arange(len(self.slots))

    def _column(self, chosen: Ints) -> Ints | int:
        """[S] where in H each slot is priced."""
        return chosen[self.center] * self._has_hub if len(self.leaves) else 0

    @cached_property
    def _has_hub(self) -> Ints:
        return (self.hub < len(self.slots)).astype(np.int64)

    @cached_property
    def _flat(self) -> tuple[Floats, Ints]:
        """[C, S * H * K] costs, and [S] where each slot's begin."""
        _, slots, hubs, own = self.cost.shape
        return self.cost.reshape(len(self.limits), slots * hubs * own), self._each * hubs * own

    def spent(self, chosen: Ints) -> Floats:
        """[S] chosen candidates -> [C] what they spend."""
        flat, begin = self._flat
        place = begin + chosen if not len(self.leaves) else begin + self._column(chosen) * len(self.bits) + chosen
        spent: Floats = flat.take(place, axis=1).sum(1)
        return spent

    def keeps_budget(self, chosen: Ints) -> bool:
        """Whether [S] chosen candidates keep every limit."""
        return bool((self.spent(chosen) <= self.limits).all())

    def mask(self, scores_SK: Floats) -> Floats:
        """[S, K] scores, -inf where a slot has no such candidate."""
        return np.where(self.candidates, scores_SK, -np.inf)

    def total(self, scores_SK: Floats, chosen: Ints) -> float:
        """Sum of the scores of [S] chosen candidates."""
        return float(scores_SK[self._each, chosen].sum())

    @cached_property
    def owner(self) -> Ints:
        """[S] the constraint that the slot's star spends of, where the problem is separable."""
        owner: Ints = self.spends.argmax(0).astype(np.int64)
        return owner

    def best(self, value_SHK: Floats) -> Ints:
        """[S] candidates of highest total value, star by star; -inf marks what is no candidate.

        One value for all candidates of the hub, [S, 1, K], will do as well.
        """
        if not len(self.leaves):
            alone: Ints = value_SHK[:, 0].argmax(1).astype(np.int64)
            return alone
        leaves, hubs = self.leaves, self._hubs[0]
        if value_SHK.shape[1] == 1:
            value_SHK = np.broadcast_to(value_SHK, self.cost.shape[1:])
        of_hub, of_leaves = value_SHK[:, 0].copy(), value_SHK[leaves]
        self.to_hubs(of_hub, of_leaves.max(2))
        chosen: Ints = of_hub.argmax(1).astype(np.int64)
        chosen[leaves] = of_leaves[np.arange(len(leaves)), chosen[hubs]].argmax(1)
        return chosen

    def extreme(self, c: int, sign: float) -> Ints:
        """[S] the candidates that spend most (`sign` 1) or least (-1) of one constraint."""
        return self.best(np.where(self.candidates[:, None, :], sign * self.cost[c], -np.inf))

    @cached_property
    def lowest(self) -> Ints:
        """[S] the fewest bits of every slot."""
        lowest: Ints = self.candidates.argmax(1).astype(np.int64)
        return lowest

    @cached_property
    def start(self) -> Ints:
        """[S] the fewest bits of every slot where that keeps every limit, else `feasible`."""
        return self.lowest if self.keeps_budget(self.lowest) else self.feasible

    @cached_property
    def binding(self) -> Flags:
        """[C] whether some choice exceeds the limit."""
        dearest = [self.spent(self.extreme(c, 1.0))[c] for c in range(len(self.limits))]
        return np.array(dearest, dtype=np.float64) > self.limits

    @cached_property
    def tight(self) -> Problem:
        """The problem without the constraints that cannot be broken."""
        if self.binding.all():
            return self
        return replace(self, cost=self.cost[self.binding], limits=self.limits[self.binding])

    @cached_property
    def scale(self) -> Floats:
        """[C] what costs are divided by to make kinds comparable: the limits, or 1 where nothing may be spent."""
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
    def spends(self) -> Flags:
        """[C, S] whether the slot's star spends of the constraint."""
        own: Flags = np.asarray(self.cost.any((2, 3)))
        star = (own[:, :, None] & (self.center[:, None] == self._each)).any(1)
        spends: Flags = star[:, self.center]
        return spends

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
