"""Dotted paths that trainings of one experiment may differ in."""

from __future__ import annotations

from typing import Final

from precsearch.experiment.schema import locate

_SEARCHABLE: Final = ("data", "model", "inner")  # what a trial may differ in from another of its study


def path_problem(path: str, verb: str = "set") -> str:
    """What is wrong with a path that trainings are to differ in, or nothing."""
    hint = unknown(path)
    if path.split(".", maxsplit=1)[0] not in _SEARCHABLE:
        hint = f"; {hint}" if hint else f"; it starts with {', '.join(_SEARCHABLE[:-1])} or {_SEARCHABLE[-1]}"
        return f"a path of `data`, `model` or `inner` must be {verb}, but got {path!r}{hint}"
    return hint


def unknown(path: str) -> str:
    """That there is no such path, and the nearest; nothing where there is."""
    try:
        locate(path)
    except LookupError as error:
        return str(error.args[0])
    return ""
