"""Arguments that a YAML passes on to Optuna, checked by name so that a slip is found before any training."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from precsearch.errors import ConfigurationError

T = TypeVar("T")


def build(where: str, name: str, make: Callable[..., T], given: Mapping[str, Any], allowed: Collection[str]) -> T:
    """`make(**given)`, with errors that name the YAML's block and the argument.

    Raises:
        ConfigurationError: for an argument that is not allowed, or a value that `make` refuses.
    """
    for key in given:
        if key not in allowed:
            near = difflib.get_close_matches(key, allowed, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            takes = ", ".join(sorted(allowed)) or "no arguments"
            raise ConfigurationError(f"{where}: {name!r} has no argument {key!r} (it takes {takes}){hint}")
    try:
        return make(**given)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{where}: {name!r} refuses {dict(given)}: {error}") from None
