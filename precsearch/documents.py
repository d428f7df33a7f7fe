"""Reading the JSON documents that carry a format and a version, and saying what is wrong with one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NoReturn, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from precsearch.errors import AllocationError

_Model = TypeVar("_Model", bound=BaseModel)
_SHOWN = 60  # characters of a value that is shown


def parse_json(text: str, where: str) -> Any:
    """The JSON document in `text`, which is at `where`.

    Raises:
        AllocationError: when it is none; NaN and infinities are no JSON.
    """
    try:
        return json.loads(text, parse_constant=lambda name: _refuse_number(name, where))
    except json.JSONDecodeError as error:
        raise AllocationError(
            f"{where}:{error.lineno}:{error.colno}: not valid JSON ({error.msg}); "
            "was the file cut short? export the allocation again"
        ) from None
    except (ValueError, RecursionError) as error:  # a number or a nesting that Python does not read
        raise AllocationError(f"{where}: this JSON cannot be read: {error}; export the allocation again") from None


def _refuse_number(name: str, where: str) -> NoReturn:
    raise AllocationError(f"{where}: numbers must be finite, but it has {name}, which is no JSON; give a number")


def check_header(data: object, where: str, form: str, version: int) -> None:
    """Refuse a document of another format or version.

    Raises:
        AllocationError: naming both.
    """
    if not isinstance(data, dict) or data.get("format") != form:
        found = data.get("format") if isinstance(data, dict) else type(data).__name__
        raise AllocationError(f"{where}: not an allocation: expected format {form!r}, got {found!r}")
    found = data.get("version")
    if found != version or isinstance(found, bool | float):
        raise AllocationError(
            f"{where}: allocation format version {found!r} is not known here (this precsearch reads version "
            f"{version}); upgrade precsearch, or export the allocation again with this version"
        )


def as_model(kind: type[_Model], data: Any, where: str) -> _Model:
    """`data` as a model: whole numbers written as such, no words for numbers, no key that is not known.

    Raises:
        AllocationError: naming the place, the rule and the value.
    """
    try:
        text = json.dumps(data, allow_nan=False)  # in JSON, a list may be a tuple
    except ValueError:
        raise AllocationError(f"{where}: numbers must be finite, but it has one above 1e308; give a number") from None
    try:
        return kind.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise AllocationError(f"{where}: {_told(kind, error, data)}") from None


def _told(kind: type[BaseModel], error: ValidationError, data: Any) -> str:
    first = error.errors(include_url=False)[0]
    keys, value = _place(first["loc"], data)
    place = ".".join(map(str, keys)) or "the document"
    last = str(first["loc"][-1]) if first["loc"] else ""
    if first["type"] == "missing":
        return f"{place}: it must have {last!r}, but it has {', '.join(map(repr, value)) or 'nothing'}"
    if first["type"] == "extra_forbidden":
        near = get_close_matches(last, sorted(_keys(kind)), n=1)
        return f"{place}: there is no such key{f'; did you mean {near[0]!r}?' if near else ''}"
    rule = first["msg"].removeprefix("Value error, ")
    shown = json.dumps(value)
    return rule if not keys else f"{place}: {rule}, got {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '...'}"


def _place(loc: Sequence[int | str], data: Any) -> tuple[list[int | str], Any]:
    """The keys of a place that are in the document, and what is there; pydantic adds those of its own types."""
    keys: list[int | str] = []
    for key in loc:
        if not isinstance(data, dict | list) or key not in (data if isinstance(data, dict) else range(len(data))):
            continue
        data = data[key]  # type: ignore[index]
        keys.append(key)
    return keys, data


def _keys(kind: Any) -> set[str]:
    """Every key that a document of a model may have somewhere."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = kind.model_fields
        return {*fields, *(key for field in fields.values() for key in _keys(field.annotation))}
    return {key for each in get_args(kind) for key in _keys(each)}
