"""How the trainings of a `compare` or a `grid` are watched: as those that confirm a front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from precsearch.report.confirming import ConfirmLines, ConfirmLive, ConfirmWatch
from precsearch.report.watch import Running

if TYPE_CHECKING:
    from rich.console import Console

    from precsearch.experiment import Experiment
    from precsearch.results import RunDirectory, TrialRecord

_TUNING = "tuning/"


@dataclass
class OneOfArms(Running):
    """A training of an arm; `baseline` is its name in the run directory, `number` its cell."""

    @property
    def title(self) -> str:
        """`cell 0, uniform, seed 2`; `cell 0, tuning uniform, try 1, seed 0`."""
        name = str(self.baseline)
        if name.startswith(_TUNING):
            label, tried, index = name.removeprefix(_TUNING).rsplit("-", 2)
            return f"cell {self.number}, tuning {label}, try {int(tried)}, seed {int(index)}"
        label, index = name.rsplit("-", 1)
        return f"cell {self.number}, {label}, seed {int(index)}"


class ArmsWatch(ConfirmWatch):
    """An `Observer` of the trainings of arms."""

    training: ClassVar[type[Running]] = OneOfArms
    purpose: ClassVar[str] = "of arms"
    doing: ClassVar[str] = ""

    def metric(self, record: TrialRecord) -> str:
        """Nothing is chosen by the test split, so of what tunes it is not told."""
        return "validation_accuracy" if str(record.baseline).startswith(_TUNING) else super().metric(record)


class ArmsLines(ArmsWatch, ConfirmLines):
    """A line when it begins, and when a training ends."""


class ArmsLive(ArmsWatch, ConfirmLive):
    """A bar, and what is trained now, in place."""


def watch_arms(experiment: Experiment, run: RunDirectory, to: Console) -> ArmsWatch:
    """The live view where `to` is a terminal, plain lines elsewhere."""
    view = ArmsLive if to.is_terminal and not to.is_dumb_terminal else ArmsLines
    return view(experiment, run, to)
