"""The trials of a study as jobs: asked, handed out, watched, kept, told; and taken up again after a kill.

The Optuna journal says which trials there are and what their parameters are; a trial directory's
`result.json` says how it ended. A result is written first and told after, so whatever moment a process is
killed at, running the same again finds for every trial one of: told; a result to be told; a trial to be
continued under its own number.
"""

from __future__ import annotations

import shutil
from collections import deque
from typing import Any, Final

from optuna.trial import FrozenTrial, Trial, TrialState

from precsearch.errors import AllocationError, ConfigurationError, DataError, RunDirectoryError
from precsearch.experiment import Experiment
from precsearch.experiment.loading import apply_point
from precsearch.results import Observer, Progress, RunDirectory, TrialRecord, read_record
from precsearch.space import suggest
from precsearch.study.executors.base import Job, Outcome
from precsearch.study.feasibility import ONE_POINT
from precsearch.study.journal import StudyJournal
from precsearch.study.outcomes import judged_metrics, keep_outcome
from precsearch.study.pruning import make_pruning
from precsearch.study.publish import Published
from precsearch.study.samplers import GridSampler
from precsearch.study.seeds import trial_seed
from precsearch.study.telling import STATES, LiveTrial, told_progress, told_reason

_EVERY_TRIAL: Final = (ConfigurationError, DataError, RunDirectoryError, AllocationError)


