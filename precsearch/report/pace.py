"""How long a study will still take, from the epochs it has done so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_SETTLED_SECONDS: Final = 30.0  # after which loading libraries and data no longer counts for much


class Pace:
    """Mean seconds an epoch, times the epochs to come.

    The first epoch of each training that ran at the start is not counted once they have all done two: before it the
    libraries and the data were loaded, which can take as long as many epochs.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: float | None = None
        self._first = 0  # trainings that began before any epoch was done
        self._loaded = 0.0  # when these had done an epoch each
        self._epochs = 0
        self._ended: list[int] = []  # epochs of each training that ended: pruned ones are short

    def begin(self) -> None:
        """A training begins; the first call starts the clock."""
        if self._began is None:
            self._began = self._clock()
        self._first += self._epochs == 0

    def epoch(self) -> None:
        """One epoch is done."""
        self._epochs += 1
        if self._epochs == self._first:
            self._loaded = self._clock()

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
        now, epochs, since = self._clock(), self._epochs, self._began
        if epochs >= 2 * self._first:
            epochs, since = epochs - self._first, self._loaded
        elif now - since < _SETTLED_SECONDS:
            return None
        each = sum(self._ended) / len(self._ended) if self._ended else steps
        return (now - since) / epochs * (trainings * each + open_epochs)
