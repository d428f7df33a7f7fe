from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_trials import Watcher, experiment, finish, progress, run_trial

from precsearch.experiment import Experiment
from precsearch.results import RunDirectory, Session, TrialResult
from precsearch.study.driver import run_study
from precsearch.study.interrupts import Interrupts


class Dropper:
    """Python drops what a destructor raises."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.fixture
def heeded() -> Iterator[None]:
    """A shell starts background jobs with Ctrl-C ignored, and tests inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_a_destructor_drops_still_ends_the_study(tmp_path: Path) -> None:
    def dropping(given: Experiment, session: Session) -> TrialResult:
        if session.directory.name == "0001":
            Dropper()
            session.report(progress(1, 0.5), None)
            pytest.fail("the trial went on after Ctrl-C")
        return finish(given, session)

    directory = RunDirectory(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        run_study(experiment(), directory, Watcher(), dropping)
    assert [record.number for record in directory.records()] == [0]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert run_study(experiment(), directory, Watcher(), run_trial).complete == 3


def test_a_programs_own_handler_stays() -> None:
    def own(number: int, frame: object) -> None:
        pass

    before = signal.signal(signal.SIGINT, own)
    try:
        with Interrupts():
            assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)
