"""The trial table of a study's page: one column a searched setting and shown metric."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from precsearch.report.page import columns
from precsearch.report.page.columns import FOUND, Column, Entry, Maker, Row, TrialTable
from precsearch.report.tables import shown_metrics

if TYPE_CHECKING:
    from precsearch.report.reading import RunData

_MEASURED = ("brier", "ece", "fgsm_accuracy", "pgd_accuracy", "fgsm_l2_accuracy", "pgd_l2_accuracy",
             "corrupted_accuracy", "bit_flip_accuracy", "perturbation")  # fmt: skip


def trial_table(runs: Sequence[RunData]) -> TrialTable:
    """Every trial and every baseline beside one, by run, number and arm."""
    entries = [entry for run in runs for entry in _entries(run)]
    layers = columns.layers_of(entries)
    makers = [
        *([columns.text("run", "run directory", lambda entry: entry.run)] if len(runs) > 1 else []),
        columns.number("trial", "number in the study", lambda entry: str(entry.record.number)),
        columns.text("bits", "found by the search, or a baseline beside the trial", _arm),
        columns.text("state", "how it ended", lambda entry: entry.record.state, "state"),
        columns.text("front", "no other trial beats it in every objective", lambda entry: entry.place),
        *_metrics(runs, entries),
        *_settings(entries),
        columns.bits(layers),
        *columns.ended(),
    ]
    heads, cells = columns.filled(makers, entries)
    rows = tuple(
        Row(entry.record.state, _arm(entry), bool(entry.place), row, beside=_arm(entry) != FOUND)
        for entry, row in zip(entries, cells, strict=True)
    )
    return TrialTable(heads, rows, layers)


def _entries(run: RunData) -> Iterable[Entry]:
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
        found = trained.get((record.number, record.baseline))
        yield Entry(run.label, record, found.allocation if found is not None else None, record.metrics, place)


def _arm(entry: Entry) -> str:
    return entry.record.baseline or FOUND


def _metrics(runs: Sequence[RunData], entries: Sequence[Entry]) -> Iterable[Maker]:
    """The metrics that `precsearch list` shows, then what else was measured of the networks."""
    wanted = [metric for run in runs for metric in shown_metrics(run.experiment)]
    wanted += ["model_size", "average_bits_weight", "average_bits_activation", "generalization_gap"]
    wanted += [f"validation_{name}" for name in _MEASURED]
    for metric in dict.fromkeys(wanted):
        yield columns.metric(metric, [entry.values.get(metric) for entry in entries])


def _settings(entries: Sequence[Entry]) -> Iterable[Maker]:
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
        yield Maker(column, lambda entry, path=path: _value(entry, path))  # type: ignore[misc]


def _value(entry: Entry, path: str) -> str:
    if entry.record.baseline is not None:  # it has the parameters of its trial
        return ""
    value: Any = entry.record.params.get(path, "")
    return format(value, ".4g") if isinstance(value, float) else str(value)
