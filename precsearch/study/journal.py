"""The study's journal: one line an operation, written by the driver alone, whole again after a kill."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.pruners import NopPruner
from optuna.samplers import BaseSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, Trial, TrialState

from precsearch.errors import RunDirectoryError
from precsearch.experiment import ObjectiveSettings


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Optuna says errors only, until the end of the block: the observer is the one who talks."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


class StudyJournal:
    """The study in a journal, made if the journal is new. The caller holds the run directory's lock.

    Args:
        path: of the journal.
        name: of a new study; one that is there keeps its own.
        objectives: of the study.
        sampler: asked for every parameter.

    Raises:
        RunDirectoryError: when the journal cannot be read.
    """

    def __init__(
        self, path: Path, name: str, objectives: tuple[ObjectiveSettings, ...], sampler: BaseSampler
    ) -> None:
        _repair(path)
        try:
            # An "open" lock: a symlink's target would be looked up relative to the run directory. It is only
            # there for optuna-dashboard, which may write notes.
            backend = JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path)))
            self._storage = JournalStorage(backend)
        except (ValueError, KeyError, OSError) as error:
            raise RunDirectoryError(
                f"cannot read the study's journal {path}: {error}; something other than a killed run "
                "damaged it: restore it from a copy, or start again with --output OTHER"
            ) from None
        held = self._storage.get_all_studies()
        self.study = optuna.create_study(
            study_name=held[0].study_name if held else name,
            storage=self._storage,
            directions=[objective.direction for objective in objectives],
            sampler=sampler,
            pruner=NopPruner(),  # pruning.py compares within budget bands instead
            load_if_exists=True,
        )

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """The trials in one of `states`, or all, by number; to be read only."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    def live(self, number: int) -> Trial:
        """A trial that another process began, as an object that can be asked and told."""
        study_id = self._storage.get_study_id_from_name(self.study.study_name)
        return Trial(self.study, self._storage.get_trial_id_from_study_id_trial_number(study_id, number))


def _repair(path: Path) -> None:
    """Undo what a kill in the middle of an operation leaves: a line without end, and Optuna's lock file."""
    for stale in path.parent.glob(f"{path.name}.lock*"):
        stale.unlink(missing_ok=True)
    if not path.is_file():
        return
    with path.open("rb+") as file:
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)
