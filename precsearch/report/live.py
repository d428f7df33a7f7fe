"""A study as a picture that changes in place, for terminals."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.text import Text

from precsearch.report import words
from precsearch.report.lines import progress_text
from precsearch.report.tables import front_so_far
from precsearch.report.watch import Running, Watch

if TYPE_CHECKING:
    from rich.console import Console

    from precsearch.experiment import Experiment
    from precsearch.results import Progress, RunDirectory, TrialRecord

_CELLS = 24


class InPlace(Watch):
    """A view that is drawn anew in the lower part of the terminal whenever something happened; subclasses draw it."""

    def __init__(self, experiment: Experiment, run: RunDirectory, console: Console) -> None:
        super().__init__(experiment, run)
        # drawn when something happened, not by a second thread: the machine's cores are for training
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        """Take over the lower part of the terminal."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""
        self._live.stop()

    def study_started(self, n_trials: int, finished: list[TrialRecord]) -> None:
        """The study begins or continues; `finished` were there before."""
        super().study_started(n_trials, finished)
        self._draw()

    def trial_started(self, number: int, params: dict[str, Any], resumed: bool, baseline: str | None) -> None:
        """A trial (or the baseline beside it) begins, or continues from its checkpoint."""
        super().trial_started(number, params, resumed, baseline)
        self._draw()

    def trial_progressed(self, number: int, progress: Progress, baseline: str | None) -> None:
        """An epoch is done."""
        super().trial_progressed(number, progress, baseline)
        self._draw()

    def trial_finished(self, record: TrialRecord, front: list[TrialRecord]) -> None:
        """A trial or baseline ended; `front` is the non-dominated set so far."""
        super().trial_finished(record, front)
        self._draw()

    def picture(self) -> RenderableType:
        """What the terminal shows now."""
        raise NotImplementedError

    def _draw(self) -> None:
        self._live.update(self.picture(), refresh=True)


class LiveView(InPlace):
    """Trials done, what is trained now, the front so far, and the time left."""

    def trial_dropped(self, number: int, reason: str) -> None:
        """A trial is no longer this driver's."""
        super().trial_dropped(number, reason)
        self.noted(f"trial {number}: dropped: {reason}")

    def noted(self, text: str) -> None:
        """Something to know that is no trial's; printed above the picture, where it stays."""
        self._live.console.print(Text(text), soft_wrap=True)
        self._draw()

    def picture(self) -> RenderableType:
        """What the terminal shows now."""
        parts: list[RenderableType] = [self._header(), *map(now, self.running.values())]
        if self.front:
            allocations = {record.number: self.allocation(record.number) for record in self.front}
            made = front_so_far(self.experiment, self.front, allocations)
            parts.append(Padding(made, (1, 0, 0, 0), expand=False))
        return Group(*parts)

    def _header(self) -> Text:
        done = len(self.finished)
        states = [record.state for record in self.finished]
        ended_badly = [f", {states.count(state)} {state}" for state in ("pruned", "failed") if state in states]
        seconds = self.seconds_left()
        left = f", about {words.about(seconds)} left" if seconds is not None else ""
        return Text.assemble(
            (f"{self.experiment.name} ", "bold"),
            bar(done, self.n_trials),
            f" {done} of {words.count(self.n_trials, 'trial')} done", *ended_badly, left,
        )  # fmt: skip


def bar(done: int, of: int) -> Text:
    """How much is done."""
    full = _CELLS * done // max(of, 1)
    return Text.assemble(("█" * full, "cyan"), ("·" * (_CELLS - full), "dim"))


def now(running: Running) -> RenderableType:
    """What is trained, how far it is, and its bits."""
    first = Text.assemble((running.title, "bold"), ", continued" if running.resumed else "", ": ")
    progress = running.progress
    if progress is None:
        first.append(words.params_text(running.params) or "starting")
        return first
    first.append(progress_text(progress))
    return Group(first, Padding(Text(words.bits_text(progress.bits)), (0, 0, 0, 2)))
