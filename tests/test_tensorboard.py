"""What TensorBoard is shown of a study: every step once, whatever happened to the drivers, and the same on Ray."""

from __future__ import annotations

import importlib.util
import json
import shutil
import signal
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_trials import Watcher, experiment, failing, finish, run_trial
from made_runs import FAILED
from real_trials import experiment as real_experiment
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData
from tensorboardX.record_writer import masked_crc32c
from test_kill import COMMAND, Driver, after, make_home

import precsearch.study.tensorboard as module
from precsearch.errors import ConfigurationError, RunDirectoryError
from precsearch.experiment import Experiment
from precsearch.experiment.loading import with_overrides
from precsearch.files import write_text
from precsearch.results import Progress, RunDirectory, Session, TrialResult, read_steps
from precsearch.study.driver import check_study, run_study

WITH = "n_trials: 3, baselines: [uniform], viewers: [tensorboard]"


def events(path: Path) -> Iterator[Event]:
    """The whole records of a file, their checksums right; as TensorBoard does, up to one that was cut short."""
    data = path.read_bytes()
    while len(data) >= 16:
        (length,) = struct.unpack("<Q", data[:8])
        if len(data) < length + 16:
            return
        assert struct.unpack("<I", data[8:12])[0] == masked_crc32c(data[:8])
        assert struct.unpack("<I", data[12 + length : 16 + length])[0] == masked_crc32c(data[12 : 12 + length])
        yield Event.FromString(data[12 : 12 + length])
        data = data[16 + length :]


def seen(folder: Path) -> dict[str, Any]:
    """Tag -> step -> value, and the plugin's data, as TensorBoard reads the files of one training."""
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*tfevents*")):
        first, *rest = events(path)
        assert first.file_version == "brain.Event:2"
        for event in rest:
            if event.session_log.status == SessionLog.START:
                found = {}
            for value in event.summary.value:
                of_tag = found.setdefault(value.tag, {})
                assert event.step not in of_tag, f"step {event.step} of {value.tag} twice in {path}"
                plugin = value.metadata.plugin_data
                text = (plugin.plugin_name, plugin.content, *value.tensor.string_val)
                of_tag[event.step] = text if plugin.plugin_name else value.simple_value
    return found


def all_seen(run: Path) -> dict[str, Any]:
    """What is the same however often a study was begun; how long trainings took is not."""
    found = {folder.name: seen(folder) for folder in sorted((run / "tensorboard").iterdir())}
    return {name: {tag: value for tag, value in tags.items() if "trial/" not in tag} for name, tags in found.items()}


def leaving_steps(given: Experiment, session: Session) -> TrialResult:
    """A trial without training that leaves `steps.jsonl`, as a real one does before it tells."""

    class Writing:
        seed, directory, resume = session.seed, session.directory, session.resume

        def report(self, progress: Progress, checkpoint: Path | None) -> None:
            told = [each for each in read_steps(self.directory) if each.step < progress.step]
            lines = [f"{each.model_dump_json()}\n" for each in (*told, progress)]
            write_text(self.directory / "steps.jsonl", "".join(lines))
            session.report(progress, checkpoint)

    return run_trial(given, Writing())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("undisturbed") / "run"
    run_study(experiment(WITH), RunDirectory(path), Watcher(), leaving_steps)
    return path


def test_every_number_that_a_trial_tells(tmp_path: Path) -> None:
    document = real_experiment("study.n_trials=1", "study.baselines=[uniform]", "study.viewers=[tensorboard]")
    directory = RunDirectory(tmp_path / "run")
    run_study(document, directory, Watcher())
    for folder in (directory.trial(0), directory.baseline(0, "uniform")):
        shown = seen(directory.path / "tensorboard" / folder.name)
        steps, record = read_steps(folder), json.loads((folder / "result.json").read_text())
        assert len(steps) == 5
        for step in steps:
            for name, value in step.metrics.items():
                (tag,) = [tag for tag in shown if tag.endswith(f"/{name}") and not tag.startswith("result/")]
                assert shown[tag][step.step] == pytest.approx(value)
            for layer, targets in step.bits.items():
                for target, bits in targets.items():
                    assert shown[f"bits_{target}/{layer}"][step.step] == bits
        results = {name: value for name, value in record["metrics"].items() if not name.startswith("test_")}
        assert {tag: shown[tag][5] for tag in shown if tag.startswith("result/")} == pytest.approx(
            {f"result/{name}": value for name, value in results.items()}
        )
        assert b"| weight bits |" in shown["allocation/text_summary"][5][2]
        assert len(list((directory.path / "tensorboard" / folder.name).iterdir())) == 1


