"""Tables of trainings: a column made from each entry, numbers as plain numbers in one unit, empty columns left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from precsearch.report import words

if TYPE_CHECKING:
    from precsearch.allocation import Allocation
    from precsearch.results import TrialRecord

FOUND = "found"
ONE_LINE = 12  # layers whose bits stand in one line
_PREFIXES = (("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12))
_UNITS = {"model_size": "B", "activation_memory": "B", "bitops": ""}
_COUNTED = ("accuracy", "error")  # metrics that end so are fractions, told in %
_GAPS = {"generalization_gap": "gap (points)", "test_generalization_gap": "train-test gap (points)"}
_HEADERS = {
    "test_error": "test error %",
    "test_loss": "test NLL",
    "drawn_test_error": "drawn: test error %",
    "drawn_test_loss": "drawn: test NLL",
}


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        header: its short name.
        hint: its whole name, with the unit.
        kind: ``n`` where its cells are numbers, empty where there is none; ``state``, ``bits``, ``long`` or nothing
            for texts; ``bits many`` for those that need several lines.
    """

    header: str
    hint: str
    kind: str = ""


@dataclass(frozen=True)
class Row:
    """One training.

    Attributes:
        state: how it ended.
        arm: ``found``, the kind of baseline, or its arm.
        front: whether it is a trial of the front.
        cells: one text a column.
        beside: whether it only stands beside others.
    """

    state: str
    arm: str
    front: bool
    cells: tuple[str, ...]
    beside: bool = False

    @property
    def css(self) -> str:
        """Its classes in the page."""
        return " ".join([self.state, *(["front"] if self.front else []), *(["beside"] if self.beside else [])])


@dataclass(frozen=True)
class TrialTable:
    """Every training.

    Attributes:
        columns: of every row.
        rows: in their order.
        layers: what the bits per layer belong to, one tuple a network, in its order.
        title: heading of the table.
        about: what it holds, a sentence.
        arms_are: what the filter by arm is called.
        nothing: said where there are no rows.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    layers: tuple[tuple[str, ...], ...]
    title: str = "Trials"
    about: str = "Every training, with the baselines beside the front. A heading sorts."
    arms_are: str = "Bits"
    nothing: str = "No trial has ended yet."

    @property
    def classes(self) -> tuple[str, ...]:
        """Class of each column's cells."""
        return tuple(column.kind for column in self.columns)

    @property
    def states(self) -> tuple[str, ...]:
        """States that occur."""
        return tuple(dict.fromkeys(row.state for row in self.rows))

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms that occur."""
        return tuple(dict.fromkeys(row.arm for row in self.rows))


@dataclass(frozen=True)
class Entry:
    """One training with what its cells are made of.

    Attributes:
        run: label of its run.
        record: how it was configured and ended.
        allocation: its bits, where they are known.
        values: metric -> value, those of the record and what follows from them.
        place: ``best`` or ``front``, or nothing.
    """

    run: str
    record: TrialRecord
    allocation: Allocation | None
    values: Mapping[str, float]
    place: str = ""


@dataclass(frozen=True)
class Maker:
    """A column, and what makes its cell of an entry."""

    column: Column
    cell: Callable[[Entry], str]


def text(header: str, hint: str, cell: Callable[[Entry], str], kind: str = "") -> Maker:
    """A column of texts."""
    return Maker(Column(header, hint, kind), cell)


def number(header: str, hint: str, cell: Callable[[Entry], str]) -> Maker:
    """A column of numbers."""
    return Maker(Column(header, hint, "n"), cell)


def metric(name: str, values: Sequence[float | None]) -> Maker:
    """A metric, in one unit for the whole column, so that its cells can be compared and sorted as they stand."""
    header, factor, digits = _HEADERS.get(name, words.metric_header(name)), 1.0, ".4g"
    if name.endswith(_COUNTED):
        factor, digits = 100.0, ".2f"
    elif name in _GAPS:
        header, factor, digits = _GAPS[name], 100.0, ".2f"
    elif name.startswith("average_bits"):
        digits = ".2f"
    elif name in _UNITS:
        largest = max((value for value in values if value is not None), default=0.0)
        prefix, unit = next(each for each in reversed(_PREFIXES) if largest >= each[1] or each[1] == 1.0)
        factor = 1 / unit
        header += f" ({prefix}{_UNITS[name]})" if prefix + _UNITS[name] else ""

    def cell(entry: Entry) -> str:
        value = entry.values.get(name)
        return "" if value is None else format(factor * value, digits)

    return number(header, name.replace("_", " "), cell)


def bits(layers: Sequence[Sequence[str]]) -> Maker:
    """Bits of each layer, in several lines where a network has many."""
    kind = "bits many" if any(len(names) > ONE_LINE for names in layers) else "bits"
    return text("bits per layer", "weight/activation bits in the order of the layers, f for float32", _bits, kind)


def ended() -> tuple[Maker, Maker]:
    """How long it took, and why it failed or was pruned."""
    return (
        number("time (s)", "wall-clock seconds of training", lambda entry: f"{entry.record.seconds:.1f}"),
        text("reason", "why it failed or was pruned", lambda entry: entry.record.reason or "", "long"),
    )


def layers_of(entries: Iterable[Entry]) -> tuple[tuple[str, ...], ...]:
    """The layers of every network, each network once."""
    allocations = (entry.allocation for entry in entries if entry.allocation is not None)
    return tuple(dict.fromkeys(tuple(layer.name for layer in allocation.layers) for allocation in allocations))


def filled(makers: Sequence[Maker], entries: Sequence[Entry]) -> tuple[tuple[Column, ...], list[tuple[str, ...]]]:
    """The columns in which any cell has something, and the cells of each entry in them."""
    cells = [tuple(maker.cell(entry) for maker in makers) for entry in entries]
    kept = [index for index in range(len(makers)) if any(row[index] for row in cells)]
    return tuple(makers[index].column for index in kept), [tuple(row[index] for index in kept) for row in cells]


def _bits(entry: Entry) -> str:
    if entry.allocation is None:
        return ""
    found = words.bits_of(entry.allocation.layers)
    pair = any("activation" in targets for targets in found.values())
    return " ".join(words.bits_pair(targets, pair) for targets in found.values())
