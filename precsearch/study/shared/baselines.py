"""The baselines of a shared study: each trained by the driver that trained the trial it stands beside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import optuna

from precsearch.results import RunDirectory, TrialRecord
from precsearch.study.shared.travel import packed, unpacked

_PREFIX: Final = "baseline:"  # of the study's user attributes; number and kind follow


class SharedBaselines:
    """Baselines on their way, as user attributes of the study.

    Args:
        study: Optuna's.
        directory: of this driver's run.
        ours: whether this driver trained a trial.
    """

    def __init__(self, study: optuna.Study, directory: RunDirectory, ours: Callable[[int], bool]) -> None:
        self._study = study
        self._directory = directory
        self._ours = ours

    def send(self, baseline: TrialRecord) -> None:
        """Let others have one."""
        folder = self._directory.baseline(baseline.number, str(baseline.baseline))
        self._study.set_user_attr(_key(baseline), packed(folder, baseline))

    def exchange(self) -> list[TrialRecord]:
        """Send what was not sent, and write down what others sent and is not here yet -> the latter."""
        here = {_key(baseline): baseline for baseline in self._directory.baselines()}
        there = {key: value for key, value in self._study.user_attrs.items() if key.startswith(_PREFIX)}
        for key in here.keys() - there.keys():
            if self._ours(here[key].number):
                self.send(here[key])
        return [
            unpacked(self._directory, self._directory.path / "baselines" / key.removeprefix(_PREFIX), there[key])
            for key in sorted(there.keys() - here.keys())
        ]


def _key(baseline: TrialRecord) -> str:
    return f"{_PREFIX}{baseline.number:04d}-{baseline.baseline}"
