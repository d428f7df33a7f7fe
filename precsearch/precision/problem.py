"""The budget as a multiple-choice knapsack: slots, units of slots whose cost is coupled, limits.

Legend: S slots, K candidates, U units, O options of a unit, P slots of a unit (1 or 2), C constraints.
"""

from __future__ import annotations

from collections.abc import Sequence
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
class Problem:
    """Choose one option a unit so that no constraint's cost exceeds its limit.

    Attributes:
        slots: S bit-widths to choose.
        bits: K candidate bit-widths, ascending.
        unit_slots: [U, P] slot of each place of a unit; S where a unit has fewer slots than P.
        option_candidates: [O, P] candidate of each place under each option, the same for all units.
        valid: [U, O] whether the unit has that option.
        cost: [U, O] what the option spends, in units that sum without rounding (bits, bytes, BitOPs).
        constraint: [U] the constraint that the unit spends of.
        limits: [C] what may be spent, in the same units.
    """

    slots: tuple[Slot, ...]
    bits: tuple[int, ...]
    unit_slots: Ints
    option_candidates: Ints
    valid: Flags
    cost: Floats
    constraint: Ints
    limits: Floats

    @property
    def units(self) -> int:
        """U."""
        return len(self.unit_slots)

    def spent(self, options: Ints) -> Floats:
        """[U] chosen options -> [C] what they spend."""
        chosen = self.cost[np.arange(self.units), options]
        spent: Floats = np.bincount(self.constraint, weights=chosen, minlength=len(self.limits)).astype(np.float64)
        return spent

    def keeps_budget(self, options: Ints) -> bool:
        """Whether [U] chosen options keep every limit."""
        return bool((self.spent(options) <= self.limits).all())

    def cheapest(self) -> Ints:
        """[U] the cheapest options."""
        options: Ints = np.where(self.valid, self.cost, np.inf).argmin(1).astype(np.int64)
        return options

    def dearest(self) -> Ints:
        """[U] the dearest options."""
        options: Ints = np.where(self.valid, self.cost, -np.inf).argmax(1).astype(np.int64)
        return options

    def slot_candidates(self, options: Ints) -> Ints:
        """[U] chosen options -> [S] chosen candidate of each slot."""
        chosen = np.zeros(len(self.slots) + 1, dtype=np.int64)
        chosen[self.unit_slots] = self.option_candidates[options]
        return chosen[:-1]

    def options_of(self, candidates: Ints | Sequence[int]) -> Ints:
        """[S] chosen candidates -> [U] the options that set them."""
        chosen = np.append(np.asarray(candidates, dtype=np.int64), 0)
        matches = (self.option_candidates[None] == chosen[self.unit_slots][:, None]).all(2) & self.valid
        options: Ints = matches.argmax(1).astype(np.int64)
        return options

    def option_scores(self, slot_scores: Floats) -> Floats:
        """[S, K] scores -> [U, O] their sums over each option's slots; -inf where there is no such option."""
        padded = np.vstack([slot_scores, np.zeros((1, slot_scores.shape[1]))])
        scores = padded[self.unit_slots[:, None, :], self.option_candidates[None]].sum(2)
        total: Floats = np.where(self.valid, scores, -np.inf)
        return total

    @cached_property
    def unit_of(self) -> Ints:
        """[S] the unit of each slot."""
        return self._homes[0]

    @cached_property
    def _homes(self) -> tuple[Ints, Ints]:
        """[S] unit, and place within it, of each slot."""
        units, places = np.nonzero(self.unit_slots < len(self.slots))
        order = np.argsort(self.unit_slots[units, places])
        return units[order], places[order]

    def raised(self, options: Ints) -> tuple[Ints, Flags]:
        """What giving one slot its next candidate would do.

        Args:
            options: [U] chosen options that keep the budget.

        Returns:
            [S] the unit's option with that slot raised, and [S] whether there is one and it fits.
        """
        unit, place = self._homes
        count = len(self.bits)
        stride = count ** (self.option_candidates.shape[1] - 1 - place)
        old = options[unit]
        possible = self.option_candidates[old, place] + 1 < count
        new = np.where(possible, old + stride, old)
        slack = (self.limits - self.spent(options))[self.constraint[unit]]
        return new, possible & (self.cost[unit, new] - self.cost[unit, old] <= slack)


def make_problem(
    slots: Sequence[Slot],
    bits: Sequence[int],
    units: Sequence[tuple[tuple[int, ...], Floats, int]],
    limits: Sequence[float],
) -> Problem:
    """Assemble a problem.

    Args:
        slots: S bit-widths to choose.
        bits: K candidate bit-widths, ascending.
        units: for each unit its one or two slots, its cost [K] or [K, K], and its constraint.
        limits: [C] what may be spent.
    """
    places = max(len(unit_slots) for unit_slots, _, _ in units)
    candidates = np.arange(len(bits))
    grids = np.meshgrid(*[candidates] * places, indexing="ij")
    option_candidates = np.stack([grid.ravel() for grid in grids], axis=1)
    unit_slots = np.full((len(units), places), len(slots), dtype=np.int64)
    cost = np.zeros((len(units), len(option_candidates)))
    valid = np.ones(cost.shape, dtype=bool)
    for u, (own, table, _) in enumerate(units):
        unit_slots[u, : len(own)] = own
        # A place without a slot has one candidate only, the first.
        valid[u] = (option_candidates[:, len(own) :] == 0).all(1)
        cost[u] = table[tuple(option_candidates[:, p] for p in range(len(own)))]
    return Problem(
        slots=tuple(slots),
        bits=tuple(bits),
        unit_slots=unit_slots,
        option_candidates=option_candidates,
        valid=valid,
        cost=cost,
        constraint=np.array([constraint for _, _, constraint in units], dtype=np.int64),
        limits=np.asarray(limits, dtype=np.float64),
    )
