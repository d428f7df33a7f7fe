"""YAML 1.2 as plain data, with the place of every key and value.

PyYAML reads YAML 1.1, where `1e-4` is a text and `off` is false. Here scalars follow YAML 1.2's core schema,
keys are always texts, and a key may stand only once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from precsearch.experiment.places import Finding, Place, Places, Problem, Trail, raise_all

_TAG: Final = "tag:yaml.org,2002:"
_CORE: Final = (  # tag, pattern, first characters
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 -- PyYAML's own way: filled below


class _Dumper(yaml.SafeDumper):
    """Quotes every text that YAML 1.1 or 1.2 would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        """A value that stands twice is written twice."""
        return True


for _name, _pattern, _first in _CORE:
    _resolver = re.compile(f"(?:{_pattern})\\Z")
    _Loader.add_implicit_resolver(_TAG + _name, _resolver, _first)
    _Dumper.add_implicit_resolver(_TAG + _name, _resolver, _first)
# line breaks that YAML would fold away are escaped, which takes double quotes
_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(_TAG + "str", text, style=None if text.isprintable() else '"'),
)
_Dumper.add_representer(tuple, lambda dumper, value: dumper.represent_list(value))


def _int(text: str) -> int:
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: Final[dict[str, Callable[[str], Any]]] = {
    _TAG + "null": lambda _: None,
    _TAG + "bool": lambda text: text.lower() == "true",
    _TAG + "int": _int,
    _TAG + "float": _float,
    _TAG + "str": str,
}


@dataclass
class Document:
    """What a YAML text says, where it says it, and what is wrong with the text itself."""

    value: Any
    places: Places
    findings: list[Finding] = field(default_factory=list)


def parse(text: str, source: str, lines: bool = True) -> Document:
    """Read one YAML document.

    Args:
        text: the document.
        source: what places are said to be in.
        lines: False for a source that has no lines, such as an option of the command line.

    Raises:
        ConfigurationError: when it is not YAML.
    """

    def place(mark: Any) -> Place:
        return Place(mark.line + 1, mark.column + 1, source) if lines and mark else Place(0, 0, source)

    reader = _Reader(place, Document(None, Places(place(None))))
    try:
        node = yaml.compose(text, Loader=_Loader)
        reader.document.value = None if node is None else reader.read(node, ())
    except yaml.reader.ReaderError as error:
        raise_all([Problem(_place_at(text, error.position, source, lines), _unreadable(error))])
    except yaml.MarkedYAMLError as error:
        message = _reworded(error, text)
        begun, met = error.context_mark or error.problem_mark, error.problem_mark or error.context_mark
        raise_all([Problem(place(begun if "never closed" in message else met), message)])
    except RecursionError:
        raise_all([Problem(place(None), "lists and mappings are nested too deeply to be read; flatten them")])
    return reader.document


def scalar(text: str) -> Any:
    """What a plain scalar means in YAML 1.2."""
    tag = next((_TAG + name for name, pattern, _ in _CORE if re.fullmatch(pattern, text)), _TAG + "str")
    return _SCALARS[tag](text)


def dump(value: Any) -> str:
    """Write plain data as YAML: blocks, with the innermost lists and mappings on one line each."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)


class _Reader:
    """Turns nodes into data, noting places on the way."""

    def __init__(self, place: Callable[[Any], Place], document: Document) -> None:
        self.place = place
        self.document = document
        self.open: list[yaml.Node] = []
        self.readers: dict[type[yaml.Node], Callable[[Any, Trail], Any]] = {
            yaml.ScalarNode: self.scalar,
            yaml.SequenceNode: self.sequence,
            yaml.MappingNode: self.mapping,
        }

    def read(self, node: yaml.Node, trail: Trail) -> Any:
        block = isinstance(node, yaml.CollectionNode) and not node.flow_style
        if not (block and trail in self.document.places.keys):
            self.document.places.values[trail] = self.place(node.start_mark)
        else:  # a block starts at its first key; its own key says better what it is
            self.document.places.values[trail] = self.document.places.keys[trail]
        if any(node is other for other in self.open):
            self.find(trail, "an alias may not stand inside what it names; write the value out")
            return None
        self.open.append(node)
        value = self.readers[type(node)](node, trail)
        self.open.pop()
        return value

    def find(self, trail: Trail, message: str) -> None:
        self.document.findings.append(Finding(trail, message))

    def scalar(self, node: yaml.ScalarNode, trail: Trail) -> Any:
        try:
            return _SCALARS[node.tag](node.value)
        except KeyError:
            self.find(trail, f"tags are not read here, but got {_tag(node)}; drop the tag")
        except ValueError:
            self.find(trail, f"{node.value[:40]!r} cannot be read as {_tag(node)}; write a shorter number")
        return None

    def sequence(self, node: yaml.SequenceNode, trail: Trail) -> list[Any]:
        self.untagged(node, "seq", trail)
        return [self.read(item, (*trail, i)) for i, item in enumerate(node.value)]

    def mapping(self, node: yaml.MappingNode, trail: Trail) -> dict[str, Any]:
        self.untagged(node, "map", trail)
        found: dict[str, Any] = {}
        keys = self.document.places.keys
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.find(trail, "a key must be a text, but got a list or a mapping; was a `:` put too early?")
                continue
            key, here = key_node.value, self.place(key_node.start_mark)
            inside = (*trail, key)
            if key in found:
                first = keys[inside]
                keys[inside] = self.document.places.values[inside] = here
                at = f" (first on line {first.line})" if first.line else ""
                self.find(inside, f"a key may stand only once, but this one stands again{at}; drop one")
                continue
            keys[inside] = here
            found[key] = self.read(value_node, inside)
        return found

    def untagged(self, node: yaml.Node, kind: str, trail: Trail) -> None:
        if node.tag != _TAG + kind:
            self.find(trail, f"tags are not read here, but got {_tag(node)}; drop the tag")


def _tag(node: yaml.Node) -> str:
    return str(node.tag).replace(_TAG, "!!")


def _place_at(text: str, position: int, source: str, lines: bool) -> Place:
    before = text[:position]
    line, column = before.count("\n") + 1, position - before.rfind("\n")
    return Place(line, column, source) if lines else Place(0, 0, source)


def _unreadable(error: yaml.reader.ReaderError) -> str:
    return f"the character U+{int(error.character):04X} may not stand in YAML; delete it"


_ADVICE: Final = (
    (r"character '\\t'", "a tab may not indent YAML; use spaces"),
    (r"expected a single document", "one document must be given, but a second starts here; drop this `---`"),
    (
        r"found undefined alias",
        "this alias names nothing above it; define it with `&name`, or quote a leading `*`",
    ),
    (
        r"mapping values are not allowed",
        "a second `:` in one line; put the value in quotes, or start a new line",
    ),
    (r"could not find expected ':'", "a key without `:`; write `key: value`"),
    (r"unexpected end of stream", "this quote is never closed; close it"),
    (r"(found|got) '<stream end>'", "this bracket is never closed; close it"),
    (r"character '([`@%])' that cannot start", r"a value may not start with it; put the value in quotes"),
    (r"expected <block end>", "this line is indented otherwise than the lines above it; align them"),
)


def _reworded(error: yaml.MarkedYAMLError, text: str) -> str:
    problem = ", ".join(str(part) for part in (error.context, error.problem) if part)
    mark = error.problem_mark or error.context_mark
    line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        problem = r"character '\t'"
    for pattern, advice in _ADVICE:
        if re.search(pattern, problem):
            return f"not valid YAML: {advice}"
    return f"not valid YAML: {problem}; mend this line or the one above it"
