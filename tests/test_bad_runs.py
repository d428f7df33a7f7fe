"""Bad run directories, bad disks and trainings that fail, end to end through the command line."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bad_inputs import SPACE
from made_runs import listing, make_run
from test_bad_input import refused

from precsearch.cli import main
from precsearch.results import RunDirectory


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.yaml").write_text(SPACE)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("mine")
    return make_run(tmp_path / "made")


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ("export made --trial 9", 2, ["no trial 9", "complete: 0, 1, 2"]),
        ("export made --trial 3", 2, ["trial 3 is pruned", "median pruner"]),
        ("export made --trial -1", 2, ["--trial", "'-1'"]),
        ("export made --trial x", 2, ["--trial", "'x'"]),
        ("export made --budget nan", 2, ["--budget", "'nan'"]),
        ("export made --budget 1", 2, ["at most 1"]),
        ("export made --trial 1 --knee", 2, ["at most one of"]),
        ("export made --format onxx", 2, ["'onxx'", "json"]),
        ("export made -o folder", 1, ["folder", "directory"]),
        ("export made -o file/best.json", 1, ["cannot write file/best.json: file is a file"]),
        ("export folder", 1, ["folder is not a run directory"]),
        ("export nowhere --knee", 1, ["nowhere is not a run directory"]),
        ("export", 2, ["RUN_DIR"]),
        ("list nowhere", 1, ["nowhere is not a run directory"]),
        ("list file", 1, ["file is not a run directory"]),
        ("resume nowhere", 1, ["nowhere is not a run directory"]),
        ("resume folder", 1, ["folder is not a run directory"]),
        ("resume made --trials 0", 2, ["--trials", "'0'"]),
        ("init file", 2, ["file exists"]),
        ("init file/space.yaml", 1, ["cannot write file/space.yaml: file is a file"]),
        ("run space.yaml --output made", 1, ["made holds the experiment 'made'", "not 'tiny'", "--output OTHER"]),
        ("run space.yaml --output folder", 1, ["'thesis.tex'", "--output OTHER"]),
        ("run space.yaml --output file", 1, ["file is a file"]),
        ("run space.yaml --output file/run", 1, ["cannot write in file/run", "Not a directory"]),
        ("run nowhere.yaml", 2, ["nowhere.yaml: there is no such file"]),
        ("run spaec.yaml", 2, ["spaec.yaml", "did you mean 'space.yaml'?"]),
        ("run folder", 2, ["folder: a YAML file must be given, but this is a folder"]),
        ("serach space.yaml", 2, ["serach"]),
        ("--nope", 2, ["--nope"]),
    ],
)
def test_refused(
    capsys: pytest.CaptureFixture[str], made: RunDirectory, arguments: str, status: int, says: list[str]
) -> None:
    if arguments.startswith("init"):  # prints no JSON, and its flag is one more mistake
        before = listing(made.path.parent)
        with pytest.raises(SystemExit) as ended:
            main(arguments.split())
        found, message = ended.value.code, capsys.readouterr().err
        assert listing(made.path.parent) == before
    else:
        found, message = refused(capsys, made.path.parent, *arguments.split())
    assert found == status
    for word in says:
        assert word in message


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    (folder / "space.yaml").write_text(SPACE.replace("n_trials: 2", "n_trials: 3"))
    with pytest.raises(SystemExit) as ended:
        main(["run", str(folder / "space.yaml"), "--output", str(folder / "run")])
    assert ended.value.code == 0
    return folder / "run"


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda whole: whole[:30],
    "empty": lambda _: b"",
    "not UTF-8": lambda _: b"\xff\xfe{",
    "a list": lambda _: b"[1, 2]",
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("list", "trials/0001/result.json"),
        ("list", "trials/0001/allocation.json"),
        ("list", "pareto.json"),
        ("list", "experiment.yaml"),
        ("export --trial 1", "trials/0001/result.json"),
        ("export --trial 1", "trials/0001/allocation.json"),
        ("export", "best.json"),
        ("export --knee", "experiment.yaml"),
        ("resume", "trials/0001/result.json"),
        ("resume", "experiment.yaml"),
        ("resume", "study.journal"),
    ],
)
def test_a_damaged_file_is_named(
    capsys: pytest.CaptureFixture[str], trained: Path, tmp_path: Path, command: str, file: str, damage: str
) -> None:
    if file in {"experiment.yaml", "study.journal"} and damage == "cut short":
        pytest.skip("what is left is whole" if file == "experiment.yaml" else "as a kill leaves it")
    copied = tmp_path / "run"
    shutil.copytree(trained, copied, ignore=shutil.ignore_patterns(".driver.lock"))
    if file.endswith("allocation.json"):  # one of the front is read by `list`
        for path in copied.glob("trials/*/allocation.json"):
            path.write_bytes(DAMAGE[damage](path.read_bytes()))
    (copied / file).write_bytes(DAMAGE[damage]((copied / file).read_bytes()) + b"\n" * (file == "study.journal"))
    name, *flags = command.split()
    before = {key: value for key, value in listing(copied).items() if key != ".driver.lock"}
    with pytest.raises(SystemExit) as ended:
        main([name, str(copied), *flags])
    out, err = capsys.readouterr()
    assert err.startswith("error: ") and err.count("\n") == 1 and "this is a bug" not in err and out == ""
    assert ended.value.code in {1, 2} and str(copied) in err
    assert file.rpartition("/")[2] in err
    assert {key: value for key, value in listing(copied).items() if key != ".driver.lock"} == before


def test_a_journal_that_is_gone(capsys: pytest.CaptureFixture[str], trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "study.journal").unlink()
    results = sorted((tmp_path / "run" / "trials").rglob("*"))
    before = [path.read_bytes() for path in results if path.is_file()]
    with pytest.raises(SystemExit) as ended:
        main(["resume", str(tmp_path / "run")])
    assert ended.value.code == 1
    assert "lacks trial 1, which has a result; restore the journal" in capsys.readouterr().err
    assert [path.read_bytes() for path in results if path.is_file()] == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_without_permission(capsys: pytest.CaptureFixture[str], made: RunDirectory) -> None:
    folder = made.path.parent / "folder"
    (made.path.parent / "space.yaml").chmod(0)
    folder.chmod(0o500)
    assert "Permission denied" in refused(capsys, made.path.parent, "run", "space.yaml")[1]
    assert "Permission denied" in refused(capsys, made.path.parent, "export", "made", "-o", "folder/x.json")[1]
    folder.chmod(0o700)


def test_a_file_that_may_not_be_read(
    capsys: pytest.CaptureFixture[str], made: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.read_bytes", denied)
        with pytest.raises(SystemExit) as ended:
            main(["run", "space.yaml"])
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "error: space.yaml: cannot be read: Permission denied; check its permissions\n")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("command", ["export made -o best.json", "init new.yaml", "run space.yaml --output out"])
def test_a_disk_that_takes_nothing(
    capsys: pytest.CaptureFixture[str],
    made: RunDirectory,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    number: int,
) -> None:
    def full(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("precsearch.files.os.fsync", full)
    with pytest.raises(SystemExit) as ended:
        main(command.split())
    out, err = capsys.readouterr()
    assert ended.value.code == 1 and out == ""
    assert err.startswith("error: cannot write ") and os.strerror(number) in err and err.count("\n") == 1
    left = {str(path.relative_to(made.path.parent)) for path in made.path.parent.rglob("*")}
    assert not {name for name in left if name.endswith((".tmp", "best.json", "new.yaml")) and "made" not in name}
    assert {name for name in left if name.startswith("out")} <= {"out", "out/.driver.lock"}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any], str]:
    with pytest.raises(SystemExit) as ended:
        main(["run", "space.yaml", "--json", *arguments])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), json.loads(out), err


@pytest.mark.parametrize(
    ("space", "status", "failed"),
    [
        ("inner.optimizer.lr: {type: categorical, choices: [1e-2, 1e30]}", 3, 1),
        ("inner.optimizer.lr: {type: categorical, choices: [1e30, 2e30]}", 1, 2),
        ('inner.bits: {type: categorical, choices: ["2,8", "4,8"]}', 3, 1),
    ],
)
def test_trials_that_fail(
    capsys: pytest.CaptureFixture[str], made: RunDirectory, space: str, status: int, failed: int
) -> None:
    text = SPACE.replace("{n_trials: 2", "{n_trials: 2, sampler: {name: grid}").replace("search: 1", "search: 12")
    Path("space.yaml").write_text(f"{text}space: {{{space}}}\n")
    found, told, err = run(capsys)
    assert found == status == told["exit_status"] and told["counts"]["failed"] == failed
    reasons = [trial["reason"] for trial in told["trials"] if trial["state"] == "failed"]
    for reason in reasons:
        assert "became nan" in reason or "became inf" in reason or "costs 4" in reason
        assert reason in err.replace("\n", " ") and "Traceback" not in err
    again, _, err = run(capsys)
    assert again == status and "finished already" in err
