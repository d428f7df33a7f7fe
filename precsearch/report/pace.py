"""How long a study will still take, from the epochs it has done so far."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """Mean seconds an epoch, times the epochs to come.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: float | None = None
        self._epochs = 0
        self._ended: list[int] = []  # epochs of each training that ended: pruned ones are short

    def begin(self) -> None:
        """A training begins; the first call starts the clock."""
        if self._began is None:
            self._began = self._clock()

    def epoch(self) -> None:
        """One epoch is done."""
        self._epochs += 1

    def end(self, epochs: int) -> None:
        """A training ended after `epochs` of its epochs."""
        self._ended.append(epochs)

    def left(self, trainings: int, open_epochs: int, steps: int) -> float | None:
        """Seconds to go, or None while nothing is known.

        Args:
            trainings: that have not begun.
            open_epochs: still to come in the trainings that run.
            steps: epochs of a whole training, used until one has ended.
        """
        if self._began is None or self._epochs == 0:
            return None
        each = sum(self._ended) / len(self._ended) if self._ended else steps
        per_epoch = (self._clock() - self._began) / self._epochs
        return per_epoch * (trainings * each + open_epochs)
