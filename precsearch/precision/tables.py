"""What the user measured: a table of costs by layer and bit-widths, from a CSV or JSON file.

A row names a layer (or a ``*`` pattern) or a type, and may name a weight shape and bits; what it does not name, it
does not ask for. The most specific row that fits prices a layer: by layer name before by pattern, before by type and
shape, before by type; at the same place the row that names more bits. Costs are decimals, and summed exactly.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from precsearch.errors import BudgetError, DataError

_WHATEVER = ("", "*")


def _bits(value: object) -> object:
    if value is None or value in _WHATEVER:
        return None
    if value == "float":
        return "float"
    try:
        number = int(str(value))
    except ValueError:
        number = 0
    if not 1 <= number <= 32:  # noqa: PLR2004
        raise ValueError(f"a number of bits, `float`, or nothing (whatever) must be given, but got {value!r}")
    return number


def _cost(value: object) -> object:
    try:
        finite = math.isfinite(float(str(value)))
        number = Fraction(str(value).strip()) if finite else Fraction(-1)
    except ValueError:
        raise ValueError(f"a cost must be a number from 0, but got {value!r}") from None
    if number < 0:
        raise ValueError(f"a cost must be a number from 0, but got {value!r}")
    return number


def _shape(value: object) -> object:
    if value is None or value in _WHATEVER:
        return None
    parts = str(value).lower().split("x") if not isinstance(value, list) else [str(part) for part in value]
    if not all(part.strip().isdecimal() for part in parts):
        raise ValueError(f"a weight shape is written like 64x3x3x3, but got {value!r}")
    return tuple(int(part) for part in parts)


def _name(value: object) -> object:
    return None if value is None or value == "" else value


_Name = Annotated[str | None, BeforeValidator(_name)]
_BitsCell = Annotated[int | str | None, BeforeValidator(_bits)]


class CostRow(BaseModel):
    """One row: what a layer costs at some bits.

    Attributes:
        layer: a layer's name or a ``*`` pattern.
        type: class name of a layer; instead of `layer`.
        shape: of the weight, with `type`.
        weight_bits: bits, ``float``, or None for whatever.
        activation_bits: as `weight_bits`.
        cost: a decimal from 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    layer: _Name = None
    type: _Name = None
    shape: Annotated[tuple[int, ...] | None, BeforeValidator(_shape)] = None
    weight_bits: _BitsCell = None
    activation_bits: _BitsCell = None
    cost: Annotated[Fraction, BeforeValidator(_cost)]

    @model_validator(mode="after")
    def _one_name(self) -> CostRow:
        if (self.layer is None) == (self.type is None):
            raise ValueError("a row must name a `layer` or a `type`, and not both")
        if self.shape is not None and self.type is None:
            raise ValueError("`shape` goes with `type`; a layer's name says it all")
        return self

    def rank(self, name: str, kind: str, shape: Sequence[int]) -> int:
        """How specifically the row means a layer, from 1; 0 where it does not."""
        if self.layer is not None:
            return 4 if self.layer == name else 3 * int(fnmatchcase(name, self.layer))
        if self.type != kind or self.shape not in (None, tuple(shape)):
            return 0
        return 1 if self.shape is None else 2

    def fits(self, weight: int | None, activation: int | None) -> bool:
        """Whether the row speaks of these bits (None: float)."""
        pairs = ((self.weight_bits, weight), (self.activation_bits, activation))
        return all(said is None or said == ("float" if bits is None else bits) for said, bits in pairs)

    @property
    def detail(self) -> int:
        """How many bit-widths the row names."""
        return (self.weight_bits is not None) + (self.activation_bits is not None)


@dataclass(frozen=True)
class CostTable:
    """The rows of one file, and where each stands.

    Attributes:
        path: of the file.
        rows: with their places, such as ``latency.csv:3``.
        scale: a whole number that makes every cost whole.
    """

    path: str
    rows: tuple[tuple[str, CostRow], ...]
    scale: int

    def cost(self, name: str, kind: str, shape: Sequence[int], weight: int | None, activation: int | None) -> int:
        """What a layer costs at these bits, times `scale`.

        Raises:
            BudgetError: when no row says, or two rows say different things.
        """
        ranked = [(row.rank(name, kind, shape), row.detail, where, row) for where, row in self.rows
                  if row.fits(weight, activation)]  # fmt: skip
        fitting = [each for each in ranked if each[0]]
        bits = f"{weight or 'float'} weight bits and {activation or 'float'} activation bits"
        if not fitting:
            raise BudgetError(
                f"every layer must have a cost at every bit-width that it may get, but {self.path} has none for "
                f"{name!r} ({kind}) at {bits}; add a row, or leave `weight_bits` or `activation_bits` empty in one"
            )
        best = max(each[:2] for each in fitting)
        said = [(where, row.cost) for *rank, where, row in fitting if tuple(rank) == best]
        other = next((where for where, cost in said if cost != said[0][1]), None)
        if other is not None:
            raise BudgetError(
                f"two rows must not disagree, but {said[0][0]} and {other} give {name!r} different costs at {bits}, "
                "and neither is more specific; drop one"
            )
        return int(said[0][1] * self.scale)

    def check_layers(self, names: Sequence[str]) -> None:
        """Refuse rows that name no layer of the model.

        Raises:
            BudgetError: naming the nearest layer.
        """
        for where, row in self.rows:
            if row.layer is not None and not any(row.rank(name, "", ()) for name in names):
                near = get_close_matches(row.layer, names, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"its layers: {', '.join(names)}"
                raise BudgetError(f"{where}: a row must name a layer, but the model has no layer {row.layer!r}; {hint}")


def read_table(path: str | Path) -> CostTable:
    """Read a table of costs: CSV with a header, or JSON, a list of objects.

    Args:
        path: ending in ``.csv`` or ``.json``.

    Raises:
        DataError: when the file is missing, empty, or has a row that means nothing; says which.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(
            f"cannot read the table of costs {path}: {reason}; give the path of a CSV or JSON file"
        ) from None
    raw = _json_rows(path, text) if path.suffix.lower() == ".json" else _csv_rows(path, text)
    rows = tuple((where, _parsed(where, entry)) for where, entry in raw)
    if not rows:
        raise DataError(f"{path}: a table of costs must have a row for each layer, but it is empty")
    return CostTable(str(path), rows, math.lcm(*(row.cost.denominator for _, row in rows)))


def _csv_rows(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True, restkey="more cells than the header has")
    for entry in reader:
        yield f"{path}:{reader.line_num}", {key: value.strip() if isinstance(value, str) else value
                                             for key, value in entry.items()}  # fmt: skip


def _json_rows(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        entries = json.loads(text, parse_float=str, parse_constant=str)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}:{error.colno}: not valid JSON ({error.msg})") from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{path}: a table of costs in JSON must be a list of objects, one a row")
    for number, entry in enumerate(entries, 1):
        yield f"{path}: row {number}", entry


def _parsed(where: str, entry: dict[str, Any]) -> CostRow:
    try:
        return CostRow.model_validate(entry)
    except ValidationError as error:
        first = error.errors()[0]
        column = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = ", ".join(CostRow.model_fields)
            raise DataError(f"{where}: there is no column {column!r}; the columns are {known}") from None
        told = first["msg"].removeprefix("Value error, ")
        told = "a cost must be given in every row" if first["type"] == "missing" else told
        raise DataError(f"{where}: {column + ': ' if column else ''}{told}") from None
