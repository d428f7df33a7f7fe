"""Confirming a front from its first training to the last; running it again continues it."""

from __future__ import annotations

from collections.abc import Sequence

from precsearch.experiment import Experiment
from precsearch.results import Observer, RunDirectory, read_record
from precsearch.study.confirm.jobs import ConfirmJobs
from precsearch.study.confirm.plan import ConfirmPlan, plan_confirmation
from precsearch.study.directory import hold
from precsearch.study.executors import make_executor
from precsearch.study.executors.base import RunTrial


def confirm_run(
    experiment: Experiment,
    directory: RunDirectory,
    observer: Observer,
    seeds: int,
    trials: Sequence[int] = (),
    run_trial: RunTrial | None = None,
) -> ConfirmPlan:
    """Train a front's allocations again on fresh seeds, beside uniform and random ones at the same limit and float.

    Nothing is selected by it: every training that was begun is finished and kept. Killed at any moment and run
    again, it leaves the same results as if it had run through; with more seeds it adds those.

    Args:
        experiment: of the run; its executor trains.
        directory: of the run.
        observer: told of every start, epoch and end; `baseline` is the arm and the seed.
        seeds: fresh ones, in all; every arm has the same.
        trials: to confirm; see `plan_confirmation`.
        run_trial: trains one; `precsearch.trial.run_trial` where None.

    Returns:
        The plan, of which nothing is missing.

    Raises:
        ConfigurationError: when one of `trials` is not a complete trial.
        DataError: when the data cannot be read.
        RunDirectoryError: when there is no front, the directory cannot be written, or has a driver.
    """
    directory.require()
    plan_confirmation(directory, experiment, seeds, trials)  # before anything is written
    with make_executor(experiment) as executor, hold(directory.path):
        plan = plan_confirmation(directory, experiment, seeds, trials)
        missing = {(each.member.number, each.arm, each.index) for each in plan.missing}
        done = [each for each in plan.trainings if (each.member.number, each.arm, each.index) not in missing]
        folders = (directory.confirm(each.member.number, each.arm, each.index) for each in done)
        finished = [record for record in map(read_record, folders) if record is not None]
        observer.study_started(len(plan.trainings), finished)
        executor.run(ConfirmJobs(experiment, directory, plan, observer), run_trial)
    return plan_confirmation(directory, experiment, seeds, trials)