class StudyTrials:
    """The trials of a study as jobs for an executor.

    Args:
        experiment: of the study.
        directory: of the run; its lock is held.
        journal: the study.
        observer: told of every start, epoch and end.
    """

    def __init__(
        self, experiment: Experiment, directory: RunDirectory, journal: StudyJournal, observer: Observer
    ) -> None:
        self._experiment = experiment
        self._directory = directory
        self._journal = journal
        self._observer = observer
        self._pruning = make_pruning(experiment)
        self._judged = judged_metrics(experiment.study)
        self._records: dict[int, TrialRecord] = {}
        self._published = Published(directory, experiment.study)
        self._live: dict[int, LiveTrial] = {}
        self._unfinished: deque[int] = deque()
        self._lost: deque[FrozenTrial] = deque()
        self._asked = 0
        self._n_trials = experiment.study.n_trials
        sampler = journal.study.sampler
        if isinstance(sampler, GridSampler):
            self._n_trials = min(self._n_trials, sampler.trials)

    def recover(self) -> None:
        """Bring journal, records and pruning to one state, after whatever ended the last run.

        Raises:
            RunDirectoryError: when the journal lacks trials that have results; new ones would overwrite them.
        """
        told = len(self._journal.trials())
        beyond = [record.number for record in self._directory.records() if record.number > told]
        if beyond:  # a power cut may lose the last one
            raise RunDirectoryError(
                f"{self._directory.journal} lacks trial {beyond[0]}, which has a result; "
                "restore the journal from a copy, or start again with --output OTHER"
            )
        for point in self._experiment.study.enqueue[len(self._journal.trials()) :]:
            self._journal.study.enqueue_trial(point)  # all of them, or those that a kill left out
        for frozen in self._journal.trials():
            record = read_record(self._directory.trial(frozen.number))
            self._asked += frozen.state != TrialState.WAITING
            if frozen.state.is_finished():
                self._take_up(frozen, record)
            elif frozen.state == TrialState.RUNNING and record is not None:
                self._begin(self._journal.live(frozen.number), record.params)
                self._end(record)
            elif frozen.state == TrialState.RUNNING:
                self._unfinished.append(frozen.number)

    def finished_records(self) -> list[TrialRecord]:
        """Every finished trial, by number."""
        return [self._records[number] for number in sorted(self._records)]

    def publish(self) -> list[TrialRecord]:
        """Write `best.json` and `pareto.json`; returns the front."""
        return self._published.write()

    def publish_with(self, baseline: TrialRecord) -> list[TrialRecord]:
        """The same, with one more baseline."""
        self._published.add(baseline)
        return self._published.write()

    def next_job(self) -> Job | None:
        """The next trial: one whose result got lost, one to be continued, or a new one."""
        while True:
            reason = None
            if self._lost:
                frozen = self._lost.popleft()
                number, params = frozen.number, dict(frozen.params)
            elif (trial := self._next_trial()) is not None:
                number, params = trial.number, suggest(trial, self._experiment.space)
                reason = self._begin(trial, params)
            else:
                return None
            job, outcome = self._job(number, params, reason)
            if outcome is None:
                resumed = (job.directory / "checkpoint").is_dir()
                self._observer.trial_started(number, params, resumed, None)
                return job
            self._conclude(job, outcome)

    def progressed(self, job: Job, progress: Progress) -> str | None:
        """Show an epoch, and ask the pruner."""
        self._observer.trial_progressed(job.number, progress, None)
        live = self._live.get(job.number)
        if live is None:  # told long ago, and trained again for its lost result
            return None
        live.show(progress)
        if self._pruning is None:
            return None
        metric = self._pruning.metric
        if metric not in progress.metrics:
            raise ConfigurationError(
                f"study.pruner: a metric reported at every epoch must be named, but got {metric!r}; "
                f"this trial reports {', '.join(sorted(progress.metrics))}"
            )
        live.note(progress.step, progress.metrics[metric])
        return self._pruning.report(job.number, progress.step, progress.metrics[metric])

    def restarted(self, job: Job) -> None:
        """Tell the observer."""
        self._observer.trial_started(job.number, job.params, True, None)

    def finished(self, job: Job, outcome: Outcome) -> None:
        """Keep and tell how a trial ended; end the study where every other trial would end the same."""
        one_point = isinstance(outcome.error, ONE_POINT) and self._experiment.space
        if isinstance(outcome.error, _EVERY_TRIAL) and not one_point:
            raise outcome.error
        self._conclude(job, outcome)

    def _conclude(self, job: Job, outcome: Outcome) -> None:
        record = keep_outcome(self._directory, job, outcome, self._judged)
        self._end(record)
        self._observer.trial_finished(record, self.publish())

    def _next_trial(self) -> Trial | None:
        if self._unfinished:
            return self._journal.live(self._unfinished.popleft())
        if self._asked >= self._n_trials:
            return None
        self._asked += 1
        return self._journal.study.ask()

    def _job(self, number: int, params: dict[str, Any], reason: str | None) -> tuple[Job, Outcome | None]:
        """The job of a trial, and how it ended where that is known before it begins."""
        folder = self._directory.trial(number)
        folder.mkdir(parents=True, exist_ok=True)
        seed = trial_seed(self._experiment.study.seed, number)
        outcome = Outcome(stopped=reason) if reason is not None else None
        try:
            point = apply_point(self._experiment, params)
        except ConfigurationError as error:  # the experiment is valid: it is this point that is not
            point, outcome = self._experiment, Outcome(error=error)
        return Job(number, point, seed, folder, params), outcome

    def _begin(self, trial: Trial, params: dict[str, Any]) -> str | None:
        """Take a trial in hand, new or continued; returns why to prune it if that was decided before."""
        live = self._live[trial.number] = LiveTrial(trial, self._journal, self._experiment.study)
        return self._pruning.begin(trial.number, params, live.progress) if self._pruning else None

    def _keep(self, record: TrialRecord) -> None:
        self._records[record.number] = record
        self._published.add(record)

    def _end(self, record: TrialRecord) -> None:
        self._keep(record)
        live = self._live.pop(record.number, None)
        if live is not None:
            live.end(record, self._directory.trial(record.number))
            if self._pruning is not None:
                self._pruning.finish(record.number, STATES[record.state])
        self._clear(record.number)

    def _take_up(self, frozen: FrozenTrial, record: TrialRecord | None) -> None:
        """A trial that was told; its result is made again where somebody deleted it."""
        if self._pruning is not None:
            self._pruning.begin(frozen.number, frozen.params, told_progress(frozen.user_attrs))
            self._pruning.finish(frozen.number, frozen.state)
        if record is None and frozen.state == TrialState.COMPLETE:
            self._lost.append(frozen)
            return
        if record is None:
            record = TrialRecord(
                number=frozen.number,
                state="pruned" if frozen.state == TrialState.PRUNED else "failed",
                params=frozen.params,
                seed=trial_seed(self._experiment.study.seed, frozen.number),
                reason=told_reason(frozen),
            )
            self._directory.write_record(self._directory.trial(frozen.number), record)
        self._keep(record)
        self._clear(frozen.number)

    def _clear(self, number: int) -> None:
        checkpoint = self._directory.trial(number) / "checkpoint"
        if checkpoint.is_dir():
            shutil.rmtree(checkpoint, ignore_errors=True)
