"""A study as plain lines, for logs and pipes: a line when a trial begins and ends, one for each phase."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from precsearch.report import words
from precsearch.report.tables import shown_metrics
from precsearch.report.watch import Watch, title

if TYPE_CHECKING:
    from rich.console import Console

    from precsearch.experiment import Experiment
    from precsearch.results import Progress, RunDirectory, TrialRecord


class Lines(Watch):
    """A view that prints to `console`, never more than one line at a time, never over what was printed."""

    def __init__(self, experiment: Experiment, run: RunDirectory, console: Console) -> None:
        super().__init__(experiment, run)
        self._console = console

    def _line(self, text: str, style: str = "") -> None:
        # a log line is one line, however wide
        self._console.print(Text(text, style=style), soft_wrap=True)


class PlainLines(Lines):
    """A line when a trial begins and ends, and one for each phase."""

    def study_started(self, n_trials: int, finished: list[TrialRecord]) -> None:
        """The study begins or continues; `finished` were there before."""
        super().study_started(n_trials, finished)
        before = f", {len(self.finished)} of them finished before" if self.finished else ""
        self._line(f"{self.experiment.name}: {words.count(n_trials, 'trial')}{before}, in {self.run.path}")

    def trial_started(self, number: int, params: dict[str, Any], resumed: bool, baseline: str | None) -> None:
        """A trial (or the baseline beside it) begins, or continues from its checkpoint."""
        super().trial_started(number, params, resumed, baseline)
        chosen = f" with {words.params_text(params)}" if params and baseline is None else ""
        self._line(f"{title(number, baseline)}: {'continued' if resumed else 'started'}{chosen}")

    def trial_progressed(self, number: int, progress: Progress, baseline: str | None) -> None:
        """An epoch is done; only the first of each phase is printed."""
        before = self.running[number, baseline].progress
        super().trial_progressed(number, progress, baseline)
        if before is not None and before.phase == progress.phase:
            return
        self._line(f"{title(number, baseline)}: {progress_text(progress)}{self._left()}")

    def trial_finished(self, record: TrialRecord, front: list[TrialRecord]) -> None:
        """A trial or baseline ended; `front` is the non-dominated set so far."""
        super().trial_finished(record, front)
        name = title(record.number, record.baseline)
        if record.state != "complete":
            style = "red" if record.state == "failed" else "yellow"
            self._line(f"{name}: {record.state}: {record.reason or 'no reason was recorded'}", style)
            return
        metrics = [
            f"{words.metric_header(metric)} {words.metric_text(metric, record.metrics.get(metric))}"
            for metric in shown_metrics(self.experiment)
        ]
        allocation = self.allocation(record.number) if record.baseline is None else None
        bits = f", bits {words.bits_text(words.bits_of(allocation.layers))}" if allocation else ""
        self._line(f"{name}: complete in {words.duration(record.seconds)}: {', '.join(metrics)}{bits}")
        if record.baseline is None:
            self._line(f"front: trials {', '.join(str(member.number) for member in front)}")

    def trial_dropped(self, number: int, reason: str) -> None:
        """A trial is no longer this driver's."""
        super().trial_dropped(number, reason)
        self._line(f"{title(number, None)}: dropped: {reason}", "yellow")

    def noted(self, text: str) -> None:
        """Something to know that is no trial's."""
        self._line(text)

    def _left(self) -> str:
        seconds = self.seconds_left()
        return f", about {words.about(seconds)} left" if seconds is not None else ""


def progress_text(progress: Progress) -> str:
    """Phase, epoch, accuracy and average bits of one training; after its last epoch, that it is being measured."""
    text = f"{progress.phase}, epoch {progress.epoch} (step {progress.step} of {progress.steps})"
    accuracy = progress.metrics.get("validation_accuracy")
    if accuracy is not None:
        text += f", validation {words.metric_text('validation_accuracy', accuracy)} %"
    bits = words.average_bits(progress.metrics)
    text = text if bits == words.NOTHING else f"{text}, average bits {bits}"
    return f"{text}; being measured" if progress.step == progress.steps else text
