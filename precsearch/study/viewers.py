"""What a study writes for other programs to show, as `study.viewers` asks."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from precsearch.errors import ConfigurationError
from precsearch.experiment import Experiment
from precsearch.results import Observer, Progress, RunDirectory, TrialRecord


def check_viewers(experiment: Experiment) -> None:
    """Check that what `study.viewers` names can be written here.

    Raises:
        ConfigurationError: when a package is missing; says which.
    """
    if "tensorboard" in experiment.study.viewers and find_spec("tensorboardX") is None:
        raise ConfigurationError(
            "study.viewers: a viewer whose package is installed must be named, but got `tensorboard`, and there is no "
            "tensorboardX to write its logs with; `pip install tensorboardX`, or drop it"
        )


def with_viewers(experiment: Experiment, directory: RunDirectory, observer: Observer) -> Observer:
    """`observer`, and after it who else is told of everything that happens in the study.

    Artifacts of optuna-dashboard are not left here: they belong to a trial before it has ended
    (`precsearch.study.telling`).
    """
    if "tensorboard" not in experiment.study.viewers:
        return observer
    from precsearch.study.tensorboard import TensorBoardLogs

    return Observers((observer, TensorBoardLogs(directory)))


class Observers:
    """Several observers as one.

    Args:
        each: told in this order.
    """

    def __init__(self, each: Sequence[Observer]) -> None:
        self._each = tuple(each)

    def study_started(self, n_trials: int, finished: list[TrialRecord]) -> None:
        """Tell each."""
        for one in self._each:
            one.study_started(n_trials, finished)

    def trial_started(self, number: int, params: dict[str, Any], resumed: bool, baseline: str | None) -> None:
        """Tell each."""
        for one in self._each:
            one.trial_started(number, params, resumed, baseline)

    def trial_progressed(self, number: int, progress: Progress, baseline: str | None) -> None:
        """Tell each."""
        for one in self._each:
            one.trial_progressed(number, progress, baseline)

    def trial_finished(self, record: TrialRecord, front: list[TrialRecord]) -> None:
        """Tell each."""
        for one in self._each:
            one.trial_finished(record, front)

    def trial_dropped(self, number: int, reason: str) -> None:
        """Tell each."""
        for one in self._each:
            one.trial_dropped(number, reason)

    def noted(self, text: str) -> None:
        """Tell each."""
        for one in self._each:
            one.noted(text)
