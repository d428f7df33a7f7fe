"""The study's journal: one line an operation, written by the driver alone, whole again after a kill."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import NopPruner
from optuna.samplers import BaseSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, Trial, TrialState

from precsearch.errors import RunDirectoryError
from precsearch.experiment import ObjectiveSettings
from precsearch.results import TrialRecord
from precsearch.study.ledger import Draw, News


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Optuna says errors only, until the end of the block: the observer is the one who talks."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


class DriverBackend(BaseJournalBackend):
    """Optuna's journal file for one writer: no lock, and flushed to the disk when a trial ends.

    Optuna's own takes a lock and flushes at every line, a quarter of the driver's time. A killed process
    loses no line either way; after a power cut the journal ends at a trial's end or later, and what was drawn
    since is drawn again as it was. A note that optuna-dashboard writes meanwhile is appended as a whole.

    Args:
        path: of the journal.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path)))

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """The lines from a number on."""
        return self._file.read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write lines at the end."""
        text = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        try:
            with self._path.open("ab") as file:
                file.write(text.encode())
                file.flush()
                if any("state" in log for log in logs):
                    os.fsync(file.fileno())
        except OSError as error:
            raise RunDirectoryError(
                f"cannot write {self._path}: {error.strerror or error}; check its permissions and free space"
            ) from None


class DriverStorage(JournalStorage):
    """Optuna's journal storage that does not walk through every trial at every ask.

    An ask looks for a trial that somebody enqueued, through all there are. Those that wait when the driver
    begins are found at once; what optuna-dashboard enqueues meanwhile is found when the study has grown by a
    fiftieth, so that looking costs each trial the same however many there are.
    """

    def __init__(self, log_storage: BaseJournalBackend) -> None:
        super().__init__(log_storage)
        self._asks_left = 0

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """The trials in one of `states`."""
        if states != (TrialState.WAITING,):
            return super().get_all_trials(study_id, deepcopy, states)
        if self._asks_left > 0:
            self._asks_left -= 1
            return []
        trials = super().get_all_trials(study_id, deepcopy=False)
        waiting = [trial for trial in trials if trial.state == TrialState.WAITING]
        self._asks_left = 0 if waiting else len(trials) // 50
        return copy.deepcopy(waiting) if deepcopy else waiting


class StudyJournal:
    """The study in a journal, made if the journal is new: a `Ledger` with one writer, who holds the directory's lock.

    Args:
        path: of the journal.
        name: of a new study; one that is there keeps its own.
        objectives: of the study.
        sampler: asked for every parameter.

    Raises:
        RunDirectoryError: when the journal cannot be read.
    """

    def __init__(self, path: Path, name: str, objectives: tuple[ObjectiveSettings, ...], sampler: BaseSampler) -> None:
        self._path = path
        self._asked = 0
        try:
            _repair(path)
            self._storage = DriverStorage(DriverBackend(path))
            held = self._storage.get_all_studies()
        except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
            raise RunDirectoryError(
                f"cannot read the study's journal {path}: {error}; something other than a killed run "
                "damaged it: restore it from a copy, or start again with --output OTHER"
            ) from None
        if not held:
            directions = [objective.direction for objective in objectives]
            optuna.create_study(study_name=name, storage=self._storage, directions=directions)
        self.study = optuna.load_study(
            study_name=held[0].study_name if held else name,
            storage=self._storage,
            sampler=sampler,
            pruner=NopPruner(),  # pruning.py compares within budget bands instead
        )

    def recover(self, points: Sequence[dict[str, Any]], told: Sequence[TrialRecord]) -> list[FrozenTrial]:
        """Enqueue what a kill left out; returns every trial, as all are this driver's."""
        trials = self.study.get_trials(deepcopy=False)
        beyond = [record.number for record in told if record.number > len(trials)]
        if beyond:  # a power cut may lose the last one
            raise RunDirectoryError(
                f"{self._path} lacks trial {beyond[0]}, which has a result; "
                "restore the journal from a copy, or start again with --output OTHER"
            )
        for point in points[len(trials) :]:
            self.study.enqueue_trial(point)
        trials = self.study.get_trials(deepcopy=False)
        self._asked = sum(trial.state != TrialState.WAITING for trial in trials)
        return trials

    def ask(self, n_trials: int, draw: Draw) -> tuple[Trial, dict[str, Any]] | None:
        """The next trial: one that was enqueued, or a new one."""
        if self._asked >= n_trials:
            return None
        self._asked += 1
        trial = self.study.ask()
        return trial, draw(trial)

    def live(self, number: int) -> Trial:
        """A trial that another process began, as an object that can be asked and told."""
        return Trial(self.study, self._id(number))

    def frozen(self, number: int) -> FrozenTrial:
        """A trial as it stands now."""
        return self._storage.get_trial(self._id(number))

    def _id(self, number: int) -> int:
        study_id = self._storage.get_study_id_from_name(self.study.study_name)
        return self._storage.get_trial_id_from_study_id_trial_number(study_id, number)

    def place(self, number: int) -> int:
        """The number."""
        return number

    def settle(self, record: TrialRecord, tell: Callable[[TrialRecord], None]) -> bool:
        """Tell."""
        tell(record)
        return True

    def lost(self, number: int) -> str | None:
        """Nobody else takes trials."""
        return None

    def ours(self, number: int) -> bool:
        """Nobody else trains."""
        return True

    def news(self) -> list[News]:
        """Nobody else writes."""
        return []

    def share(self, baseline: TrialRecord) -> None:
        """With nobody."""

    def baselines(self) -> list[TrialRecord]:
        """Nobody else trains."""
        return []

    def elsewhere(self) -> int:
        """Nobody else trains."""
        return 0


def _repair(path: Path) -> None:
    """Undo what a kill in the middle of an operation leaves: a line without end.

    Raises:
        ValueError: when the last whole line is no operation; Optuna forgives it, and fails at the next one.
    """
    if not path.is_file():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        os.truncate(path, sum(map(len, lines[:-1])))
        lines.pop()
    if lines and not isinstance(json.loads(lines[-1]), dict):
        raise ValueError("its last line is no operation")
