"""Which ledger a study has: its run directory's journal, or the database that `study.storage` names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from precsearch.errors import RunDirectoryError
from precsearch.experiment import Experiment
from precsearch.results import RunDirectory
from precsearch.study.journal import StudyJournal, quiet_optuna
from precsearch.study.ledger import Ledger
from precsearch.study.samplers import make_sampler
from precsearch.study.shared.identity import identity_file


def check_ledger(directory: RunDirectory, experiment: Experiment) -> None:
    """Check that the study can be begun or continued from this directory; writes nothing there.

    Raises:
        RunDirectoryError: when it lives elsewhere, the database cannot be used, or its study is another one.
        ConfigurationError: when `study.storage` cannot be understood, or its database driver is not installed.
    """
    shared = experiment.study.storage is not None
    if shared and directory.journal.is_file():
        raise RunDirectoryError(
            f"{directory.path} keeps its study in a journal of its own; leave `study.storage` out to continue it, "
            "or give another directory with --output OTHER"
        )
    if not shared and identity_file(directory).is_file():
        raise RunDirectoryError(
            f"{directory.path} holds trials of a study in a database; give its URL in `study.storage`, "
            "or another directory with --output OTHER"
        )
    if shared:
        from precsearch.study.shared.joining import check_joining

        with quiet_optuna():
            check_joining(directory, experiment)


@contextmanager
def open_ledger(directory: RunDirectory, experiment: Experiment) -> Iterator[Ledger]:
    """The study of `directory`, made if it is new; the directory's lock is held.

    Raises:
        RunDirectoryError: as for `check_ledger`, or when the journal cannot be read.
    """
    study, sampler = experiment.study, make_sampler(experiment)
    if study.storage is None:
        yield StudyJournal(directory.journal, experiment.name, study.objectives, sampler)
        return
    from precsearch.study.shared.joining import joined

    with joined(directory, experiment, sampler) as ledger:
        yield ledger
