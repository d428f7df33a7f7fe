"""Slots, and stars of slots whose prices are coupled: what choices spend.

Where a price depends on two slots (weight bits x activation bits), one of them is the other's hub. A hub and its
leaves make a star; with the hub's candidate given, every leaf is priced on its own.

Legend: S slots, K candidates, H candidates of a slot's hub (K, or 1 where no slot has one), C constraints, L leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
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
class Stars:
    """One candidate for each slot, and what it spends.

    Attributes:
        slots: S bit-widths to choose.
        bits: K candidate bit-widths, ascending; what any slot may have.
        candidates: [S, K] what each slot may have, at least one.
        hub: [S] the slot that the slot's price depends on as well; S where there is none. A hub has no hub.
        cost: [C, S, H, K] what a slot spends of a constraint at each candidate, while its hub is at each of its own;
            slots without a hub are priced at ``h = 0``. In units that sum without rounding; 0 where not a candidate.
    """

    slots: tuple[Slot, ...]
    bits: tuple[int, ...]
    candidates: Flags
    hub: Ints
    cost: Floats

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
        return self.cost.reshape(len(self.cost), slots * hubs * own), self._each * hubs * own

    def spent(self, chosen: Ints) -> Floats:
        """[S] chosen candidates -> [C] what they spend."""
        flat, begin = self._flat
        place = begin + chosen if not len(self.leaves) else begin + self._column(chosen) * len(self.bits) + chosen
        spent: Floats = flat.take(place, axis=1).sum(1)
        return spent

    def mask(self, scores_SK: Floats) -> Floats:
        """[S, K] scores, -inf where a slot has no such candidate."""
        return np.where(self.candidates, scores_SK, -np.inf)

    def total(self, scores_SK: Floats, chosen: Ints) -> float:
        """Sum of the scores of [S] chosen candidates."""
        return float(scores_SK[self._each, chosen].sum())

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
    def dearest(self) -> Floats:
        """[C] the most that a choice spends of each constraint."""
        return np.array([self.spent(self.extreme(c, 1.0))[c] for c in range(len(self.cost))], dtype=np.float64)

    @cached_property
    def spends(self) -> Flags:
        """[C, S] whether the slot's star spends of the constraint."""
        own: Flags = np.asarray(self.cost.any((2, 3)))
        star = (own[:, :, None] & (self.center[:, None] == self._each)).any(1)
        spends: Flags = star[:, self.center]
        return spends
