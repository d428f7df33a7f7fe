"""Finding a shared study, founding it where there is none, and refusing one that is another's."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import optuna
from optuna.exceptions import DuplicatedStudyError
from optuna.pruners import NopPruner
from optuna.samplers import BaseSampler

from precsearch.errors import RunDirectoryError
from precsearch.experiment import Experiment
from precsearch.experiment.loading import fingerprint
from precsearch.results import RunDirectory
from precsearch.study.shared.database import FOUNDING, Database
from precsearch.study.shared.heart import Heart
from precsearch.study.shared.identity import identify, study_of
from precsearch.study.shared.study import SharedStudy

HEARTBEAT_SECONDS: Final = 20.0
GRACE_SECONDS: Final = 120.0  # without a heartbeat, before a driver counts as dead


def check_joining(directory: RunDirectory, experiment: Experiment) -> None:
    """Check that the study can be joined, or founded; of the database only Optuna's empty tables may be made.

    Raises:
        RunDirectoryError: when the database cannot be used, or its study of this name is another one.
        ConfigurationError: when the URL cannot be understood, or its driver is not installed.
    """
    database = _reached(experiment)
    try:
        found = [each for each in database.storage.get_all_studies() if each.study_name == experiment.name]
        if found:
            study = optuna.load_study(study_name=experiment.name, storage=database.storage)
            _check(directory, experiment, study)
        elif study_of(directory) is not None:
            raise _elsewhere(directory, experiment)
    finally:
        database.close()


@contextmanager
def joined(directory: RunDirectory, experiment: Experiment, sampler: BaseSampler) -> Iterator[SharedStudy]:
    """The study, founded by the first driver that comes and joined by all others; its trials kept alive meanwhile.

    Raises:
        RunDirectoryError: as for `check_joining`, or when the connection is lost.
    """
    database = _reached(experiment)
    heart = Heart(database.storage.record_heartbeat, HEARTBEAT_SECONDS)
    try:
        study = _founded(experiment, database, sampler)
        driver = identify(directory, _check(directory, experiment, study))
        heart.start()
        yield SharedStudy(study, database, directory, driver, heart, experiment.study.seed, GRACE_SECONDS)
    finally:
        heart.stop()
        database.close()


def _reached(experiment: Experiment) -> Database:
    assert experiment.study.storage is not None  # or the study would have a journal
    return Database(experiment.study.storage)


def _founded(experiment: Experiment, database: Database, sampler: BaseSampler) -> optuna.Study:
    directions = [objective.direction for objective in experiment.study.objectives]
    with suppress(DuplicatedStudyError):  # another driver was first, now or last week
        optuna.create_study(study_name=experiment.name, storage=database.storage, directions=directions)
    study = optuna.load_study(study_name=experiment.name, storage=database.storage, sampler=sampler, pruner=NopPruner())
    if FOUNDING not in study.user_attrs and _empty(experiment, study):  # new, or its founder was killed just here
        founding = {"fingerprint": fingerprint(experiment), "id": uuid.uuid4().hex}
        database.claim(database.storage.get_study_id_from_name(experiment.name), founding)
    return study


def _check(directory: RunDirectory, experiment: Experiment, study: optuna.Study) -> str:
    """The study's id, where it is this experiment's and this directory's."""
    founding = study.user_attrs.get(FOUNDING)
    where = f"the study {experiment.name!r} in {experiment.study.storage}"
    advice = "give the experiment another `name:`, or another database in `study.storage`"
    if founding is None and not _empty(experiment, study):
        raise RunDirectoryError(f"{where} was not made by precsearch; {advice}")
    if founding is None:
        return ""
    if founding["fingerprint"] != fingerprint(experiment):
        raise RunDirectoryError(
            f"{where} belongs to another experiment ({founding['fingerprint']}) than the one asked for now "
            f"({fingerprint(experiment)}); {advice}"
        )
    if study_of(directory) not in {None, founding["id"]}:
        raise _elsewhere(directory, experiment)
    return str(founding["id"])


def _empty(experiment: Experiment, study: optuna.Study) -> bool:
    wanted = [objective.direction.upper() for objective in experiment.study.objectives]
    return not study.get_trials(deepcopy=False) and [each.name for each in study.directions] == wanted


def _elsewhere(directory: RunDirectory, experiment: Experiment) -> RunDirectoryError:
    return RunDirectoryError(
        f"{directory.path} holds trials of another study than {experiment.name!r} in {experiment.study.storage}; "
        "give the database they were in, or another directory with --output OTHER"
    )
