"""The study in a database that several drivers write in: a `Ledger` whose trials have owners.

Every trial has a *place*, which of the study's trials it is: places are given out one by one under the
database's lock, so that no two drivers get the same, none is left out and no more than `n_trials` are. Seeds,
enqueued points and grid points go by the place. A trial whose driver fell silent is replaced by another trial at
the same place, with the same parameters and seed; it is lost from the moment that this retry exists, whatever its
driver, coming back, has to say of it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from precsearch.errors import RunDirectoryError
from precsearch.results import RunDirectory, TrialRecord
from precsearch.study.ledger import Draw, News
from precsearch.study.seeds import PLACE, trial_seed
from precsearch.study.shared.baselines import SharedBaselines
from precsearch.study.shared.database import Database
from precsearch.study.shared.heart import Heart
from precsearch.study.shared.travel import mirrored, packed

OWNER: Final = "driver"  # of a trial's user attributes
RETRY_OF: Final = "retry_of"  # number of the trial that it replaces
RESUME_OF: Final = "resume_of"  # and of the first in the chain
TRIES: Final = "tries"
MOST_TRIES: Final = 3  # a trial that kills its driver would go on killing one after another


class SharedStudy:
    """One driver's view of a shared study.

    Args:
        study: Optuna's.
        database: it lives in.
        directory: of this driver's run.
        driver: its id.
        heart: beats for the trials it trains.
        seed: of the study.
        grace: seconds without a heartbeat after which another driver's trial is taken over.
    """

    def __init__(
        self,
        study: optuna.Study,
        database: Database,
        directory: RunDirectory,
        driver: str,
        heart: Heart,
        seed: int,
        grace: float,
    ) -> None:
        self.study = study
        self._database = database
        self._storage = database.storage
        self._id = self._storage.get_study_id_from_name(study.study_name)
        self._directory = directory
        self._driver = driver
        self._heart = heart
        self._seed = seed
        self._grace = grace
        self._points: Sequence[dict[str, Any]] = ()
        self._trials: list[FrozenTrial] = []
        self._read = 0  # trials before this one have ended, and are known
        self._places: dict[int, int] = {}
        self._next = 0  # the first place that no trial has
        self._looked = 0.0
        self._retries: dict[int, int] = {}  # number of a lost trial -> of its retry
        self._mine: set[int] = set()
        self._told: set[int] = set()  # numbers whose end the driver knows
        self._baselines = SharedBaselines(study, directory, self.ours)

    def recover(self, points: Sequence[dict[str, Any]], told: Sequence[TrialRecord]) -> list[FrozenTrial]:
        """Take up this driver's trials; forget those that others took over."""
        self._points = points
        with self._database.lock(self._id):
            trials = self._look()
            beyond = [record.number for record in told if record.number >= len(trials)]
            if beyond:
                raise RunDirectoryError(
                    f"the study {self.study.study_name!r} lacks trial {beyond[0]}, which has a result in "
                    f"{self._directory.path}; restore the database from a copy, or start again with --output OTHER"
                )
            own = [trial for trial in trials if trial.number in self._mine and trial.number not in self._retries]
            for trial in own:
                if trial.state == TrialState.RUNNING:
                    self._heart.care(self._trial_id(trial.number))
        self._told |= {trial.number for trial in own if trial.state.is_finished()}
        for number in self._mine & set(self._retries):
            shutil.rmtree(self._directory.trial(number), ignore_errors=True)
        return own

    def ask(self, n_trials: int, draw: Draw) -> tuple[Trial, dict[str, Any]] | None:
        """The next trial, its point drawn before the next driver asks: a retry, or a new one at the next place."""
        with self._database.lock(self._id):
            self._look()
            self._take_over()
            waiting = self._waiting()
            if waiting is None or PLACE not in waiting.user_attrs:  # the latter came from optuna-dashboard
                place = self._next
                if place >= n_trials:
                    return None
                if waiting is None:
                    point = self._points[place] if place < len(self._points) else {}
                    self.study.enqueue_trial(point, user_attrs={PLACE: place, OWNER: self._driver})
                else:
                    self._storage.set_trial_user_attr(self._trial_id(waiting.number), PLACE, place)
                self._look()
                waiting = self._waiting()
                assert waiting is not None  # just enqueued, and nobody else asks now
            trial_id = self._trial_id(waiting.number)
            self._storage.set_trial_user_attr(trial_id, OWNER, self._driver)
            self._heart.care(trial_id)  # before it runs: a running trial that never was heard of would stay for ever
            trial = self.study.ask()
            point = draw(trial)
            self._look()
        return trial, point

    def live(self, number: int) -> Trial:
        """A trial that another process of this driver began."""
        return Trial(self.study, self._trial_id(number))

    def frozen(self, number: int) -> FrozenTrial:
        """A trial as it stands now."""
        return self._storage.get_trial(self._trial_id(number))

    def place(self, number: int) -> int:
        """The place it was given, which a retry shares with the trial it replaces."""
        return self._places[number]

    def settle(self, record: TrialRecord, tell: Callable[[TrialRecord], None]) -> bool:
        """Send the result and tell it, unless somebody took the trial over."""
        trial_id = self._trial_id(record.number)
        with self._database.lock(self._id):
            self._look()
            ours = record.number not in self._retries and not self.frozen(record.number).state.is_finished()
            if ours:
                for key, value in packed(self._directory.trial(record.number), record).items():
                    self._storage.set_trial_user_attr(trial_id, key, value)
                tell(record)
                self._told.add(record.number)
        self._heart.leave(trial_id)
        return ours

    def lost(self, number: int) -> str | None:
        """Whether somebody took it over; looked up anew a few times within the grace."""
        if number in self._mine and time.monotonic() - self._looked > self._grace / 4:
            self._look()
        if number not in self._retries:
            return None
        return f"it was not heard of for {self._grace:g} s, and is tried again as trial {self._retries[number]}"

    def ours(self, number: int) -> bool:
        """Whether this driver trained it."""
        return number in self._mine

    def news(self) -> list[News]:
        """What other drivers did, the ends of their trials mirrored into this run directory."""
        trials, found, first = self._look(), [], self._read
        for trial in trials[first:]:
            if trial.number in self._told:
                continue
            if trial.state.is_finished() and trial.number in self._mine and trial.number in self._retries:
                self._told.add(trial.number)
            elif trial.state.is_finished():
                self._told.add(trial.number)
                found.append(News(trial, self._ending(trial)))
            elif trial.state == TrialState.RUNNING and trial.number not in self._mine:
                found.append(News(trial))
        while self._read < len(trials) and trials[self._read].number in self._told:
            self._read += 1
        return found

    def share(self, baseline: TrialRecord) -> None:
        """Send a baseline's result."""
        self._baselines.send(baseline)

    def baselines(self) -> list[TrialRecord]:
        """The baselines that others trained, mirrored; those of this driver that were not sent yet, are."""
        return self._baselines.exchange()

    def elsewhere(self) -> int:
        """How many trials run in other drivers, or have lost theirs."""
        running = [trial for trial in self._look()[self._read :] if not trial.state.is_finished()]
        return sum(trial.number not in self._mine and PLACE in trial.user_attrs for trial in running)

    def _look(self) -> list[FrozenTrial]:
        """Every trial; only those that may have changed are read."""
        self._trials, self._looked = self.study.get_trials(deepcopy=False), time.monotonic()
        for trial in self._trials[self._read :]:
            attributes = trial.user_attrs
            if PLACE in attributes:
                self._places[trial.number] = attributes[PLACE]
                self._next = max(self._next, attributes[PLACE] + 1)
            if RETRY_OF in attributes:
                self._retries[attributes[RETRY_OF]] = trial.number
            if attributes.get(OWNER) == self._driver:
                self._mine.add(trial.number)
        return self._trials

    def _waiting(self) -> FrozenTrial | None:
        waiting = (trial for trial in self._trials[self._read :] if trial.state == TrialState.WAITING)
        return next(waiting, None)

    def _take_over(self) -> None:
        """Fail the trials of drivers that fell silent, and enqueue each once more."""
        for number in self._database.silent(self._id, self._grace):
            lost = self._trials[number]
            if number not in self._places or (number in self._mine and number not in self._retries):
                continue
            tries = lost.user_attrs.get(TRIES, 1)
            if number not in self._retries and tries < MOST_TRIES:
                # Optuna's word for an enqueued point, which its driver may not have drawn from when it died
                given = lost.system_attrs.get("fixed_params", {})
                self.study.enqueue_trial(
                    {**given, **lost.params},
                    user_attrs={
                        PLACE: self._places[number],
                        RETRY_OF: number,
                        RESUME_OF: lost.user_attrs.get(RESUME_OF, number),
                        TRIES: tries + 1,
                    },
                )
                self._look()
            reason = f"its driver disappeared, as those of {tries - 1} tries before"
            if number in self._retries:
                reason = f"its driver disappeared; tried again as trial {self._retries[number]}"
            self._storage.set_trial_user_attr(self._trial_id(number), "fail_reason", reason)
            self._storage.set_trial_state_values(self._trial_id(number), TrialState.FAIL)

    def _ending(self, trial: FrozenTrial) -> TrialRecord | None:
        if trial.number in self._retries or PLACE not in trial.user_attrs:
            return None
        return mirrored(self._directory, trial, trial_seed(self._seed, self._places[trial.number]))

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, number)
