"""A study killed at any moment and run again is the study that ran through."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_trials import Watcher, experiment, left_behind, open_study, run_trial

import precsearch.study.journal as journal_module
from precsearch.results import RunDirectory
from precsearch.study.driver import run_study

SAMPLERS = {
    "tpe": "sampler: {name: tpe, n_startup_trials: 2}",
    "joint": "sampler: {name: tpe, n_startup_trials: 2, multivariate: true, constant_liar: true}",
    "random": "sampler: {name: random}",
    "nsga2": "sampler: {name: nsga2, population_size: 2}",
    "grid": "sampler: {name: grid}",
    "single": "sampler: {name: tpe, n_startup_trials: 2}, "
    "objectives: [{metric: validation_accuracy, direction: maximize}]",
}
GRID = """
space:
  inner.budget.limit: {type: float, low: 2.0, high: 6.0, step: 1.0}
  inner.temperature.start: {type: categorical, choices: [1.0, 2.0]}
"""
REST = (
    "n_trials: 5, seed: 3, baselines: [uniform], pruner: {name: median, n_startup_trials: 1, bands: 1}, "
    "constraints: [{metric: model_size, max: 550, min: 100}], "
    "enqueue: [{inner.budget.limit: 3.0}, {inner.budget.limit: 6.0}]"
)


class Killed(BaseException):
    """The process is gone: nothing in the code under test may catch it."""


class Fuse:
    """Kills at the `at`-th write of the driver: before it, after it, or in the middle of a journal line."""

    def __init__(self, at: int, when: str) -> None:
        self.left, self.when = at, when

    def burn(self, write: Callable[[], Any], half: Callable[[], Any] | None = None) -> Any:
        self.left -= 1
        if self.left != 0:
            return write()
        if self.when == "after":
            write()
        elif self.when == "half" and half is not None:
            half()
        raise Killed


@pytest.fixture
def fuse(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fuse]:
    fuse = Fuse(0, "before")
    append, replace = journal_module.DriverBackend.append_logs, Path.replace

    def appended(self: journal_module.DriverBackend, logs: list[dict[str, Any]]) -> None:
        def half() -> None:
            with self._path.open("ab") as file:
                file.write(b'{"op_code":5,"worker_id":"torn')

        fuse.burn(lambda: append(self, logs), half)

    monkeypatch.setattr(journal_module.DriverBackend, "append_logs", appended)
    monkeypatch.setattr(Path, "replace", lambda self, target: fuse.burn(lambda: replace(self, target)))
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # slow, and no help against a kill
    yield fuse


def whole(name: str) -> tuple[Any, Any]:
    return experiment(f"{REST}, {SAMPLERS[name]}", *([GRID] if name == "grid" else [])), SAMPLERS[name]


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_killed_at_any_write_it_ends_as_if_it_had_run_through(tmp_path: Path, fuse: Fuse, name: str) -> None:
    document, _ = whole(name)
    run_study(document, RunDirectory(tmp_path / "through"), Watcher(), run_trial)
    writes, through = -fuse.left, left_behind(tmp_path / "through")
    assert {trial[1] for trial in through["trials"]} == {"COMPLETE", "PRUNED"}
    every = range(1, writes + 1, 2 if name == "tpe" else 7)
    for at in every:
        fuse.left, fuse.when = at, ("before", "after", "half")[at % 3]
        path = tmp_path / f"{at}"
        with pytest.raises(Killed):
            run_study(document, RunDirectory(path), Watcher(), run_trial)
        fuse.left = 0
        run_study(document, RunDirectory(path), Watcher(), run_trial)
        assert left_behind(path) == through, f"killed {fuse.when} write {at} of {writes}"


def test_killed_at_every_fifth_write_again_and_again(tmp_path: Path, fuse: Fuse) -> None:
    document, _ = whole("tpe")
    run_study(document, RunDirectory(tmp_path / "through"), Watcher(), run_trial)
    kills = 0
    while True:
        fuse.left, fuse.when = 5, ("before", "after", "half")[kills % 3]
        try:
            run_study(document, RunDirectory(tmp_path / "killed"), Watcher(), run_trial)
            break
        except Killed:
            kills += 1
    assert kills > 5
    assert left_behind(tmp_path / "killed") == left_behind(tmp_path / "through")


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_half_trained_trial_goes_on_from_its_checkpoint(tmp_path: Path, epoch: int) -> None:
    document = experiment("n_trials: 3, baselines: []")

    class Killer(Watcher):
        def trial_progressed(self, number: int, progress: Any, baseline: str | None) -> None:
            super().trial_progressed(number, progress, baseline)
            if (number, progress.step) == (1, epoch):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(document, RunDirectory(tmp_path / "killed"), Killer(), run_trial)
    assert [trial.state.name for trial in open_study(RunDirectory(tmp_path / "killed")).trials] == [
        "COMPLETE",
        "RUNNING",
    ]
    watcher = Watcher()
    run_study(document, RunDirectory(tmp_path / "killed"), watcher, run_trial)
    assert [record.number for record in watcher.before] == [0]
    assert watcher.started == [(1, True, None), (2, False, None)]
    assert [step for number, step, _ in watcher.steps if number == 1] == list(range(epoch, 4))
    run_study(document, RunDirectory(tmp_path / "through"), Watcher(), run_trial)
    assert left_behind(tmp_path / "killed") == left_behind(tmp_path / "through")


def test_more_trials_later_are_the_trials_of_a_longer_study(tmp_path: Path) -> None:
    study = "n_trials: %d, sampler: {name: tpe, n_startup_trials: 3}, baselines: []"
    for n_trials in (4, 9):
        run_study(experiment(study % n_trials), RunDirectory(tmp_path / "grown"), Watcher(), run_trial)
    run_study(experiment(study % 9), RunDirectory(tmp_path / "through"), Watcher(), run_trial)
    assert left_behind(tmp_path / "grown") == left_behind(tmp_path / "through")


def test_a_run_directory_can_be_moved_and_continued(tmp_path: Path) -> None:
    document = experiment("n_trials: 2, baselines: []")
    run_study(document, RunDirectory(tmp_path / "here"), Watcher(), run_trial)
    (tmp_path / "here").rename(tmp_path / "there")
    longer = experiment("n_trials: 3, baselines: []")
    assert run_study(longer, RunDirectory(tmp_path / "there"), Watcher(), run_trial).complete == 3
    for file in (tmp_path / "there").rglob("*"):
        assert not file.is_file() or str(tmp_path).encode() not in file.read_bytes(), file


def test_a_deleted_result_is_trained_again(tmp_path: Path) -> None:
    document = experiment(f"{REST}, {SAMPLERS['tpe']}")
    run_study(document, RunDirectory(tmp_path), Watcher(), run_trial)
    before = left_behind(tmp_path)
    states = {record.number: record.state for record in RunDirectory(tmp_path).records()}
    for number in states:
        (RunDirectory(tmp_path).trial(number) / "result.json").unlink()
    watcher = Watcher()
    run_study(document, RunDirectory(tmp_path), watcher, run_trial)
    assert [number for number, _, _ in watcher.started] == [n for n in states if states[n] == "complete"]
    after = left_behind(tmp_path)
    assert {**after, "records": None} == {**before, "records": None}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_process_that_is_killed_leaves_a_study_to_continue(tmp_path: Path) -> None:
    script = f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from fake_trials import Watcher, experiment, run_trial
        from precsearch.results import RunDirectory
        from precsearch.study.driver import run_study

        class Killer(Watcher):
            def trial_progressed(self, number, progress, baseline):
                if (number, progress.step) == (2, 2):
                    os.kill(os.getpid(), signal.SIGKILL)

        run_study(experiment("n_trials: 4"), RunDirectory({str(tmp_path / "killed")!r}), Killer(), run_trial)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    for path in (tmp_path / "killed", tmp_path / "through"):
        run_study(experiment("n_trials: 4"), RunDirectory(path), Watcher(), run_trial)
    assert left_behind(tmp_path / "killed") == left_behind(tmp_path / "through")
