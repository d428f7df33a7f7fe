"""`--set PATH=VALUE`: changing an experiment from the command line, before it is validated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from precsearch.experiment.places import Place, Places, Problem, Trail
from precsearch.experiment.schema import locate, nearest, set_at
from precsearch.experiment.yaml12 import parse

_DIMENSION_KEYS: Final = ("type", "low", "high", "step", "log", "choices", "when")


def apply_overrides(raw: dict[str, Any], places: Places, overrides: Sequence[str]) -> list[Problem]:
    """Set what each `PATH=VALUE` says, in place; a later one wins over an earlier.

    `space.PATH` is a dimension, `space.PATH.low` a key of it; null removes the dimension, and its values in
    `study.enqueue` with it.

    Returns:
        What is wrong with the overrides themselves.
    """
    problems: list[Problem] = []
    given: dict[Trail, tuple[Place, Any]] = {}
    for text in overrides:
        place = Place(0, 0, f"--set {text}")
        path, equals, value_text = (part.strip() for part in text.partition("="))
        if not equals or not path:
            problems.append(Problem(place, "PATH=VALUE must be given, such as inner.budget.limit=3.0"))
            continue
        document = parse(value_text, place.source, lines=False)
        problems += [document.places.problem(finding) for finding in document.findings]
        try:
            trail = _trail(path, document.value, raw)
        except LookupError as error:
            problems.append(Problem(place, str(error.args[0])))
            continue
        places.override(trail, place)
        if trail[0] == "space" and document.value is None:
            _remove(raw, trail)
        else:
            given[trail] = (place, document.value)
            set_at(raw, trail, document.value)
    searched = _space(raw)
    return problems + [
        Problem(place, _searched(path))
        for trail, (place, value) in given.items()
        for path in searched
        if trail[0] != "space" and _sets(".".join(map(str, trail)), value, path)
    ]


def _space(raw: Mapping[str, Any]) -> dict[str, Any]:
    space = raw.get("space")
    return space if isinstance(space, dict) else {}


def _trail(path: str, value: Any, raw: Mapping[str, Any]) -> Trail:
    top, _, rest = path.partition(".")
    if top != "space" or not rest:
        return locate(path)
    dimensions = _space(raw)
    dimension, _, key = rest.rpartition(".")
    if rest in dimensions:
        return ("space", rest)
    if dimension in dimensions and key in _DIMENSION_KEYS:
        return ("space", dimension, key)
    if isinstance(value, dict):
        return ("space", rest)
    keys = [f"{known}.{key}" for known in dimensions for key in _DIMENSION_KEYS]
    hint = nearest(rest, [*dimensions, *keys]) or f"; searched are {', '.join(dimensions) or 'none'}"
    raise LookupError(f"`{rest}` is not searched{hint}")


def _remove(raw: dict[str, Any], trail: Trail) -> None:
    if len(trail) == 1:
        raw["space"] = {}
        _forget(raw, None)
    elif len(trail) == 2:  # noqa: PLR2004 -- space, and a dimension of it
        del raw["space"][trail[1]]
        _forget(raw, trail[1])
    elif isinstance(raw["space"][trail[1]], dict):
        raw["space"][trail[1]].pop(trail[2], None)


def _forget(raw: dict[str, Any], dimension: str | int | None) -> None:
    """Drop the values of a dimension (None: of all) from the points to try first, and points left empty."""
    study = raw.get("study")
    points = study.get("enqueue") if isinstance(study, dict) else None
    if isinstance(study, dict) and isinstance(points, list | tuple):
        kept = [
            {path: value for path, value in point.items() if dimension not in (None, path)}
            if isinstance(point, dict)
            else point
            for point in points
        ]
        study["enqueue"] = [point for point in kept if point != {}]


def _sets(path: str, value: Any, searched: str) -> bool:
    """Whether setting `path` to `value` gives the searched path, or a part of it, a value."""
    if path == searched or path.startswith(f"{searched}."):
        return True
    if not searched.startswith(f"{path}."):
        return False
    for part in searched[len(path) + 1 :].split("."):
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return True


def _searched(path: str) -> str:
    return (
        f"`{path}` is searched in `space`, so no trial would use this value; "
        f"add `--set space.{path}=null` to search it no more"
    )
