"""The trials of a study as jobs: asked, handed out, watched, kept, told; and taken up again after a kill.

The Optuna study says which trials there are and what their parameters are; a trial directory's
`result.json` says how it ended. A result is written first and told after, so whatever moment a process is
killed at, running the same again finds for every trial one of: told; a result to be told; a trial to be
continued under its own number.
"""

from __future__ import annotations

import shutil
from collections import deque
from functools import partial
from typing import Any, Final

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

from precsearch.errors import AllocationError, ConfigurationError, DataError, RunDirectoryError
from precsearch.experiment import Experiment
from precsearch.results import Observer, Progress, RunDirectory, TrialRecord, read_record
from precsearch.space import suggest
from precsearch.study.executors.base import Job, Outcome
from precsearch.study.feasibility import ONE_POINT
from precsearch.study.jobs import job_at
from precsearch.study.ledger import Ledger
from precsearch.study.outcomes import judged_metrics, keep_outcome
from precsearch.study.pruning import make_pruning
from precsearch.study.publish import Published
from precsearch.study.samplers import most_trials
from precsearch.study.seeds import trial_seed
from precsearch.study.telling import STATES, LiveTrial, told_progress, told_record

_EVERY_TRIAL: Final = (ConfigurationError, DataError, RunDirectoryError, AllocationError)


