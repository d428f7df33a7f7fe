"""Naming layers: by name, by `*` pattern, by type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, cast, get_args

from precsearch.allocation import Target
from precsearch.errors import ConfigurationError
from precsearch.layers import Layer

TARGETS: tuple[Target, ...] = get_args(Target)
MOST_BITS = 16
_TYPE = "type:"


def matching(pattern: str, layers: Sequence[Layer], key: str) -> list[str]:
    """Names of the layers that `pattern` means: a name, a pattern with ``*``, or ``type:`` and a class name.

    Raises:
        ConfigurationError: when there is none; names the nearest, and `key`, where the pattern was given.
    """
    if pattern.startswith(_TYPE):
        known = sorted({layer.type for layer in layers})
        found = [layer.name for layer in layers if fnmatchcase(layer.type, pattern.removeprefix(_TYPE))]
        near = get_close_matches(pattern.removeprefix(_TYPE), known, n=1)
        what, hint = "type of layer", f"; did you mean '{_TYPE}{near[0]}'?" if near else "."
    else:
        known = [layer.name for layer in layers]
        found = [name for name in known if fnmatchcase(name, pattern)]
        near = get_close_matches(pattern, known, n=1)
        what, hint = "layer", f"; did you mean {near[0]!r}?" if near else "."
    if not found:
        raise ConfigurationError(
            f"`{key}` must name a layer, but the model has no {what} {pattern!r}{hint} "
            f"Its {'types' if what != 'layer' else 'layers'}: {', '.join(known)}"
        )
    return found


def by_target(value: Any, targets: Sequence[Target], key: str) -> dict[Target, Any]:
    """A setting for all targets, or a mapping of settings by target, as the latter.

    Raises:
        ConfigurationError: when a key is no target.
    """
    if not isinstance(value, Mapping):
        return dict.fromkeys(targets, value)
    for target in value:
        if target not in TARGETS:
            raise ConfigurationError(f"`{key}`: a target must be one of {', '.join(TARGETS)}, but got {target!r}")
        if target not in targets:
            raise ConfigurationError(
                f"`{key}` sets the {target}, which is not among the targets ({', '.join(targets)}); add it to `targets`"
            )
    return {cast(Target, target): given for target, given in value.items()}


def checked_bits(bits: Sequence[int], key: str = "bits") -> tuple[int, ...]:
    """Candidate bit-widths.

    Raises:
        ConfigurationError: when they are not whole, from 1 to 16, ascending.
    """
    given = list(bits) if isinstance(bits, Sequence) and not isinstance(bits, str) else [bits]
    whole = all(isinstance(b, int | float) and not isinstance(b, bool) and int(b) == b for b in given)
    if not given or not whole or given != sorted(set(given)) or not 1 <= given[0] <= given[-1] <= MOST_BITS:
        what = "candidate bit-widths" if key == "bits" else f"`{key}`: candidate bit-widths"
        raise ConfigurationError(
            f"{what} must be whole, from 1 to {MOST_BITS}, ascending without doubles, but got {given}"
        )
    return tuple(int(b) for b in given)
