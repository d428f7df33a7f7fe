"""Pydantic's errors in the house's words: the rule, the value, what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from precsearch.experiment.document import Experiment
from precsearch.experiment.places import Finding, Trail
from precsearch.experiment.schema import keys_at, nearest
from precsearch.experiment.yaml12 import scalar

_LONGEST: Final = 60


def validate(raw: Any) -> tuple[Experiment | None, list[Finding]]:
    """The experiment that `raw` describes, or everything that is wrong with it."""
    try:
        return Experiment.model_validate(raw), []
    except ValidationError as error:
        every = error.errors(include_url=False)
        # pydantic counts valid entries only, so a list with a wrong entry would be called too short as well
        told = [details for details in every if details["type"] != "too_short" or not details["input"]]
        return None, [_finding(details, raw) for details in told]


def block_findings(kind: type[BaseModel], raw: Any, before: Trail) -> list[Finding]:
    """What is wrong with a block that is read as `kind` and stands at `before` in the document."""
    try:
        kind.model_validate(raw)
    except ValidationError as error:
        found = [_finding(details, raw) for details in error.errors(include_url=False)]
        return [Finding((*before, *finding.trail), finding.message, finding.at_key) for finding in found]
    return []


def show(value: object) -> str:
    """A value as a message names it, the way YAML writes it."""
    words = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    text = repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _finding(details: ErrorDetails, raw: Any) -> Finding:
    kind, location = details["type"], details["loc"]
    trail = _trail(location, raw)
    if kind == "extra_forbidden":
        keys = keys_at(trail[:-1], raw)
        hint = nearest(str(trail[-1]), [key for key in keys if key not in _at(trail[:-1], raw)]) or (
            f"; the keys here are {', '.join(keys)}" if keys else ""
        )
        return Finding(trail, f"unknown key {trail[-1]!r}{hint}", at_key=True)
    if kind == "union_tag_invalid":
        trail = (*trail, details["ctx"]["discriminator"].strip("'"))
    message = _RULES.get(kind, _otherwise)(details, _name(trail))
    return Finding(trail, message, at_key=bool(location) and location[-1] == "[key]")


def _trail(location: tuple[str | int, ...], raw: Any) -> Trail:
    """The part of pydantic's location that is in the document; the rest names members of unions."""
    trail: Trail = ()
    for part in location:
        inside = (
            part in raw
            if isinstance(raw, Mapping)
            else isinstance(raw, list | tuple) and isinstance(part, int) and part < len(raw)
        )
        if inside:
            raw, trail = raw[part], (*trail, part)
    return trail


def _at(trail: Trail, raw: Any) -> Any:
    for part in trail:
        raw = raw[part]
    return raw


def _name(trail: Trail) -> str:
    return next((part for part in reversed(trail) if isinstance(part, str)), "value")


def _must_be(noun: str, advice: Callable[[Any], str]) -> Callable[[ErrorDetails, str], str]:
    def message(details: ErrorDetails, _name: str) -> str:
        value = details["input"]
        hint = "leave the key out for its default" if value is None else advice(value)
        got = f"the text {show(value)}" if isinstance(value, str) else show(value)
        return f"{noun} must be given, but got {got}" + (f"; {hint}" if hint else "")

    return message


def _number_advice(value: Any) -> str:
    quoted = isinstance(value, str) and isinstance(scalar(value.strip()), int | float)
    return "drop the quotes" if quoted else ""


def _int_advice(value: Any) -> str:
    if isinstance(value, float):
        return f"write {round(value)}"
    return _number_advice(value)


def _text_advice(value: Any) -> str:
    return f"put it in quotes: '{show(value)}'" if not isinstance(value, list | dict) else ""


def _bool_advice(value: Any) -> str:
    words = {"yes": "true", "on": "true", "1": "true", "no": "false", "off": "false", "0": "false"}
    word = words.get(str(value).lower())
    return f"write {word}" if word else ""


def _list_advice(value: Any) -> str:
    return f"write [{value}]" if not isinstance(value, dict) else ""


def _choice(details: ErrorDetails, _name: str) -> str:
    allowed = re.findall(r"'([^']*)'", str(details["ctx"]["expected"]))
    value = details["input"]
    listed = f"one of {', '.join(allowed)}" if len(allowed) > 1 else f"`{allowed[0]}`"
    hint = nearest(value, allowed) if isinstance(value, str) else ""
    return f"{listed} must be given, but got {show(value)}{hint or _quotes_hint(value)}"


def _quotes_hint(value: Any) -> str:
    advice = _number_advice(value)
    return f"; for a number {advice}" if advice else ""


def _bound(sign: str, key: str) -> Callable[[ErrorDetails, str], str]:
    def message(details: ErrorDetails, name: str) -> str:
        return f"`{name} {sign} {details['ctx'][key]:g}` must hold, but got {show(details['input'])}"

    return message


def _tag_missing(_details: ErrorDetails, _name: str) -> str:
    return "`type` is missing; add `type: float`, `type: int` or `type: categorical`"


def _tag_unknown(details: ErrorDetails, _name: str) -> str:
    allowed = re.findall(r"'([^']*)'", details["ctx"]["expected_tags"])
    tag = str(details["ctx"]["tag"])
    return f"one of {', '.join(allowed)} must be given, but got {tag!r}{nearest(tag, allowed)}"


def _otherwise(details: ErrorDetails, _name: str) -> str:
    text = details["msg"]
    return f"{text[:1].lower()}{text[1:]}, but got {show(details['input'])}"


_mapping = _must_be("a mapping of `key: value`", lambda _: "")
_list = _must_be("a list", _list_advice)
_RULES: Final[dict[str, Callable[[ErrorDetails, str], str]]] = {
    "missing": lambda details, _: f"`{details['loc'][-1]}` is missing; add it",
    "value_error": lambda details, _: str(details["ctx"]["error"]),
    "literal_error": _choice,
    "union_tag_not_found": _tag_missing,
    "union_tag_invalid": _tag_unknown,
    "int_type": _must_be("a whole number", _int_advice),
    "float_type": _must_be("a number", _number_advice),
    "finite_number": _must_be("a finite number", lambda _: ""),
    "string_type": _must_be("a text", _text_advice),
    "bool_type": _must_be("true or false", _bool_advice),
    "tuple_type": _list,
    "list_type": _list,
    "dict_type": _mapping,
    "model_type": _mapping,
    "model_attributes_type": _mapping,
    "greater_than": _bound(">", "gt"),
    "greater_than_equal": _bound(">=", "ge"),
    "less_than": _bound("<", "lt"),
    "less_than_equal": _bound("<=", "le"),
    "too_short": lambda details, _: f"at least {details['ctx']['min_length']} entry must be given, but got none",
}
