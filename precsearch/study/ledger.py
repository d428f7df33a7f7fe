"""Where the trials of a study are written down, as the driver sees it: its own journal, or a database it shares.

The Optuna study is the only source of truth either way. What differs is who else writes in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import optuna
from optuna.trial import FrozenTrial, Trial

from precsearch.results import TrialRecord

Draw = Callable[[Trial], dict[str, Any]]


@dataclass(frozen=True)
class News:
    """What another driver did to one of its trials.

    Attributes:
        trial: as it stands now; to be read only.
        record: how it ended; None while it runs, and where it is lost and tried again under another number.
    """

    trial: FrozenTrial
    record: TrialRecord | None = None


class Ledger(Protocol):
    """The study of one run directory, whose lock the caller holds.

    Attributes:
        study: Optuna's.
    """

    study: optuna.Study

    def recover(self, points: Sequence[dict[str, Any]], told: Sequence[TrialRecord]) -> list[FrozenTrial]:
        """Make the study whole, after whatever ended the last run.

        Args:
            points: to try first.
            told: results in the run directory, by number.

        Returns:
            The trials of this driver, by number; to be read only.

        Raises:
            RunDirectoryError: when the study lacks trials that have results; new ones would overwrite them.
        """

    def ask(self, n_trials: int, draw: Draw) -> tuple[Trial, dict[str, Any]] | None:
        """A new trial of this driver with its point, or None where `n_trials` were asked for already."""

    def live(self, number: int) -> Trial:
        """A trial that another process of this driver began, as an object that can be asked and told."""

    def frozen(self, number: int) -> FrozenTrial:
        """A trial as it stands now; to be read only."""

    def place(self, number: int) -> int:
        """Which of the study's trials this is: its seed and its enqueued point go by that."""

    def settle(self, record: TrialRecord, tell: Callable[[TrialRecord], None]) -> bool:
        """Let `tell` tell how a trial ended; False, and nothing told, where the trial is no longer this driver's."""

    def lost(self, number: int) -> str | None:
        """Why a trial that this driver began is no longer its own, or None."""

    def ours(self, number: int) -> bool:
        """Whether this driver trained a finished trial, and has its weights."""

    def news(self) -> list[News]:
        """What other drivers did since this was asked last, by number."""

    def share(self, baseline: TrialRecord) -> None:
        """Let other drivers see a baseline that this one trained."""

    def baselines(self) -> list[TrialRecord]:
        """The baselines that other drivers trained."""

    def elsewhere(self) -> int:
        """How many trials run in other drivers."""
