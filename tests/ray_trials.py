"""Trials that a worker imports: most train nothing, some go wrong."""

from __future__ import annotations

import os
import time
from pathlib import Path

from fake_trials import finish, progress, run_trial, score

from precsearch.errors import BudgetError
from precsearch.experiment import Experiment
from precsearch.results import Session, TrialResult


def of_all_kinds(experiment: Experiment, session: Session) -> TrialResult:
    """Trial 1 raises, 2 has a NaN, 3 cannot keep its budget, 4 raises the first time only."""
    number = int(session.directory.name[:4])
    if number == 1:
        raise ZeroDivisionError("oops")
    if number == 2:
        return finish(experiment, session, validation_accuracy=float("nan"))
    if number == 3:
        raise BudgetError("too small")
    if number == 4 and session.resume() is None:
        folder = session.directory / "checkpoint"
        folder.mkdir()
        (folder / "step.json").write_text("1")
        session.report(progress(1, score(experiment) / 3), folder)
        raise OSError("the first time only")
    return run_trial(experiment, session)


def loses_its_worker(experiment: Experiment, session: Session) -> TrialResult:
    """Trial 1 ends its process, each time; trial 2 once."""
    number = int(session.directory.name[:4])
    once = session.directory / "once"
    if number == 1 or (number == 2 and not once.exists()):
        once.touch()
        os._exit(1)
    return run_trial(experiment, session)


def notes_its_process(experiment: Experiment, session: Session) -> TrialResult:
    """Leaves the id of its process, and takes long enough for another to start."""
    time.sleep(1.0)
    (Path(os.environ["PRECSEARCH_TEST_NOTES"]) / session.directory.name).write_text(str(os.getpid()))
    return run_trial(experiment, session)


def leaves_weights(experiment: Experiment, session: Session, evaluated: str = "validation") -> TrialResult:
    """Leaves weights that say what they came from, wherever that was brought to."""
    start = Path(experiment.model.checkpoint).read_text() if experiment.model.checkpoint else "nothing"
    (session.directory / "weights.safetensors").write_text(f"{session.directory.name} from {start}")
    return run_trial(experiment, session, evaluated)