def test_what_was_chosen_and_how_it_ended(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    run_study(experiment(WITH), directory, Watcher(), failing(ZeroDivisionError("oops"), 1))
    for record in (*directory.records(), *directory.baselines()):
        name = directory.trial(record.number).name + (f"-{record.baseline}" if record.baseline else "")
        shown = seen(directory.path / "tensorboard" / name)

        def plugin(tag: str, shown: dict[str, Any] = shown) -> HParamsPluginData:
            ((_, content, *_),) = shown[f"_hparams_/{tag}"].values()
            return HParamsPluginData.FromString(content)

        chosen = plugin("session_start_info").session_start_info.hparams
        values = {key: getattr(value, str(value.WhichOneof("kind"))) for key, value in chosen.items()}
        assert values == {**record.params, "allocation": record.baseline or "found"}
        metrics = {each.name.tag.removeprefix("result/") for each in plugin("experiment").experiment.metric_infos}
        assert metrics == record.metrics.keys()
        status = plugin("session_end_info").session_end_info.status
        assert status == (1 if record.state == "complete" else 2)  # of TensorBoard: success, failure
    ((_, _, text),) = seen(directory.path / "tensorboard" / "0001")["trial/text_summary"].values()
    assert b"| state | failed |" in text and b"ZeroDivisionError: oops" in text


class Killed(BaseException):
    """The process is gone: nothing in the code under test may catch it."""


@pytest.mark.parametrize("when", ["before", "half", "after"])
@pytest.mark.parametrize("at", [3, 5, 20])
def test_killed_at_any_write(
    tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch, at: int, when: str
) -> None:
    left, write = at, module._write

    def burning(path: Path, records: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0 and when == "before":
            raise Killed
        write(path, records)
        if left == 0:
            if when == "half":
                path.write_bytes(path.read_bytes()[:-7])
            raise Killed

    monkeypatch.setattr(module, "_write", burning)
    directory = RunDirectory(tmp_path / "run")
    with pytest.raises(Killed):
        run_study(experiment(WITH), directory, Watcher(), leaving_steps)
    run_study(experiment(WITH), directory, Watcher(), leaving_steps)
    assert all_seen(directory.path) == all_seen(undisturbed)


def test_turned_on_and_off_with_the_run(tmp_path: Path, undisturbed: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    off, on = experiment(WITH.replace("tensorboard", "")), experiment(WITH)
    run_study(with_overrides(off, ["study.n_trials=2"]), directory, Watcher(), leaving_steps)
    assert not (directory.path / "tensorboard").exists()
    run_study(on, directory, Watcher(), leaving_steps)
    assert all_seen(directory.path).keys() >= {"0000", "0001", "0002"}
    shutil.rmtree(directory.path / "tensorboard")
    run_study(off, directory, Watcher(), leaving_steps)
    assert not (directory.path / "tensorboard").exists()
    run_study(on, directory, Watcher(), leaving_steps)
    assert all_seen(directory.path) == all_seen(undisturbed)


def test_what_is_whole_is_left_alone(undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(undisturbed, tmp_path / "run")
    monkeypatch.setattr(module, "_write", lambda *_: pytest.fail("written again"))
    run_study(experiment(WITH), RunDirectory(tmp_path / "run"), Watcher(), leaving_steps)
    assert all_seen(tmp_path / "run") == all_seen(undisturbed)


def test_an_epoch_that_is_told_again_is_there_once(tmp_path: Path) -> None:
    def again(given: Experiment, session: Session) -> TrialResult:
        for step in (1, 2, 2, 1, 2, 3):  # a worker that was lost begins again from its checkpoint
            metrics = {"train_loss": 1 / step}
            session.report(Progress(phase="search", epoch=step, step=step, steps=3, metrics=metrics), None)
        return finish(given, session)

    run_study(experiment(WITH), RunDirectory(tmp_path / "run"), Watcher(), again)
    shown = seen(tmp_path / "run" / "tensorboard" / "0000")
    assert shown["loss/train_loss"] == pytest.approx({1: 1.0, 2: 1 / 2, 3: 1 / 3})


def four_steps() -> list[Progress]:
    return [
        Progress(phase="search", epoch=step, step=step, steps=4, metrics={"train_loss": 1 / step})
        for step in range(1, 5)
    ]


def leave(folder: Path, steps: list[Progress]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "steps.jsonl").write_text("".join(f"{step.model_dump_json()}\n" for step in steps))


def test_a_resumed_trial_has_its_earlier_epochs_at_once(tmp_path: Path) -> None:
    directory, steps = RunDirectory(tmp_path), four_steps()
    module.TensorBoardLogs(directory).trial_progressed(0, steps[0], None)
    leave(directory.trial(0), steps[:3])
    module.TensorBoardLogs(directory).trial_progressed(0, steps[2], None)
    assert seen(tmp_path / "tensorboard" / "0000")["loss/train_loss"].keys() == {1, 2, 3}


def test_steps_that_come_at_the_end(tmp_path: Path) -> None:
    """Of a trial on another machine that a second driver continues: its first epochs are not here before it ends."""
    directory, steps = RunDirectory(tmp_path), four_steps()
    logs = module.TensorBoardLogs(directory)
    for step in steps[2:]:
        logs.trial_progressed(0, step, None)
    assert seen(tmp_path / "tensorboard" / "0000")["loss/train_loss"].keys() == {3, 4}
    leave(directory.trial(0), steps)
    logs.trial_finished(FAILED.model_copy(update={"number": 0}), [])
    assert seen(tmp_path / "tensorboard" / "0000")["loss/train_loss"].keys() == {1, 2, 3, 4}


def test_a_trial_that_another_driver_took_over_leaves_none(tmp_path: Path) -> None:
    logs = module.TensorBoardLogs(RunDirectory(tmp_path))
    logs.trial_progressed(3, Progress(phase="search", epoch=1, step=1, steps=2, metrics={"train_loss": 1.0}), None)
    assert (tmp_path / "tensorboard" / "0003").is_dir()
    logs.trial_dropped(3, "silent")
    assert not (tmp_path / "tensorboard" / "0003").exists()


def test_a_missing_package_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("precsearch.study.viewers.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="pip install tensorboardX"):
        run_study(experiment(WITH), RunDirectory(tmp_path / "run"), Watcher(), run_trial)
    assert not (tmp_path / "run").exists()
    check_study(experiment("viewers: [optuna-dashboard]"))


def test_a_place_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("a file")
    logs = module.TensorBoardLogs(RunDirectory(tmp_path))
    with pytest.raises(RunDirectoryError, match=r"cannot write .*tensorboard"):
        logs.trial_progressed(0, Progress(phase="search", epoch=1, step=1, steps=1, metrics={}), None)


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="needs tensorboard")
def test_tensorboard_reads_the_same(undisturbed: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for folder in sorted((undisturbed / "tensorboard").iterdir()):
        read = EventAccumulator(str(folder))
        read.Reload()
        ours = {tag: values for tag, values in seen(folder).items() if tag in read.Tags()["scalars"]}
        assert ours and ours == {tag: {each.step: each.value for each in read.Scalars(tag)} for tag in ours}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_driver_leaves_every_step_once(tmp_path: Path) -> None:
    home, run = make_home(tmp_path), tmp_path / "run"
    command = [*COMMAND, "--set", "study.viewers=[tensorboard]", "--output", "run"]
    moments: list[tuple[str, int]] = [("trials/0000", 2), ("trials/0001", 4)]
    for folder, epoch in moments:
        driver = Driver(home, *command)
        reached: Callable[[], bool] = after(run / folder, epoch)
        driver.until(reached)
        driver.kill()
    status, _, err = Driver(home, *command).end()
    assert status == 0, err
    for folder in sorted((run / "tensorboard").iterdir()):
        assert seen(folder)["loss/train_loss"].keys() == {1, 2, 3, 4, 5}


@pytest.mark.slow
def test_on_ray_they_are_those_of_a_study_in_process(tmp_path: Path, undisturbed: Path) -> None:
    document = with_overrides(experiment(WITH), ["executor.name=ray", "executor.max_concurrent=1"])
    run_study(document, RunDirectory(tmp_path / "run"), Watcher(), leaving_steps)
    assert all_seen(tmp_path / "run") == all_seen(undisturbed)
