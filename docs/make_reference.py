"""Writes docs/search-space.md: every key of the YAML, taken from the models that read it.

    python docs/make_reference.py            # after a change of the settings

The meaning of a key is what its class says under `Attributes:`; `MEANINGS` has those that it does not say.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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

MEANINGS = {
    "data": "The data set, and how it is split.",
    "model": "The network.",
    "inner": "The search inside one training run.",
    "evaluate": "What is measured of every trained network beside loss, accuracy and cost.",
    "study": "The search over training runs.",
    "executor": "Who runs the trials.",
    "inner.temperature": "Of the relaxed sample; high is random, low is settled.",
    "inner.temperature.start": "At the first search step.",
    "inner.temperature.end": "At the last search step.",
    "inner.temperature.schedule": "How it goes from `start` to `end`.",
    "inner.regularization": "What is added to the loss while searching.",
    "inner.epochs": "Passes over the training images in each phase; together at least one, unless the weights were "
    "trained before (`model.checkpoint`) and the sampler learns nothing.",
    "inner.epochs.warmup": "In float32, while the quantizers watch the ranges.",
    "inner.epochs.search": "With a new allocation drawn at every step.",
    "inner.epochs.finetune": "With the allocation found, weights only.",
    "inner.optimizer": "How the weights learn.",
    "inner.logits": "How the precision distribution learns.",
    "inner.noise": "Other noise in training than that of drawn bits, to hold their effect against.",
    "study.objectives.metric": "One of the metrics below.",
    "study.objectives.direction": "Which way is better.",
    "study.constraints.metric": "One of the metrics below.",
    "study.constraints.min": "Least value allowed.",
    "study.constraints.max": "Greatest value allowed.",
    "study.sampler.name": "How Optuna picks the next point.",
    "space.type": "A real number, a whole number, or one of a list.",
    "space.low": "Least value, included.",
    "space.high": "Greatest value, included; a whole number of steps from `low`.",
    "space.step": "Distance between values; not with `log`.",
    "space.log": "Draw on a logarithmic scale; `low` must be positive.",
    "space.choices": 'Single values; write a list as text, such as `"2,4,8"` for `inner.bits`.',
    "space.when": "Searched only where the dimensions named, which stand above it, have one of the values listed; "
    "elsewhere it keeps the experiment's value.",
}
NOTES = {
    "inner.bits": "Each 1 to 16, no doubles.",
    "inner.pin": "Bits are 1 to 16.",
    "name": "Letters, digits, `.`, `_` and `-`.",
}

HEAD = """\
# The search space, key by key

<!-- Made by docs/make_reference.py from the settings' own classes; change those, then run it again. -->

One YAML file holds the whole experiment. `precsearch init` writes a commented one to start from;
[`search_spaces/digits.yaml`](../search_spaces/digits.yaml), [`mnist.yaml`](../search_spaces/mnist.yaml) and
[`imagenet.yaml`](../search_spaces/imagenet.yaml) are complete ones. Every key has a default, except where the table
says *required*. An unknown key is an error that names the nearest known one, with file, line and column.

The file is YAML 1.2: `1e-4` is a number, `off` and `no` are text. Any key can be set from the command line by its
dotted path: `--set inner.epochs.search=12`. A path that is searched has no value of its own to set: write
`--set space.PATH=null` to stop searching it.
"""

SPACE = """\
## `space`

Dotted path into this file -> the values to search. A path starts with `data`, `model` or `inner`. Arguments of the
model's builder can be searched too, such as `model.width`.

```yaml
space:
  inner.budget.limit: {type: float, low: 2.0, high: 6.0, step: 0.5}
  inner.sampler: {type: categorical, choices: [perturb-and-map, multinomial]}
  inner.regularization.strength: {type: float, low: 1e-3, high: 1e-1, log: true, when: {inner.sampler: [multinomial]}}
```

A dimension has these keys:
"""


def render() -> str:
    """The whole page."""
    parts = [HEAD, "## The document\n", _table(Experiment, "", MEANINGS)]
    for path, model, is_entry in _blocks(Experiment):
        entry = " (each entry)" if is_entry else ""
        parts.append(f"## `{path}`{entry}\n")
        parts.append(_intro(model))
        parts.append(_table(model, path, MEANINGS))
        parts.append(_after(path))
    parts += [SPACE, _dimensions(), _metrics()]
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
            raise SystemExit(f"{here} has no meaning: say it in {model.__name__}'s docstring, or in MEANINGS")
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
    return (
        "## Metrics\n\n"
        f"Objectives and constraints may name {names}.\n"
        "Accuracies are fractions of 1, losses are mean cross-entropy in nats, `model_size` is in bytes, `bitops` is\n"
        "MACs x weight bits x activation bits of one input, `generalization_gap` is training less validation\n"
        "accuracy; what `evaluate:` measures is in [evaluation.md](evaluation.md).\n"
        "Metrics of the test split are measured too, but nothing can be selected by them.\n"
    )


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
