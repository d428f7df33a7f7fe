"""Everything that a report shows of one run directory, read once; nothing here writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from precsearch.measured import read_evaluation
from precsearch.report.view import read_allocation, read_run
from precsearch.results import Progress, RunDirectory, TrialRecord, read_steps

if TYPE_CHECKING:
    from precsearch.allocation import Allocation
    from precsearch.experiment import Experiment
    from precsearch.measured import Evaluation
    from precsearch.report.view import RunView


@dataclass(frozen=True)
class Trained:
    """One trained network: a trial, a baseline beside one, or a training that confirms one.

    Attributes:
        record: how it was configured and ended.
        allocation: its bits; None where its file is not there.
        evaluation: what was measured of it; None where its file is not there.
        steps: its epochs; empty where its file is not there.
    """

    record: TrialRecord
    allocation: Allocation | None
    evaluation: Evaluation | None
    steps: tuple[Progress, ...]

    @property
    def arm(self) -> str:
        """``found`` for a trial of the study, else the kind of baseline."""
        return self.record.baseline or "found"


@dataclass(frozen=True)
class RunData:
    """One run.

    Attributes:
        label: what tells it from other runs of the same report.
        view: the front, its baselines, every record.
        trials: the complete trials, by number.
        baselines: the complete baselines, by number and kind.
        confirmed: the complete confirming trainings, by number, arm and seed.
    """

    label: str
    view: RunView
    trials: tuple[Trained, ...]
    baselines: tuple[Trained, ...]
    confirmed: tuple[Trained, ...]

    @property
    def experiment(self) -> Experiment:
        """The resolved experiment."""
        return self.view.experiment

    @property
    def front(self) -> tuple[Trained, ...]:
        """The trials of the front, by number."""
        members = {member.record.number for member in self.view.front}
        return tuple(trained for trained in self.trials if trained.record.number in members)


def read_report_data(run: RunDirectory, label: str) -> RunData:
    """Read a run directory, finished or not, moved or not.

    Raises:
        RunDirectoryError: when it is none, or one of its files cannot be read.
        AllocationError: when an allocation is damaged.
    """
    view = read_run(run)

    def trained(records: Sequence[TrialRecord], folders: Iterator[Path]) -> tuple[Trained, ...]:
        pairs = zip(records, folders, strict=True)
        return tuple(_trained(record, folder) for record, folder in pairs if record.state == "complete")

    confirmed = [(record, folder) for folder, record in run.confirmations()]
    return RunData(
        label=label,
        view=view,
        trials=trained(view.trials, (run.trial(record.number) for record in view.trials)),
        baselines=trained(
            view.baselines, (run.baseline(record.number, str(record.baseline)) for record in view.baselines)
        ),
        confirmed=trained([record for record, _ in confirmed], (folder for _, folder in confirmed)),
    )


def _trained(record: TrialRecord, folder: Path) -> Trained:
    return Trained(record, read_allocation(folder), read_evaluation(folder), read_steps(folder))
