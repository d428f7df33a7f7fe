"""The table of every training of a comparison or a grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from precsearch.analysis.arms import ERROR, GAP, NLL, values_of
from precsearch.report.page import columns
from precsearch.report.page.columns import Column, Entry, Maker, Row, TrialTable

if TYPE_CHECKING:
    from precsearch.report.arms.reading import ArmsData
    from precsearch.results import TrialRecord

_METRICS = (ERROR, GAP, NLL, "drawn_test_error", "drawn_test_loss", "average_bits_weight",
            "average_bits_activation", "model_size")  # fmt: skip


def training_table(runs: Sequence[ArmsData]) -> TrialTable:
    """Every training, by run, cell, arm and seed; failed ones with their reason."""
    entries = [entry for data in runs for entry in _entries(data)]
    layers = columns.layers_of(entries)
    paths = list(dict.fromkeys(path for entry in entries for path in entry.record.params))
    ends = [path.rpartition(".")[2] for path in paths]
    makers = [
        *([columns.text("run", "run directory", lambda entry: entry.run)] if len(runs) > 1 else []),
        columns.text("arm", "what it is compared as", lambda entry: _label(entry.record)),
        columns.number("seed", "index of the seed; the same is the same seed in every arm", _seed),
        *(_setting(path, end if ends.count(end) == 1 else path) for path, end in zip(paths, ends, strict=True)),
        columns.text("state", "how it ended", lambda entry: entry.record.state, "state"),
        *(columns.metric(metric, [entry.values.get(metric) for entry in entries]) for metric in _METRICS),
        columns.bits(layers),
        *columns.ended(),
    ]
    heads, cells = columns.filled(makers, entries)
    rows = tuple(
        Row(entry.record.state, _label(entry.record), front=False, cells=row)
        for entry, row in zip(entries, cells, strict=True)
    )
    return TrialTable(
        heads, rows, layers, title="Trainings", about="Every training that has ended. A heading sorts.", arms_are="Arm",
        nothing="No training has ended yet.",
    )  # fmt: skip


def _entries(data: ArmsData) -> Iterator[Entry]:
    for training in data.trainings:
        metrics = training.record.metrics
        drawn = {f"drawn_{name}": value for name, value in values_of(metrics, drawn=True).items()}
        allocation = training.allocation if training.complete else None
        yield Entry(data.label, training.record, allocation, values_of(metrics) | drawn)


def _label(record: TrialRecord) -> str:
    return str(record.baseline)


def _seed(entry: Entry) -> str:
    return str(getattr(entry.record, "index", ""))


def _setting(path: str, name: str) -> Maker:
    def cell(entry: Entry) -> str:
        value: Any = entry.record.params.get(path, "")
        return format(value, ".4g") if isinstance(value, float) else str(value)

    return Maker(Column(name.removeprefix("inner."), path), cell)
