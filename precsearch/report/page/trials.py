"""The trial table of the page: one column a searched setting and shown metric, numbers as plain numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from precsearch.report import words
from precsearch.report.tables import shown_metrics

if TYPE_CHECKING:
    from precsearch.report.reading import RunData, Trained
    from precsearch.results import TrialRecord

FOUND = "found"
_MEASURED = ("brier", "ece", "fgsm_accuracy", "pgd_accuracy", "fgsm_l2_accuracy", "pgd_l2_accuracy",
             "corrupted_accuracy", "bit_flip_accuracy", "perturbation")  # fmt: skip
_ONE_LINE = 12  # layers whose bits stand in one line
_PREFIXES = (("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12))
_UNITS = {"model_size": "B", "activation_memory": "B", "bitops": ""}


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
        arm: ``found``, or the kind of baseline.
        front: whether it is a trial of the front.
        cells: one text a column.
    """

    state: str
    arm: str
    front: bool
    cells: tuple[str, ...]

    @property
    def css(self) -> str:
        """Its classes in the page."""
        return " ".join([self.state, *(["front"] if self.front else []), *(["beside"] if self.arm != FOUND else [])])


@dataclass(frozen=True)
class TrialTable:
    """Every trial, and every baseline beside one.

    Attributes:
        columns: of every row.
        rows: by run, number and arm.
        layers: what the bits per layer belong to, one tuple a network, in its order.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    layers: tuple[tuple[str, ...], ...]

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
class _Entry:
    """A record with what its cells are made of."""

    run: RunData
    record: TrialRecord
    trained: Trained | None
    place: str


@dataclass(frozen=True)
class _Maker:
    column: Column
    cell: Callable[[_Entry], str]


def trial_table(runs: Sequence[RunData]) -> TrialTable:
    """The table of one run, or of several one after another."""
    entries = [entry for run in runs for entry in _entries(run)]
    layers = _layers(entries)
    bits = "bits many" if any(len(names) > _ONE_LINE for names in layers) else "bits"
    makers = [
        *([_text("run", "run directory", lambda entry: entry.run.label)] if len(runs) > 1 else []),
        _number("trial", "number in the study", lambda entry: str(entry.record.number)),
        _text("bits", "found by the search, or a baseline beside the trial", _arm),
        _text("state", "how it ended", lambda entry: entry.record.state, "state"),
        _text("front", "no other trial beats it in every objective", lambda entry: entry.place),
        *_metrics(runs, entries),
        *_settings(entries),
        _text("bits per layer", "weight/activation bits in the order of the layers, f for float32", _layer_bits, bits),
        _number("time (s)", "wall-clock seconds of training", lambda entry: f"{entry.record.seconds:.1f}"),
        _text("reason", "why it failed or was pruned", lambda entry: entry.record.reason or "", "long"),
    ]
    cells = [tuple(maker.cell(entry) for maker in makers) for entry in entries]
    kept = [index for index in range(len(makers)) if any(row[index] for row in cells)]
    return TrialTable(
        columns=tuple(makers[index].column for index in kept),
        rows=tuple(
            Row(entry.record.state, _arm(entry), bool(entry.place), tuple(row[index] for index in kept))
            for entry, row in zip(entries, cells, strict=True)
        ),
        layers=layers,
    )


def _entries(run: RunData) -> Iterable[_Entry]:
    members = {member.record.number for member in run.view.front}
    best = run.view.best.record.number if run.view.best is not None else None
    trained = {(each.record.number, each.record.baseline): each for each in (*run.trials, *run.baselines)}
    records = sorted(
        (*run.view.trials, *run.view.baselines), key=lambda record: (record.number, record.baseline is not None)
    )
    for record in records:
        place = ""
        if record.baseline is None and record.number in members:
            place = "best" if record.number == best else "front"
        yield _Entry(run, record, trained.get((record.number, record.baseline)), place)


def _text(header: str, hint: str, cell: Callable[[_Entry], str], kind: str = "") -> _Maker:
    return _Maker(Column(header, hint, kind), cell)


def _number(header: str, hint: str, cell: Callable[[_Entry], str]) -> _Maker:
    return _Maker(Column(header, hint, "n"), cell)


def _arm(entry: _Entry) -> str:
    return entry.record.baseline or FOUND


def _metrics(runs: Sequence[RunData], entries: Sequence[_Entry]) -> Iterable[_Maker]:
    """The metrics that `precsearch list` shows, then what else was measured of the networks."""
    wanted = [metric for run in runs for metric in shown_metrics(run.experiment)]
    wanted += ["model_size", "average_bits_weight", "average_bits_activation", "generalization_gap"]
    wanted += [f"validation_{name}" for name in _MEASURED]
    for metric in dict.fromkeys(wanted):
        yield _metric(metric, [entry.record.metrics.get(metric) for entry in entries])


def _metric(metric: str, values: Sequence[float | None]) -> _Maker:
    """One unit for the whole column, so that its cells can be compared and sorted as they stand."""
    header, factor, digits = words.metric_header(metric), 1.0, ".4g"
    if metric.endswith("accuracy"):
        factor, digits = 100.0, ".2f"
    elif metric == "generalization_gap":
        header, factor, digits = "gap (points)", 100.0, ".2f"
    elif metric.startswith("average_bits"):
        digits = ".2f"
    elif metric in _UNITS:
        largest = max((value for value in values if value is not None), default=0.0)
        prefix, unit = next(each for each in reversed(_PREFIXES) if largest >= each[1] or each[1] == 1.0)
        factor = 1 / unit
        header += f" ({prefix}{_UNITS[metric]})" if prefix + _UNITS[metric] else ""

    def cell(entry: _Entry) -> str:
        value = entry.record.metrics.get(metric)
        return "" if value is None else format(factor * value, digits)

    return _number(header, metric.replace("_", " "), cell)


def _settings(entries: Sequence[_Entry]) -> Iterable[_Maker]:
    """One column a searched path; the last word of it, where no other ends with that."""
    paths = list(dict.fromkeys(path for entry in entries for path in entry.record.params))
    ends = [path.rpartition(".")[2] for path in paths]
    for path, end in zip(paths, ends, strict=True):
        numeric = all(
            isinstance(entry.record.params.get(path, 0), int | float)
            and not isinstance(entry.record.params.get(path), bool)
            for entry in entries
        )
        column = Column(end if ends.count(end) == 1 else path.removeprefix("inner."), path, "n" if numeric else "")
        yield _Maker(column, lambda entry, path=path: _value(entry, path))  # type: ignore[misc]


def _value(entry: _Entry, path: str) -> str:
    if entry.record.baseline is not None:  # it has the parameters of its trial
        return ""
    value: Any = entry.record.params.get(path, "")
    return format(value, ".4g") if isinstance(value, float) else str(value)


def _layer_bits(entry: _Entry) -> str:
    if entry.trained is None or entry.trained.allocation is None:
        return ""
    bits = words.bits_of(entry.trained.allocation.layers)
    pair = any("activation" in targets for targets in bits.values())
    return " ".join(words.bits_pair(targets, pair) for targets in bits.values())


def _layers(entries: Iterable[_Entry]) -> tuple[tuple[str, ...], ...]:
    allocations = (entry.trained.allocation for entry in entries if entry.trained is not None)
    found = (tuple(layer.name for layer in allocation.layers) for allocation in allocations if allocation is not None)
    return tuple(dict.fromkeys(found))
