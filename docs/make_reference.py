"""Writes docs/search-space.md: every key of the YAML, taken from the models that read it.

    python docs/make_reference.py            # after a change of the settings

The meaning of a key is what its class says under `Attributes:`; docs/reference_text.yaml has those that it does not
say, and the text around the tables.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from precsearch.experiment import DATA_KEYS, Experiment
from precsearch.models import MODELS
from precsearch.models.mlp import ACTIVATIONS
from precsearch.precision.budgets import BUDGETS, BudgetKind
from precsearch.precision.samplers import SAMPLERS as INNER_SAMPLERS
from precsearch.results import SELECTABLE_METRICS
from precsearch.study.pruning import PRUNERS
from precsearch.study.samplers import SAMPLERS
from precsearch.training.building import FLOAT
from precsearch.training.floating import FloatStage

PAGE = Path(__file__).parent / "search-space.md"

TEXT = yaml.safe_load((Path(__file__).parent / "reference_text.yaml").read_text(encoding="utf-8"))
MEANINGS, NOTES = TEXT["meanings"], TEXT["notes"]


def render() -> str:
    """The whole page."""
    parts = [TEXT["head"], "## The document\n", _table(Experiment, "", MEANINGS)]
    for path, model, is_entry in _blocks(Experiment):
        entry = " (each entry)" if is_entry else ""
        parts.append(f"## `{path}`{entry}\n")
        parts.append(_intro(model))
        parts.append(_table(model, path, MEANINGS))
        parts.append(_after(path))
    parts += [TEXT["space"], _dimensions(), _metrics()]
    return "\n".join(part for part in parts if part)


def _blocks(model: type[BaseModel], before: str = "") -> Iterator[tuple[str, type[BaseModel], bool]]:
    """Every block below `model`, by dotted path, and whether it is the entry of a list; `space` is told apart."""
    for name, field in model.model_fields.items():
        if before + name == "space":
            continue
        for found, is_entry in _models_in(field.annotation):
            yield before + name, found, is_entry
            yield from _blocks(found, f"{before}{name}.")


def _models_in(annotation: Any) -> Iterator[tuple[type[BaseModel], bool]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, False
        return
    alternatives = getattr(annotation, "__args__", ())
    for inner in alternatives:
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield inner, type(None) not in alternatives


def _intro(model: type[BaseModel]) -> str:
    """What the class says in front of its attributes, without its own name."""
    said = (inspect.getdoc(model) or "").partition("Attributes:")[0].strip()
    said = re.sub(r"^(One entry of )?`[a-z.]+:`[,.;]?\s*", "", " ".join(said.split()))
    return _code(said[:1].upper() + said[1:].rstrip(".") + ".\n") if said else ""


def _table(model: type[BaseModel], path: str, meanings: dict[str, str]) -> str:
    properties = model.model_json_schema()
    required = properties.get("required", [])
    bases = [base for base in reversed(model.__mro__) if issubclass(base, BaseModel)]
    said = {name: meaning for base in bases for name, meaning in _attributes(inspect.getdoc(base) or "").items()}
    own = model.__annotations__
    rows = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    own_first = sorted(model.model_fields.items(), key=lambda each: each[0] not in own)
    for name, field in own_first:
        here = f"{path}.{name}" if path else name
        meaning = said.get(name) or meanings.get(here)
        if meaning is None:
            raise SystemExit(f"{here} has no meaning: say it in {model.__name__}'s docstring or reference_text.yaml")
        meaning = " ".join([_sentence(meaning), *([NOTES[here]] if here in NOTES else [])])
        default = "*required*" if name in required else _default(field.get_default(call_default_factory=True))
        rows.append(f"| `{name}` | {_type(properties['properties'][name])} | {default} | {_code(meaning)} |")
    return "\n".join(rows) + "\n"


def _attributes(doc: str, section: str = "Attributes") -> dict[str, str]:
    """Name -> text of a Google-style section."""
    found = re.search(rf"^{section}:\n((?: {{4}}.*\n?|\n)+)", doc, re.MULTILINE)
    said: dict[str, str] = {}
    name = ""
    for line in found[1].splitlines() if found else []:
        head = re.match(r"    (\w+): (.*)", line)
        if head:
            name, said[head[1]] = head[1], head[2]
        elif name and line.strip():
            said[name] += " " + line.strip()
    return said


def _sentence(text: str) -> str:
    text = text.strip().rstrip(".")
    return text[:1].upper() + text[1:] + "."


def _code(text: str) -> str:
    named = text.replace("`ACTIVATIONS`", ", ".join(f"`{name}`" for name in ACTIVATIONS))
    return named.replace("``", "`").replace("where None", "where `null`").replace("|", "\\|")


def _default(value: object) -> str:
    if isinstance(value, BaseModel):
        return "its keys' defaults"
    if value is None:
        return "`null`"
    if isinstance(value, tuple | list):
        return ", ".join(_entry(each) for each in value) or "none"
    if value == {}:
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _entry(value: object) -> str:
    if isinstance(value, BaseModel):
        return f"`{{{', '.join(f'{key}: {given}' for key, given in value.model_dump().items())}}}`"
    return f"`{value}`"


def _type(schema: dict[str, Any]) -> str:
    """A JSON schema in words."""
    choices = schema.get("oneOf") or schema.get("anyOf")
    if "$ref" in schema:
        return "block"
    if "const" in schema or "enum" in schema:
        return _or(
            [
                f"`{str(choice).lower() if isinstance(choice, bool) else choice}`"
                for choice in schema.get("enum", [schema.get("const")])
            ]
        )
    if choices:
        return " or ".join(dict.fromkeys(_type(member) for member in choices))
    return _plain_type(schema)


def _plain_type(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    if kind == "array":
        return f"list of: {_type(schema['items'])}" if schema.get("items") else "list"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"mapping to: {_type(values)}" if isinstance(values, dict) and values else "mapping"
    words = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}
    return " ".join([words.get(str(kind), "`null`"), " and ".join(_bounds(schema))]).strip()


def _or(words: list[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def _bounds(schema: dict[str, Any]) -> Iterator[str]:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    for key, sign in signs.items():
        if key in schema:
            yield f"{sign} {schema[key]}"


def _after(path: str) -> str:
    """What follows the table of some blocks."""
    written: dict[str, Callable[[], str]] = {
        "data": _data_sets,
        "model": lambda: "\n".join(_builder(name, builder) for name, builder in MODELS.items()),
        "inner": lambda: _registered(
            "sampler", {name: kind.__doc__ for name, kind in INNER_SAMPLERS.items()} | {FLOAT: FloatStage.__doc__}
        ),
        "inner.budget": lambda: _registered("kind", {name: _in_units(kind) for name, kind in BUDGETS.items()}),
        "study.sampler": lambda: _passed_on(
            {name: kind.arguments for name, kind in SAMPLERS.items()} | {"grid": ()}, "sampler"
        ),
        "study.pruner": lambda: _passed_on({name: kind.arguments for name, kind in PRUNERS.items()}, "pruner"),
    }
    return written[path]() if path in written else ""


def _registered(key: str, said: dict[str, str | None]) -> str:
    """What each name stands for: the first paragraph of its class."""
    first = {name: " ".join(inspect.cleandoc(doc or "").partition("\n\n")[0].split()) for name, doc in said.items()}
    rows = [f"| `{name}` | {_code(text)} |" for name, text in first.items()]
    return "\n".join([f"| `{key}` | what it is |", "| --- | --- |", *rows]) + "\n"


def _in_units(kind: type[BudgetKind]) -> str:
    bound = "each target on its own" if kind.unit == "bits" else "weights and activations together"
    said = inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0]
    return (
        f"{said} {kind.unit[:1].upper() + kind.unit[1:] if kind.takes_table else 'In ' + kind.unit}; holds for {bound}."
    )


def _data_sets() -> str:
    """The keys that single data sets have besides those of `data:`."""
    tables = []
    for name, kind in DATA_KEYS.items():
        bases = [_attributes(inspect.cleandoc(base.__doc__ or "")) for base in reversed(kind.__mro__)]
        meanings = {key: text for said in bases for key, text in said.items()}
        if kind.model_fields:
            tables.append(f"More keys of `name: {name}`:\n\n{_table(kind, '', meanings)}")
    about = "[Data sets](data.md) has the layout of a folder, your own data, and what each key does.\n"
    return "\n".join([*tables, about])


def _builder(name: str, builder: Callable[..., Any]) -> str:
    """The arguments of a network that comes with precsearch."""
    said = _attributes(inspect.getdoc(builder) or "", "Args")
    given = {
        key: value for key, value in inspect.signature(builder).parameters.items() if value.default is not value.empty
    }
    rows = [f"| `{key}` | {_default(value.default)} | {_code(_sentence(said[key]))} |" for key, value in given.items()]
    return "\n".join([f"Keys of `name: {name}`:\n", "| key | default | meaning |", "| --- | --- | --- |", *rows]) + "\n"


def _passed_on(arguments: dict[str, tuple[str, ...]], what: str) -> str:
    rows = [f"| `{name}` | {', '.join(f'`{key}`' for key in keys) or 'none'} |" for name, keys in arguments.items()]
    return "\n".join([f"Keys passed on to Optuna's {what}:\n", "| name | keys |", "| --- | --- |", *rows]) + "\n"


def _dimensions() -> str:
    """The union of the dimensions' keys, and which types have them."""
    definitions = Experiment.model_json_schema()["$defs"]
    kinds = [found["properties"] for name, found in definitions.items() if name.endswith("Dimension")]
    having = {kind["type"]["const"]: kind for kind in kinds}
    types = sorted(having, key=["float", "int", "categorical"].index)
    between = [key for kind in types for key in having[kind] if key not in {"type", "when"}]
    rows = ["| key | of type | meaning |", "| --- | --- | --- |"]
    for key in dict.fromkeys(["type", *between, "when"]):
        of = ", ".join(f"`{kind}`" for kind in types if key in having[kind])
        rows.append(f"| `{key}` | {of} | {MEANINGS[f'space.{key}']} |")
    return "\n".join(rows) + "\n"


def _metrics() -> str:
    names = ", ".join(f"`{name}`" for name in SELECTABLE_METRICS)
    return str(TEXT["metrics"]).format(names=names)


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
