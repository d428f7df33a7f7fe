"""Ray Tune as an executor of jobs: a searcher that asks the driver, a scheduler that tells it, and nothing else.

Tune decides on what node and when a trial runs, keeps its actors from trial to trial and starts a trial again
when its worker is lost. It never decides what runs: stock `OptunaSearch` and `Tuner.restore` keep a second
record of the study, and lose or double trials where the two part.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import ray
from ray import tune
from ray.tune.callback import Callback
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from precsearch.experiment import ExecutorSettings
from precsearch.study.cluster.desk import Desk
from precsearch.study.cluster.mailbox import (
    AwayDesk,
    ClusterMailbox,
    Mailbox,
    ThreadMailbox,
    answer_while,
    remove_on_head,
)
from precsearch.study.cluster.wire import KEY, Parcel
from precsearch.study.cluster.worker import PARCEL, train

LOST_WORKERS: Final = 3  # forgiven a trial: machines are lost without the trial's fault


class DeskSearcher(Searcher):
    """Gives Tune the driver's jobs. Holds no record of its own: Tune has nothing to save or restore."""

    def __init__(self, desk: AwayDesk) -> None:
        super().__init__()
        self._desk = desk

    def suggest(self, trial_id: str) -> Any:
        """A job as a configuration; None for none now, FINISHED for none any more."""
        taken = self._desk.take(trial_id)
        if isinstance(taken, Parcel):
            return {PARCEL: taken}
        return Searcher.FINISHED if taken == "none any more" else None

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Nothing: the scheduler has told it."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class DeskScheduler(FIFOScheduler):
    """Tells the driver of every report, and Tune to stop where the driver says so."""

    def __init__(self, desk: AwayDesk) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._desk = desk

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Hand a report over and ask."""
        over = self._desk.hear(trial.trial_id, result[KEY])
        return str(TrialScheduler.STOP if over else TrialScheduler.CONTINUE)


class LossCallback(Callback):
    """Tells the driver of trials that Tune gave up."""

    def __init__(self, desk: AwayDesk) -> None:
        self._desk = desk

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Every try lost its worker."""
        text = Path(trial.error_file).read_text(encoding="utf-8") if trial.error_file else ""
        self._desk.lose(trial.trial_id, trial.num_failures, _last_words(text))


def _last_words(text: str) -> str:
    """First and last line of the last failure in a file that Tune appends to."""
    *_, last = text.split("\nFailure # ")
    lines = [line.strip() for line in last.splitlines()[1:] if line.strip()]
    return " ... ".join(dict.fromkeys([lines[0], lines[-1]])) if lines else "Ray gave no reason"


def run_jobs(desk: Desk, settings: ExecutorSettings, folder: str, check: Callable[[], object]) -> None:
    """Let Tune run the desk's jobs until there are no more.

    Args:
        desk: where they come from and their reports go.
        settings: resources and failures.
        folder: for Tune's own files; nothing of ours is in it.
        check: called at least twice a second; raises to leave.

    Raises:
        ClusterError: when Tune gave up.
        PrecsearchError: what the driver raised.
    """
    away = ray.util.client.ray.is_connected()
    mailbox: Mailbox = ClusterMailbox() if away else ThreadMailbox()
    answer_while(make_tuner(AwayDesk(mailbox), settings, folder).fit, desk, mailbox, check)
    if away:
        remove_on_head(folder)


def make_tuner(desk: AwayDesk, settings: ExecutorSettings, folder: str) -> tune.Tuner:
    """A Tuner whose every decision is the desk's."""
    resources = {"cpu": settings.resources.cpu, "gpu": settings.resources.gpu}
    return tune.Tuner(
        tune.with_resources(train, resources),
        tune_config=tune.TuneConfig(
            num_samples=-1,
            search_alg=DeskSearcher(desk),
            scheduler=DeskScheduler(desk),
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name="jobs",
            storage_path=folder,
            verbose=0,
            callbacks=[LossCallback(desk)],
            failure_config=tune.FailureConfig(max_failures=max(LOST_WORKERS, settings.max_failures)),
        ),
    )
