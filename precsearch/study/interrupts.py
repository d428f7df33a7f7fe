"""Ctrl-C that cannot get lost: one that arrives inside a destructor is dropped by Python, and remembered here."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Self


class Interrupts:
    """While entered, remembers SIGINT beside raising KeyboardInterrupt, and raises it again when asked.

    Leaves the signal alone outside the main thread, and where the program has a handler of its own.
    """

    def __init__(self) -> None:
        self._seen = False
        self._installed = False

    def __enter__(self) -> Self:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._remember)
            self._installed = True
        return self

    def __exit__(self, *_: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def check(self) -> None:
        """Raise KeyboardInterrupt if one came and was dropped."""
        if self._seen:
            raise KeyboardInterrupt

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._seen = True
        signal.default_int_handler(number, frame)
