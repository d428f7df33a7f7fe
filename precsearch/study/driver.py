"""Running a study from its first trial to the baselines beside its front; running it again continues it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from precsearch.experiment import Experiment
from precsearch.plans import TrialPlan
from precsearch.results import Observer, RunDirectory
from precsearch.selection import chosen
from precsearch.study.baselines import BaselineJobs
from precsearch.study.directory import check_directory, open_run
from precsearch.study.executors import make_executor
from precsearch.study.executors.base import RunTrial
from precsearch.study.jobs import StudyJobs
from precsearch.study.journal import quiet_optuna
from precsearch.study.ledgers import check_ledger, open_ledger
from precsearch.study.pruning import make_pruning
from precsearch.study.samplers import make_sampler
from precsearch.study.trials import StudyTrials
from precsearch.study.viewers import check_viewers, with_viewers


@dataclass(frozen=True)
class StudySummary:
    """How a study stands when `run_study` returns.

    Attributes:
        best: number of the best trial (of several objectives the knee of the front), None if none is
        feasible. front: numbers of the non-dominated feasible trials. complete: trials that ended so, those
        of earlier runs counted. pruned: likewise. failed: likewise. seconds: wall-clock time of this call.
    """

    best: int | None
    front: tuple[int, ...]
    complete: int
    pruned: int
    failed: int
    seconds: float
    elsewhere: int = 0


def check_study(experiment: Experiment) -> None:
    """Check what only Optuna knows, the arguments of sampler and pruner, and that viewers can be written for.

    Raises:
        ConfigurationError: naming the argument that is wrong.
    """
    check_viewers(experiment)
    make_sampler(experiment)
    with quiet_optuna():
        make_pruning(experiment)


def plan_study(experiment: Experiment) -> TrialPlan:
    """What the trials of a study would do, asked where they would run; nothing is trained or written.

    Raises:
        PrecsearchError: what would keep the study from running.
    """
    check_study(experiment)
    with make_executor(experiment) as executor:
        return executor.inspect(experiment)


def run_study(
    experiment: Experiment, directory: RunDirectory, observer: Observer, run_trial: RunTrial | None = None
) -> StudySummary:
    """Run a study to its end, or continue it: trials, then the baselines beside the front.

    Killed at any moment and run again it does the same trials under the same numbers, with the same
    parameters, seeds and results, as if it had run through.

    Args:
        experiment: what to search.
        directory: of the run; new, or holding the same experiment with another number of trials.
        observer: told of every start, epoch and end.
        run_trial: trains one trial; `precsearch.trial.run_trial` where None.

    Raises:
        ConfigurationError: when the experiment asks for what no trial can do; the trial stays resumable.
        DataError: likewise for the data.
        RunDirectoryError: when the directory cannot be written, is another experiment's, or has a driver.
    """
    started = time.monotonic()
    check_study(experiment)
    observer = with_viewers(experiment, directory, observer)
    check_directory(directory, experiment)
    check_ledger(directory, experiment)
    with make_executor(experiment) as executor:
        if run_trial is None and not directory.experiment.is_file():  # all of it before anything is written
            executor.inspect(experiment)
        with open_run(directory, experiment), quiet_optuna(), open_ledger(directory, experiment) as ledger:
            study = experiment.study
            trials = StudyTrials(experiment, directory, ledger, observer)
            trials.recover()
            observer.study_started(study.n_trials, trials.finished_records())

            def baselines() -> BaselineJobs:
                best = chosen(trials.publish(), study.objectives)
                return BaselineJobs(experiment, directory, trials.trained_here(), best, observer, trials.publish_with)

            executor.run(StudyJobs(trials, baselines), run_trial)
            members, elsewhere = trials.close(), ledger.elsewhere()
    states = Counter(record.state for record in trials.finished_records())
    return StudySummary(
        best=chosen(members, study.objectives),
        front=tuple(member.number for member in members),
        complete=states["complete"],
        pruned=states["pruned"],
        failed=states["failed"],
        seconds=time.monotonic() - started,
        elsewhere=elsewhere,
    )
