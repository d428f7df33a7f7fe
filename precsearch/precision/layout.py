"""Which bit-widths there are to choose: the slots of a model, and which of them are priced together.

Legend: S slots, K candidates.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from precsearch.allocation import Target
from precsearch.errors import BudgetError
from precsearch.precision.kinds import Bits, Footprint, Priced
from precsearch.precision.problem import Flags, Ints, Slot

TARGETS: tuple[Target, ...] = ("weight", "activation", "gradient")


@dataclass(frozen=True)
class Searched:
    """What is to be searched about one target of one layer.

    Attributes:
        bits: its candidates, ascending; all of the plan's where None.
        group: choices with the same group get the same bits, whatever their layers and targets; alone where None.
    """

    bits: tuple[int, ...] | None = None
    group: str | None = None


SEARCHED = Searched()
# Of one layer's target: to be searched, pinned to bits, or None for float.
Choice = Searched | Bits


@dataclass(frozen=True)
class LayerChoices:
    """A layer, and what is to be decided about each of its targets."""

    layer: Footprint
    weight: Choice = None
    activation: Choice = None
    gradient: Choice = None

    def choice(self, target: Target) -> Choice:
        """What is to be decided about `target`."""
        return {"weight": self.weight, "activation": self.activation, "gradient": self.gradient}[target]

    def at(self, weight: int, activation: int, gradient: int | None = None) -> Priced:
        """The layer with its searched targets at these bits."""
        decided = [
            searched if isinstance(choice, Searched) else choice
            for choice, searched in ((self.weight, weight), (self.activation, activation), (self.gradient, gradient))
        ]
        return Priced(self.layer, *decided)


@dataclass(frozen=True)
class Layout:
    """The slots.

    Attributes:
        slots: S; targets in their order, layers in theirs.
        bits: K candidate bit-widths, ascending: the union of all slots'.
        candidates: [S, K] what each slot may have.
        slot_of: (layer, target) -> slot, for what is searched.
    """

    slots: tuple[Slot, ...]
    bits: tuple[int, ...]
    candidates: Flags
    slot_of: dict[tuple[str, Target], int]

    def price_at(self, choices: Sequence[LayerChoices], chosen: Ints) -> list[Priced]:
        """[S] chosen candidates -> every layer with its bits."""

        def bits(choice: LayerChoices, target: Target) -> int:
            slot = self.slot_of.get((choice.layer.name, target))
            return 0 if slot is None else self.bits[int(chosen[slot])]

        return [choice.at(*(bits(choice, target) for target in TARGETS)) for choice in choices]


def lay_out(choices: Sequence[LayerChoices], bits: Sequence[int]) -> Layout:
    """The slots of a model.

    Args:
        choices: every layer.
        bits: candidates of what names none.

    Raises:
        BudgetError: when nothing is searched, or the members of a group have no candidate in common.
    """
    members: dict[object, list[tuple[str, Target]]] = defaultdict(list)
    allowed: dict[object, set[int]] = {}
    for target in TARGETS:
        for choice in choices:
            searched = choice.choice(target)
            if isinstance(searched, Searched):
                key = searched.group if searched.group is not None else (choice.layer.name, target)
                members[key].append((choice.layer.name, target))
                allowed[key] = allowed.get(key, set(searched.bits or bits)) & set(searched.bits or bits)
    if not members:
        raise BudgetError("at least one layer must be searched, but every layer is pinned; remove a pin")
    slots = tuple(Slot(tuple(own)) for own in members.values())
    for slot, own in zip(slots, allowed.values(), strict=True):
        if not own:
            raise BudgetError(
                f"layers that share bits must have a candidate in common, but {slot.name} have none; widen their bits"
            )
    union = sorted(set(bits).union(*allowed.values()))
    candidates = np.array([[b in own for b in union] for own in allowed.values()])
    slot_of = {member: s for s, slot in enumerate(slots) for member in slot.members}
    return Layout(slots, tuple(union), candidates, slot_of)


def find_hubs(pairs: Collection[tuple[int, int]], slots: Sequence[Slot]) -> Ints:
    """[S] the hub of each slot, S where it has none.

    Args:
        pairs: of slots whose price is coupled; of two that are coupled with nothing else, the second is the hub.
        slots: for messages.

    Raises:
        BudgetError: when coupled slots make no star.
    """
    neighbours: dict[int, set[int]] = defaultdict(set)
    for one, other in pairs:
        neighbours[one].add(other)
        neighbours[other].add(one)
    hub = np.full(len(slots), len(slots), dtype=np.int64)
    for one, other in sorted(pairs):
        center = one if len(neighbours[one]) > 1 else other
        leaf = other if center == one else one
        if len(neighbours[leaf]) > 1:
            layers = sorted({layer for slot in (leaf, center) for layer, _ in slots[slot].members})
            raise BudgetError(
                f"a price of weight bits x activation bits couples {slots[leaf].name} and {slots[center].name}, and "
                f"each of them with others as well; put the layers {', '.join(layers)} in one group, or use a budget "
                "that adds up (average_bits, model_size)"
            )
        hub[leaf] = center
    return hub
