"""The report of a run that is on: drawn now and then by a process of its own, and once more at the end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from precsearch.report.watch import Watch
    from precsearch.results import Progress, RunDirectory, TrialRecord

PAUSE: Final = 30.0  # seconds from the start of one drawing to that of the next, at least
_SPARING: Final = 10  # and so many times what the last one took: the trials need the processor more
_PATIENCE: Final = 5.0  # seconds that a drawing has to clear up when it is stopped
_DRAW: Final = """\
import os, signal, sys
os.nice(19)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
from precsearch.cli import main
main(["report", sys.argv[1]])
"""


class Redrawn:
    """An `Observer` that hands on everything it is told, and keeps `report.html` up to date meanwhile.

    Drawing is left to a process at the lowest priority, one at a time: matplotlib takes seconds, and the trials are
    not to wait for it. Use it as a context manager; a drawing that is under way at the end is stopped, for the last
    word is that of `closing_report`.

    Args:
        watch: who prints.
        run: what is drawn.
        clock: seconds that only go forward.
    """

    def __init__(self, watch: Watch, run: RunDirectory, clock: Callable[[], float] = time.monotonic) -> None:
        self.watch = watch
        self._run = run
        self._clock = clock
        self._drawing: subprocess.Popen[str] | None = None
        self._begun = clock()
        self._took = 0.0
        self._behind = False
        self._complained = False

    def __enter__(self) -> Self:
        """Begin to watch."""
        self.watch.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the drawing, leave the terminal as it was."""
        if self._drawing is not None:
            _stop(self._drawing)
            self._drawing = None
        self.watch.__exit__(kind, error, trace)

    def study_started(self, n_trials: int, finished: list[TrialRecord]) -> None:
        """The study begins or continues; `finished` were there before."""
        self.watch.study_started(n_trials, finished)

    def trial_started(self, number: int, params: dict[str, Any], resumed: bool, baseline: str | None) -> None:
        """A trial (or the baseline beside it) begins, or continues from its checkpoint."""
        self.watch.trial_started(number, params, resumed, baseline)

    def trial_progressed(self, number: int, progress: Progress, baseline: str | None) -> None:
        """An epoch is done."""
        self.watch.trial_progressed(number, progress, baseline)
        self._redraw()

    def trial_finished(self, record: TrialRecord, front: list[TrialRecord]) -> None:
        """A trial or baseline ended; `front` is the non-dominated set so far."""
        self.watch.trial_finished(record, front)
        self._behind = True
        self._redraw()

    def trial_dropped(self, number: int, reason: str) -> None:
        """A trial is no longer this driver's."""
        self.watch.trial_dropped(number, reason)

    def noted(self, text: str) -> None:
        """Something to know that is no trial's."""
        self.watch.noted(text)

    def _redraw(self) -> None:
        """Begin to draw where a trial has ended since, the last drawing is done, and it began a while ago."""
        since = self._clock() - self._begun
        if self._drawing is not None and self._drawing.poll() is not None:
            self._took = since
            self._end(self._drawing)
            self._drawing = None
        if not self._behind or self._drawing is not None or since < max(PAUSE, _SPARING * self._took):
            return
        self._begun, self._behind = self._clock(), False
        self._drawing = _draw(self._run.path)

    def _end(self, drawing: subprocess.Popen[str]) -> None:
        _, said = drawing.communicate()
        if drawing.returncode and not self._complained:
            self._complained = True  # once: the end of the run says it again
            self.watch.noted(f"the report could not be drawn meanwhile: {said.strip() or 'no reason was given'}")


def closing_report(run: RunDirectory, say: Callable[[str], None]) -> Path | None:
    """Write the report of a run that has ended; one that cannot be drawn costs a message, never the run.

    Args:
        run: its directory.
        say: told why there is no report.

    Returns:
        The page; None where there is none.
    """
    from precsearch.report.complaints import complaint
    from precsearch.report.page import write_report

    try:
        return write_report([run]).path
    except KeyboardInterrupt:
        reason = "interrupted"
    except Exception as error:
        reason = complaint(error)[0]
    say(f"the report was not written: {reason}; `precsearch report RUN_DIR` writes it, the run itself is whole")
    return None


def _stop(drawing: subprocess.Popen[str]) -> None:
    drawing.terminate()
    try:
        drawing.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        drawing.kill()
        drawing.communicate()


def _draw(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _DRAW, str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        process_group=0,  # Ctrl-C is for the driver; a session of its own would be given a share of the processor
    )
