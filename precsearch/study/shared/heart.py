"""Telling the database, every few seconds, that this driver's trials are alive."""

from __future__ import annotations

import threading
from collections.abc import Callable

from precsearch.errors import RunDirectoryError


class Heart:
    """A thread that beats for every trial in its care. Optuna's own does so inside `optimize` only.

    Args:
        beat: records one heartbeat of a trial, by Optuna's id.
        seconds: between two.
    """

    def __init__(self, beat: Callable[[int], None], seconds: float) -> None:
        self._beat = beat
        self._seconds = seconds
        self._trials: set[int] = set()
        self._guard = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="precsearch-heart", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for the last beat."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def care(self, trial: int) -> None:
        """Beat for a trial, at once and from now on."""
        self._beat(trial)
        with self._guard:
            self._trials.add(trial)

    def leave(self, trial: int) -> None:
        """Beat for it no longer."""
        with self._guard:
            self._trials.discard(trial)

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            with self._guard:
                trials = sorted(self._trials)
            for trial in trials:
                try:
                    self._beat(trial)
                except RunDirectoryError:
                    break  # the driver's own next word to the database says so; until then keep trying