class StudyTrials:
    """The trials of a study as jobs for an executor.

    Args:
        experiment: of the study.
        directory: of the run; its lock is held.
        ledger: the study.
        observer: told of every start, epoch and end.
    """

    def __init__(self, experiment: Experiment, directory: RunDirectory, ledger: Ledger, observer: Observer) -> None:
        self._experiment = experiment
        self._directory = directory
        self._ledger = ledger
        self._observer = observer
        self._pruning = make_pruning(experiment)
        self._judged = judged_metrics(experiment.study)
        self._records: dict[int, TrialRecord] = {}
        self._published = Published(directory, experiment.study, ledger.ours)
        self._live: dict[int, LiveTrial] = {}
        self._unfinished: deque[int] = deque()
        self._lost: deque[FrozenTrial] = deque()
        self._n_trials = most_trials(ledger.study.sampler, experiment.study.n_trials)

    def recover(self) -> None:
        """Bring study, records and pruning to one state, after whatever ended the last run.

        Raises:
            RunDirectoryError: when the study lacks trials that have results; new ones would overwrite them.
        """
        for frozen in self._ledger.recover(self._experiment.study.enqueue, self._directory.records()):
            record = read_record(self._directory.trial(frozen.number))
            if frozen.state.is_finished():
                self._take_up(frozen, record)
            elif frozen.state == TrialState.RUNNING and record is not None:
                self._begin(self._ledger.live(frozen.number), record.params)
                if not self._end(record):
                    self._drop(frozen.number)
            elif frozen.state == TrialState.RUNNING:
                self._unfinished.append(frozen.number)
        self._take_in()
        self._published.add(*self._ledger.baselines())

    def catch_up(self) -> None:
        """Take in, and show, what other drivers did meanwhile."""
        told = self._take_in()
        if told:
            members = self.publish()
            for record in told:
                self._observer.trial_finished(record, members)

    def finished_records(self) -> list[TrialRecord]:
        """Every finished trial, by number."""
        return [self._records[number] for number in sorted(self._records)]

    def close(self) -> list[TrialRecord]:
        """Take in the last of what other drivers did, and say what they still do; returns the front."""
        self.catch_up()
        self._published.add(*self._ledger.baselines())
        if running := self._ledger.elsewhere():
            trials = "1 trial is" if running == 1 else f"{running} trials are"
            self._observer.noted(f"{trials} still running in other drivers; run the same command again to see the end")
        return self.publish()

    def publish(self) -> list[TrialRecord]:
        """Write `best.json` and `pareto.json`; returns the front."""
        return self._published.write()

    def trained_here(self) -> list[TrialRecord]:
        """The members of the front that this driver trained."""
        return [member for member in self.publish() if self._ledger.ours(member.number)]

    def publish_with(self, baseline: TrialRecord) -> list[TrialRecord]:
        """The same, with one more baseline."""
        self._ledger.share(baseline)
        self._published.add(baseline)
        return self._published.write()

    def next_job(self) -> Job | None:
        """The next trial: one whose result got lost, one to be continued, or a new one."""
        self.catch_up()
        while True:
            reason: str | None = None  # to prune it before it begins
            if self._lost:
                frozen = self._lost.popleft()
                number, params = frozen.number, dict(frozen.params)
            elif (asked := self._next_trial()) is not None:
                trial, params = asked
                number = trial.number
                reason = self._begin(trial, params)
            else:
                return None
            folder, seed = self._directory.trial(number), self._seed(number)
            job, outcome = job_at(self._experiment, number, params, seed, folder)
            outcome = Outcome(stopped=reason) if reason is not None else outcome
            if outcome is None:
                self._observer.trial_started(number, params, (folder / "checkpoint").is_dir(), None)
                return job
            self._conclude(job, outcome)

    def progressed(self, job: Job, progress: Progress) -> str | None:
        """Show an epoch, and ask the pruner."""
        self._observer.trial_progressed(job.number, progress, None)
        if (reason := self._ledger.lost(job.number)) is not None:
            return reason
        live = self._live.get(job.number)
        if live is None:  # told long ago, and trained again for its lost result
            return None
        value = self._pruning.value(progress) if self._pruning is not None else None
        try:
            live.show(progress)
            if value is not None:
                live.note(progress.step, value)
        except UpdateFinishedTrialError:
            return "another driver told how it ended"
        if self._pruning is None or value is None:
            return None
        self.catch_up()  # what others reported counts too
        reason = self._pruning.report(job.number, progress.step, value)
        return reason if progress.step < progress.steps else None  # after the last epoch nothing is left to save

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
        if self._ledger.lost(job.number) is None:
            record = keep_outcome(self._directory, job, outcome, self._judged)
            if self._end(record):
                self._observer.trial_finished(record, self.publish())
                return
        self._drop(job.number)

    def _next_trial(self) -> tuple[Trial, dict[str, Any]] | None:
        if self._unfinished:
            trial = self._ledger.live(self._unfinished.popleft())
            return trial, self._draw(trial)
        return self._ledger.ask(self._n_trials, self._draw)

    def _draw(self, trial: Trial) -> dict[str, Any]:
        return suggest(trial, self._experiment.space)

    def _begin(self, trial: Trial, params: dict[str, Any]) -> str | None:
        """Take a trial in hand, new or continued; returns why to prune it if that was decided before."""
        live = self._live[trial.number] = LiveTrial(trial, self._ledger, self._experiment.study)
        return self._pruning.begin(trial.number, params, live.progress) if self._pruning else None

    def _keep(self, record: TrialRecord) -> None:
        self._records[record.number] = record
        self._published.add(record)

    def _end(self, record: TrialRecord) -> bool:
        """Tell how a trial ended; False where it is no longer this driver's."""
        live = self._live.get(record.number)
        if live is not None:
            folder = self._directory.trial(record.number)
            if not self._ledger.settle(record, partial(live.end, folder=folder)):
                return False
            self._live.pop(record.number)
            if self._pruning is not None:
                self._pruning.finish(record.number, STATES[record.state])
        self._keep(record)
        self._clear(record.number)
        return True

    def _drop(self, number: int) -> None:
        """Forget a trial that another driver took over while this one was away."""
        if self._live.pop(number, None) is not None and self._pruning is not None:
            self._pruning.finish(number, TrialState.FAIL)
        shutil.rmtree(self._directory.trial(number), ignore_errors=True)
        self._observer.trial_dropped(number, self._ledger.lost(number) or "another driver told how it ended")

    def _take_in(self) -> list[TrialRecord]:
        """What other drivers did since the last time; returns how their trials ended."""
        told = []
        for news in self._ledger.news():
            if self._pruning is not None:
                self._pruning.follow(
                    news.trial.number, news.trial.params, told_progress(news.trial.user_attrs), news.trial.state
                )
            if news.record is not None:
                self._keep(news.record)
                told.append(news.record)
        return told

    def _seed(self, number: int) -> int:
        return trial_seed(self._experiment.study.seed, self._ledger.place(number))

    def _take_up(self, frozen: FrozenTrial, record: TrialRecord | None) -> None:
        """A trial that was told; its result is made again where somebody deleted it."""
        if self._pruning is not None:
            self._pruning.begin(frozen.number, frozen.params, told_progress(frozen.user_attrs))
            self._pruning.finish(frozen.number, frozen.state)
        if record is None and frozen.state == TrialState.COMPLETE:
            self._lost.append(frozen)
            return
        if record is None:
            record = told_record(frozen, self._seed(frozen.number))
            self._directory.write_record(self._directory.trial(frozen.number), record)
        self._keep(record)
        self._clear(frozen.number)

    def _clear(self, number: int) -> None:
        shutil.rmtree(self._directory.trial(number) / "checkpoint", ignore_errors=True)
