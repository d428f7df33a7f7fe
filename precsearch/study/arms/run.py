"""Training the arms of a `compare` or a `grid` from the first to the last; running it again continues it."""

from __future__ import annotations

from precsearch.experiment import Experiment
from precsearch.results import Observer, RunDirectory, TrialRecord
from precsearch.study.arms.jobs import ArmsJobs
from precsearch.study.arms.logs import with_logs
from precsearch.study.arms.look import ArmsLook, layers_of, look_at_arms, read_layers, write_layers
from precsearch.study.arms.plan import ArmsPlan, plan_arms
from precsearch.study.directory import check_directory, open_run
from precsearch.study.executors import make_executor
from precsearch.study.executors.base import RunTrial
from precsearch.study.viewers import check_viewers


def look_at_run(experiment: Experiment) -> ArmsLook:
    """What `run_arms` would train, asked where it would be trained; nothing is trained or written.

    Raises:
        PrecsearchError: what would keep a training from running.
    """
    with make_executor(experiment) as executor:
        return look_at_arms(experiment, executor)


def run_arms(
    experiment: Experiment, directory: RunDirectory, observer: Observer, run_trial: RunTrial | None = None
) -> ArmsPlan:
    """Train every arm in every cell with every seed.

    Every training that was begun is finished and kept. Killed at any moment and run again, it leaves the same results
    as if it had run through; with more seeds it adds those.

    Args:
        experiment: of kind compare or grid.
        directory: of the run; new, or holding the same experiment with another number of seeds.
        observer: told of every start, epoch and end; `number` is the cell, `baseline` names arm and seed.
        run_trial: trains one; `precsearch.trial.run_trial` where None.

    Returns:
        The plan, all of which has ended.

    Raises:
        ConfigurationError: when the experiment asks for what cannot be trained.
        DataError: likewise for the data.
        RunDirectoryError: when the directory cannot be written, is another experiment's, or has a driver.
    """
    check_viewers(experiment)
    check_directory(directory, experiment)
    with make_executor(experiment) as executor:
        if run_trial is None and not directory.experiment.is_file():  # all of it before anything is written
            layers = look_at_arms(experiment, executor).layers
        else:
            layers = read_layers(directory) or layers_of(experiment, executor)
        plan = plan_arms(experiment, layers)
        with open_run(directory, experiment):
            write_layers(directory, layers)
            observer = with_logs(experiment, directory, observer)
            finished: list[TrialRecord] = [record for _, record in plan.results(directory)]
            observer.study_started(len(plan.tuning) + len(plan.trainings), finished)
            executor.run(ArmsJobs(experiment, directory, plan, observer), run_trial)
    return plan
