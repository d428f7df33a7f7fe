"""Which keys the experiment has, by dotted path; setting values in its raw form."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from precsearch.allocation import Target
from precsearch.experiment.document import Experiment
from precsearch.experiment.places import Trail


def nearest(word: str, words: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the word nearest to `word`, or nothing."""
    by_folded = {other.lower(): other for other in words}
    alike = 0.75 if "." in word else 0.6  # paths are alike by their heads alone
    near = difflib.get_close_matches(word.lower(), by_folded, n=1, cutoff=alike)
    return f"; did you mean {by_folded[near[0]]!r}?" if near else ""


def keys_at(trail: Trail, raw: Any) -> list[str]:
    """The keys that the block at `trail` may have."""
    annotations: list[Any] = [Experiment]
    for part in trail:
        annotations = [inner for outer in annotations for inner in _inside(outer, part)]
        raw = _get(raw, part)
    models = [member for outer in annotations for member in _members(outer) if _is_model(member)]
    kind = raw.get("type") if isinstance(raw, Mapping) else None
    meant = [m for m in models if "type" in m.model_fields and kind in get_args(m.model_fields["type"].annotation)]
    return list(dict.fromkeys(name for model in meant or models for name in model.model_fields))


def locate(path: str) -> Trail:
    """The trail of a dotted path; `space` is not looked into.

    Keys that a block passes on (a builder's arguments) are taken as they are. In a mapping of blocks
    (`inner.budgets`) a key is a name without dots; the rest of a path into any other mapping (`inner.pin`) is one
    key, dots and all, but for a target at its end where entries may be given by target (`inner.pin.fc1.gradient`).

    Raises:
        LookupError: when there is no such path; names the nearest.
    """
    parts = path.split(".")
    trail: Trail = ()
    annotation: Any = Experiment
    for i, part in enumerate(parts):
        members = list(_members(annotation))
        models = [member for member in members if _is_model(member)]
        fields = next((m.model_fields for m in models if part in m.model_fields), None)
        if fields is not None:
            trail, annotation = (*trail, part), fields[part].annotation
        elif part and any(m.model_config.get("extra") == "allow" for m in models):
            return (*trail, *parts[i:])
        elif part and (blocks := _blocks_in(members)) is not None and trail != ("space",):
            trail, annotation = (*trail, part), blocks
        elif part and (entries := [get_args(member)[1] for member in members if get_origin(member) is dict]):
            by_target = [kind for each in entries for kind in _members(each) if get_origin(kind) is dict]
            whole = len(parts) if not by_target or parts[-1] not in get_args(Target) or i + 1 == len(parts) else -1
            return (*trail, ".".join(parts[i:whole]), *parts[len(parts[i:whole]) + i :])
        else:
            raise LookupError(_unknown(path, trail, part, keys_at(trail, None)))
    return trail


def set_at(raw: dict[str, Any], trail: Trail, value: Any) -> None:
    """Set the value at `trail`, in place, making the mappings on the way."""
    here: dict[Any, Any] = raw
    for part in trail[:-1]:
        if not isinstance(here.get(part), dict):
            here[part] = {}
        here = here[part]
    here[trail[-1]] = value


def without_empty_blocks(raw: dict[str, Any], model: type[BaseModel] = Experiment) -> dict[str, Any]:
    """A copy without the blocks that say nothing (`space:` with every line below it commented out)."""
    kept: dict[str, Any] = {}
    for key, value in raw.items():
        annotation = model.model_fields[key].annotation if key in model.model_fields else None
        members = list(_members(annotation))
        inner = next((member for member in members if _is_model(member)), None)
        is_block = inner is not None or any(get_origin(member) is dict for member in members)
        if value is None and is_block and NoneType not in members:
            continue
        kept[key] = without_empty_blocks(value, inner) if inner and isinstance(value, dict) else value
    return kept


@cache
def all_paths() -> tuple[str, ...]:
    """Every dotted path that a name can be given for."""
    return tuple(_paths(Experiment, ""))


def _paths(model: type[BaseModel], before: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = [member for member in _members(field.annotation) if _is_model(member)]
        yield before + name
        for block in inner:
            yield from _paths(block, f"{before}{name}.")


def _unknown(path: str, trail: Trail, part: str, keys: list[str]) -> str:
    if not keys:
        return f"there is no `{path}`: `{'.'.join(map(str, trail))}` has no keys to set one by one; set it whole"
    before = "".join(f"{done}." for done in trail)
    ends = [known for known in all_paths() if known.endswith(f".{path}")]
    if ends:
        hint = f"; did you mean {ends[0]!r}?"
    else:
        hint = nearest(before + part, [before + key for key in keys]) or nearest(path, all_paths())
    return f"there is no `{path}`{hint or '; the keys here are ' + ', '.join(keys)}"


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _members(annotation: Any) -> Iterator[Any]:
    """The alternatives of an annotation, without what only constrains them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation


def _blocks_in(members: list[Any]) -> Any:
    """What a mapping of blocks maps its names to; None where there is no such mapping."""
    values = [get_args(member)[1] for member in members if get_origin(member) is dict]
    return next((value for value in values if any(map(_is_model, _members(value)))), None)


def _inside(annotation: Any, part: str | int) -> Iterator[Any]:
    for member in _members(annotation):
        if _is_model(member):
            if part in member.model_fields:
                yield member.model_fields[part].annotation
        elif get_origin(member) is dict:
            yield get_args(member)[1]
        elif get_origin(member) is tuple:
            yield get_args(member)[0]


def _get(raw: Any, part: str | int) -> Any:
    try:
        return raw[part]
    except (LookupError, TypeError):
        return None
