"""What is decided about layers before any training, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from precsearch.plans import Decided, LayerPlan

_NAMED = 4


def decided_text(decided: Decided, bits: Sequence[int], reason: str = "") -> str:
    """`2, 3, 4`, `pinned to 8`, `fixed at 4`, `float: pinned` or `float: ` and the reason."""
    if decided == "float":
        return f"float: {reason or 'pinned'}"
    listed = ", ".join(map(str, bits))
    return {"searched": listed, "fixed": f"fixed at {listed}", "pinned": f"pinned to {listed}"}[decided]


def layer_text(layer: LayerPlan) -> str:
    """One layer's targets: `2, 3, 4 (weight and activation)`, or `weight pinned to 8; activation 2, 3, 4`."""
    texts = {target: decided_text(own.decided, own.bits, own.reason) for target, own in layer.targets.items()}
    groups: dict[str, list[str]] = {}
    for target, own in layer.targets.items():
        if own.group is not None:
            groups.setdefault(own.group, []).append(target)
    shared = "".join(
        f", {'' if len(members) == len(texts) else ' and '.join(members) + ' '}shared with group {group}"
        for group, members in groups.items()
    )
    if len(set(texts.values())) > 1:
        return "; ".join(f"{target} {text}" for target, text in texts.items()) + shared
    text = next(iter(texts.values()))
    searched = any(own.decided == "searched" for own in layer.targets.values())
    return f"{text} ({' and '.join(texts)}{shared})" if searched else text + shared


def names_text(names: Sequence[str], most: int = _NAMED) -> str:
    """All names where they are few, else the first ones, the last, and how many there are."""
    if len(names) <= most + 1:
        return ", ".join(names)
    return f"{', '.join(names[: most - 1])}, ... {names[-1]} ({len(names)})"
