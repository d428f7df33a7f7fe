"""What is to be decided about every target of every layer: searched among which bits, pinned, or left in float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from precsearch.allocation import Target
from precsearch.conversion.patterns import MOST_BITS, by_target, checked_bits, matching
from precsearch.errors import ConfigurationError
from precsearch.layers import Inventory, Layer

Part = tuple[str, Target]  # one target of one layer
Choice = tuple[int, ...] | int | None  # searched among these, pinned to this, or float
SharedKinds = Sequence[Literal["residual", "shared_input"]]
TIED: Final = "tied"
JOINED: Final = " + "  # between the names of groups that became one


@dataclass(frozen=True)
class Group:
    """Parts that have one bit-width.

    Attributes:
        name: for people.
        parts: two or more, in the model's order.
    """

    name: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Decisions:
    """For each part what is to be decided, and which parts are decided together.

    Attributes:
        choices: of every part that can be quantized.
        groups: disjoint.
    """

    choices: Mapping[Part, Choice]
    groups: tuple[Group, ...]

    def choice(self, layer: str, target: Target) -> Choice:
        """What is to be decided about one part; None where it stays in float32."""
        return self.choices.get((layer, target))

    def group(self, layer: str, target: Target) -> Group | None:
        """The group of one part, or None."""
        return next((group for group in self.groups if (layer, target) in group.parts), None)


def decide(
    inventory: Inventory,
    bits: Sequence[int],
    targets: Sequence[Target],
    pin: Mapping[str, Any],
    candidates: Mapping[str, Any],
    groups: Mapping[str, Any],
    share: SharedKinds,
) -> Decisions:
    """Resolve patterns into decisions.

    Args:
        inventory: of the model.
        bits: candidates of every layer that `candidates` does not name.
        targets: what is quantized.
        pin: layers (name, pattern, or ``type:`` and class name) -> bits, ``float``, or either by target. Of several
            entries that name a layer the last holds.
        candidates: layers -> candidate bit-widths, or those by target.
        groups: name -> layers that have one bit-width, or ``{layers: [...], targets: [...]}``.
        share: kinds of tensors whose readers have one bit-width for them: ``residual``, ``shared_input``.

    Raises:
        ConfigurationError: when a pattern matches nothing, bits are out of range, or a group cannot agree.
    """
    layers = inventory.layers
    choices: dict[Part, Choice] = {
        (layer.name, target): checked_bits(bits)
        for layer in layers
        for target in targets
        if not uncovered(layer, target, layers)
    }
    for key, settings, read in (("candidates", candidates, _candidates), ("pin", pin, _pinned)):
        for pattern, value in settings.items():
            names = matching(pattern, layers, key)
            for target, given in by_target(value, targets, f"{key}.{pattern}").items():
                parts = [(name, target) for name in names if (name, target) in choices]
                if isinstance(value, Mapping) and not parts:
                    reason = uncovered(inventory.layer(names[0]), target, layers)
                    raise ConfigurationError(f"`{key}.{pattern}`: the {target} of {names[0]} cannot be set: {reason}")
                choices |= dict.fromkeys(parts, read(given, pattern))
    merged = _merge([*_tied(layers), *_shared(inventory, share), *_own(groups, layers, targets)], choices)
    for group in merged:
        choices |= dict.fromkeys(group.parts, _agreed(group, choices))
    return Decisions(choices, tuple(merged))


def uncovered(layer: Layer, target: Target, layers: Sequence[Layer]) -> str:
    """Why a target of a layer cannot be quantized; empty where it can."""
    if target == "activation":
        return layer.uncovered_input
    if target == "gradient":
        first = next(other for other in layers if other.module == layer.module)
        if not layer.outputs:
            return "its module's forward is bypassed"
        return "" if first is layer else f"it is that of {first.name}, of the same module"
    return ""


def _candidates(value: Any, pattern: str) -> Choice:
    return checked_bits(value, f"candidates.{pattern}")


def _pinned(value: Any, pattern: str) -> Choice:
    if value == "float":
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_BITS:
        raise ConfigurationError(f"`pin` takes 1 to {MOST_BITS} bits or 'float', but got {value!r} for {pattern!r}")
    return value


def _tied(layers: Sequence[Layer]) -> list[Group]:
    return [
        Group(f"{TIED} to {layer.tied_to}", ((layer.tied_to, "weight"), (layer.name, "weight")))
        for layer in layers
        if layer.tied_to is not None
    ]


def _shared(inventory: Inventory, share: SharedKinds) -> list[Group]:
    wanted = [shared for shared in inventory.shared if shared.kind in share]
    return [
        Group(f"{shared.kind} {number}", tuple((name, "activation") for name in shared.readers))
        for number, shared in enumerate(wanted, start=1)
    ]


def _own(groups: Mapping[str, Any], layers: Sequence[Layer], targets: Sequence[Target]) -> list[Group]:
    found = []
    for name, given in groups.items():
        patterns, own = _members(given, name)
        named = {match for pattern in patterns for match in matching(pattern, layers, f"groups.{name}")}
        if len(named) < 2:  # noqa: PLR2004 -- one agrees with itself
            shown = f"{', '.join(patterns)} is {' '.join(named)} alone" if patterns else "it names none"
            raise ConfigurationError(
                f"`groups.{name}` must name at least two layers, but {shown}; name another one, or drop the group"
            )
        members = [layer for layer in layers if layer.name in named]
        by_target(dict.fromkeys(own), targets, f"groups.{name}.targets")
        for target in own:
            for layer in members:
                if reason := uncovered(layer, target, layers):
                    raise ConfigurationError(
                        f"`groups.{name}`: the {target} of {layer.name} cannot be set: {reason}; "
                        "take the layer out of the group"
                    )
        for target in own or [each for each in targets if each != "gradient"] or targets:
            parts = tuple((layer.name, target) for layer in members)
            found.append(Group(name, parts))
    return found


def _members(given: Any, name: str) -> tuple[list[str], list[Target]]:
    """Patterns and targets of a group, as it was given; no targets where it names none."""
    whole = given if isinstance(given, Mapping) else {"layers": given}
    if "layers" not in whole or set(whole) - {"layers", "targets"}:
        raise ConfigurationError(
            f"`groups.{name}` takes a list of layers, or `layers` and `targets`, but got {', '.join(map(repr, whole))}"
        )
    lists = [whole["layers"], whole.get("targets") or ()]
    patterns, targets = [[each] if isinstance(each, str) else list(each) for each in lists]
    return patterns, cast(list[Target], targets)


def _merge(groups: Sequence[Group], choices: Mapping[Part, Choice]) -> list[Group]:
    """Groups that have a part in common become one; parts that cannot be quantized are left out."""
    merged: list[tuple[list[str], set[Part]]] = []
    for group in groups:
        names, parts = [group.name], {part for part in group.parts if part in choices}
        for other in [other for other in merged if other[1] & parts]:
            merged.remove(other)
            names, parts = [*other[0], *names], parts | other[1]
        merged.append((names, parts))
    order = list(choices)
    return [
        Group(JOINED.join(dict.fromkeys(names)), tuple(sorted(parts, key=order.index)))
        for names, parts in merged
        if len(parts) > 1
    ]


def _agreed(group: Group, choices: Mapping[Part, Choice]) -> Choice:
    """The one decision for a group: its pin where a member is pinned, else the candidates that all have."""
    named = {part: choices[part] for part in group.parts}
    pins = {part: choice for part, choice in named.items() if not isinstance(choice, tuple)}
    if pins:
        if len(set(pins.values())) > 1:
            raise ConfigurationError(
                f"the layers of a group must agree, but in {group.name!r} "
                f"{', '.join(f'{_shown(part)} is pinned to {_bits(choice)}' for part, choice in pins.items())}; "
                "pin them alike, or take one out of the group"
            )
        return next(iter(pins.values()))
    common = set.intersection(*(set(choice) for choice in named.values() if isinstance(choice, tuple)))
    if not common:
        raise ConfigurationError(
            f"the layers of a group must agree, but in {group.name!r} no bit-width is a candidate of all: "
            f"{', '.join(f'{_shown(part)} has {_bits(choice)}' for part, choice in named.items())}; "
            "give them one in common, or take one out of the group"
        )
    return tuple(sorted(common))


def _shown(part: Part) -> str:
    return f"{part[0]} ({part[1]})"


def _bits(choice: Choice) -> str:
    if choice is None:
        return "float"
    return "/".join(map(str, choice)) if isinstance(choice, tuple) else f"{choice} bits"
