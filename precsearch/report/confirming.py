"""How confirming a front is watched: a bar and what is trained now, or a line each, as for a study."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from rich.console import Group
from rich.text import Text

from precsearch.report import words
from precsearch.report.lines import Lines
from precsearch.report.live import InPlace, bar, now
from precsearch.report.watch import Running, Watch

if TYPE_CHECKING:
    from rich.console import Console

    from precsearch.experiment import Experiment
    from precsearch.results import RunDirectory, TrialRecord

_TEST = "test_accuracy"


@dataclass
class Confirming(Running):
    """A training that confirms a trial; `baseline` is its arm and seed."""

    @property
    def title(self) -> str:
        """`trial 3, uniform, seed 0`."""
        return f"trial {self.number}, {self.baseline}"


class ConfirmWatch(Watch):
    """An `Observer` of trainings that confirm; a view subclasses it and prints.

    Attributes:
        training: what is told of one of them.
        purpose: what the trainings are for.
        doing: what comes before the experiment's name in a picture.
    """

    training: ClassVar[type[Running]] = Confirming
    purpose: ClassVar[str] = "to confirm"
    doing: ClassVar[str] = "confirming "

    def study_started(self, n_trials: int, finished: list[TrialRecord]) -> None:
        """Confirming begins or continues: so many trainings, of which `finished` were there before."""
        self.n_trials = n_trials
        self.finished = list(finished)

    def trial_started(self, number: int, params: dict[str, Any], resumed: bool, baseline: str | None) -> None:
        """A training begins, or continues from its checkpoint."""
        super().trial_started(number, params, resumed, baseline)
        self.running[number, baseline] = self.training(number, baseline, {}, resumed)

    def trial_finished(self, record: TrialRecord, front: list[TrialRecord]) -> None:
        """A training ended."""
        super().trial_finished(record, front)
        self.finished.append(record)

    def metric(self, record: TrialRecord) -> str:
        """The one that is told of a training that ended."""
        return _TEST

    def title(self, record: TrialRecord) -> str:
        """What a training that ended is called."""
        return self.training(record.number, record.baseline, {}, False).title

    def seconds_left(self) -> float | None:
        """About how long the trainings to come will take; None while nothing is known."""
        reached = [one.progress for one in self.running.values() if one.progress]
        return self.pace.left(
            trainings=max(self.n_trials - len(self.finished) - len(self.running), 0),
            open_epochs=sum(progress.steps - progress.step for progress in reached),
            steps=max((progress.steps for progress in reached), default=0),
        )

    def headline(self) -> str:
        """`12 of 36 trainings done, 1 failed, about 40 s left`."""
        failed = Counter(record.state for record in self.finished)["failed"]
        seconds = self.seconds_left()
        parts = [f"{len(self.finished)} of {words.count(self.n_trials, 'training')} done"]
        parts += [f"{failed} failed"] if failed else []
        parts += [f"about {words.about(seconds)} left"] if seconds else []
        return ", ".join(parts)


class ConfirmLines(Lines, ConfirmWatch):
    """A line when confirming begins, and when a training ends."""

    def study_started(self, n_trials: int, finished: list[TrialRecord]) -> None:
        """Confirming begins or continues."""
        super().study_started(n_trials, finished)
        before = f", {len(finished)} of them done before" if finished else ""
        self._line(
            f"{self.experiment.name}: {words.count(n_trials, 'training')} {self.purpose}{before}, in {self.run.path}"
        )

    def trial_started(self, number: int, params: dict[str, Any], resumed: bool, baseline: str | None) -> None:
        """A training begins; said where it continues an earlier one."""
        super().trial_started(number, params, resumed, baseline)
        if resumed:
            self._line(f"{self.running[number, baseline].title}: continued")

    def trial_finished(self, record: TrialRecord, front: list[TrialRecord]) -> None:
        """A training ended."""
        super().trial_finished(record, front)
        name, metric = self.title(record), self.metric(record)
        if record.state != "complete":
            self._line(f"{name}: {record.state}: {record.reason or 'no reason was recorded'}", "red")
            return
        measured = words.metric_text(metric, record.metrics.get(metric))
        took = words.duration(record.seconds)
        self._line(f"{name}: complete in {took}: {words.metric_header(metric)} {measured}; {self.headline()}")


class ConfirmLive(InPlace, ConfirmWatch):
    """A bar, and what is trained now, in place."""

    def picture(self) -> Group:
        """What the terminal shows now."""
        name = f"{self.doing}{self.experiment.name} "
        head = Text.assemble((name, "bold"), bar(len(self.finished), self.n_trials), f" {self.headline()}")
        return Group(head, *map(now, self.running.values()))


def watch_confirming(experiment: Experiment, run: RunDirectory, to: Console) -> ConfirmWatch:
    """The live view where `to` is a terminal, plain lines elsewhere."""
    view = ConfirmLive if to.is_terminal and not to.is_dumb_terminal else ConfirmLines
    return view(experiment, run, to)
