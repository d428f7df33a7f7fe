"""The trainings of a `compare` or a `grid` for TensorBoard, where `study.viewers` names it."""

from __future__ import annotations

from pathlib import Path

from precsearch.experiment import Experiment
from precsearch.results import Observer, RunDirectory, TrialRecord
from precsearch.study.tensorboard import FOLDER, TensorBoardLogs
from precsearch.study.viewers import Observers

_TUNING = "tuning/"


def with_logs(experiment: Experiment, directory: RunDirectory, observer: Observer) -> Observer:
    """`observer`, and after it who else is told of everything that happens."""
    return Observers((observer, TrainingLogs(directory))) if "tensorboard" in experiment.study.viewers else observer


class TrainingLogs(TensorBoardLogs):
    """Events of each training, in a folder that is named as its own."""

    def ended(self) -> list[TrialRecord]:
        """Every training that has ended, under the name that observers are told."""
        found = [(folder, record, "") for folder, record in self._directory.trainings()]
        found += [(folder, record, _TUNING) for folder, record in self._directory.tunings()]
        return [
            record.model_copy(update={"baseline": before + folder.name.partition("-")[2]})
            for folder, record, before in found
        ]

    def _trained(self, number: int, baseline: str | None) -> Path:
        name = str(baseline)
        folder = "tuning" if name.startswith(_TUNING) else "trainings"
        return self._directory.path / folder / f"{number:04d}-{name.removeprefix(_TUNING)}"

    def _log(self, number: int, baseline: str | None) -> Path:
        trained = self._trained(number, baseline)
        tuning = trained.parent.name == "tuning"
        return self._directory.path / FOLDER / ("tuning" if tuning else "") / trained.name
