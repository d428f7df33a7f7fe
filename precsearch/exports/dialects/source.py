"""A JSON document with the file it is from, for messages that say where."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from precsearch.allocation import FLOAT_BITS
from precsearch.errors import AllocationError

MOST: Final = 16


@dataclass(frozen=True)
class Source:
    """A document.

    Attributes:
        path: of its file.
        text: of it.
        data: what the JSON says.
    """

    path: Path
    text: str
    data: Any

    def at(self, word: str) -> str:
        """Where a string first stands in it, ``file:line:column``; the file where it does not."""
        for written in (json.dumps(word), json.dumps(word, ensure_ascii=False)):
            start = self.text.find(written)
            if start >= 0:
                before = self.text[:start]
                return f"{self.path}:{before.count(chr(10)) + 1}:{start - (before.rfind(chr(10)) + 1) + 1}"
        return str(self.path)

    def bits(self, value: object, what: str, word: str) -> int | None:
        """A bit-width that the document gives; None where it is 32, which is float.

        Args:
            value: as it stands there.
            what: it is, for the message.
            word: near which it stands.

        Raises:
            AllocationError: when it is no bit-width.
        """
        if isinstance(value, int) and not isinstance(value, bool):
            if value == FLOAT_BITS:
                return None
            if 1 <= value <= MOST:
                return value
        raise AllocationError(
            f"{self.at(word)}: {what}: bits must be whole, from 1 to {MOST}, or {FLOAT_BITS} for float32, "
            f"but got {_shown(value)}"
        )

    def mapping(self, value: object, what: str, word: str) -> dict[str, Any]:
        """What must be a JSON object.

        Raises:
            AllocationError: when it is none.
        """
        if not isinstance(value, dict):
            raise AllocationError(f"{self.at(word)}: {what}: an object must be given, but got {_shown(value)}")
        return value


def read_source(path: Path) -> Source:
    """Read a file.

    Raises:
        AllocationError: when it cannot be read, is no JSON, or gives something twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AllocationError(f"cannot read the allocation {path}: {reason}") from None
    try:
        return Source(path, text, json.loads(text, object_pairs_hook=_once))
    except json.JSONDecodeError as error:
        raise AllocationError(
            f"{path}:{error.lineno}:{error.colno}: not valid JSON ({error.msg}); was the file cut short?"
        ) from None
    except _TwiceError as error:
        raise AllocationError(f"{path}: a name must stand once, but {error} stands twice; drop one of them") from None
    except RecursionError:
        raise AllocationError(f"{path}: no allocation is nested so deeply; was the right file named?") from None


class _TwiceError(ValueError):
    pass


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise _TwiceError(repr(key))
        made[key] = value
    return made


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 -- what fits a line
