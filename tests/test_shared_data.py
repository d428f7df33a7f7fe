"""One copy of the data for all processes of a machine: the same data, loaded once, and nothing left behind."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import precsearch.data as data_package
from precsearch.data import load_data
from precsearch.data import shared as shared_module
from precsearch.experiment import DataSettings

WORKER = """
    import sys
    from pathlib import Path
    from precsearch.data import load_data, share_data, shared
    from precsearch.experiment import DataSettings
    share_data(sys.argv[1])
    data = load_data(DataSettings(name="counted:make", note=sys.argv[2]))
    maps = Path("/proc/self/maps")
    print(data.checksum, data.classes, not maps.exists() or "safetensors" in maps.read_text(), flush=True)
    sys.stdin.read()
"""
COUNTED = """
    import torch
    def make(note):
        with open(note, "a") as file:
            file.write("loaded\\n")
        torch.rand(3)
        x, y = torch.rand(40, 6), torch.arange(40) % 4
        return (x, y), (x[:8], y[:8]), (x[8:16], y[8:16])
"""


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def worker(started: list[subprocess.Popen[str]], home: Path, name: str) -> subprocess.Popen[str]:
    (home / "counted.py").write_text(textwrap.dedent(COUNTED))
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WORKER), name, str(home / "note")],
        cwd=home, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={"TMPDIR": str(home), "PYTHONPATH": str(Path(__file__).parent.parent), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    started.append(process)
    return process


def told(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


def test_workers_of_one_session_load_once_and_map_the_same_file(
    tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    workers = [worker(started, tmp_path, "one") for _ in range(3)]
    answers = [told(each) for each in workers]
    assert answers[0][1:] == ["4", "True"] and answers.count(answers[0]) == 3
    assert (tmp_path / "note").read_text() == "loaded\n"
    end(workers[0])
    other = worker(started, tmp_path, "two")  # of another driver: loads for itself, and leaves the first one's alone
    assert told(other) == answers[0]
    assert (tmp_path / "note").read_text() == "loaded\nloaded\n"
    assert folders(tmp_path) == ["one", "two"]
    for each in [*workers[1:], other]:
        end(each)
    third = worker(started, tmp_path, "three")
    assert told(third) == answers[0]
    assert folders(tmp_path) == ["three"]
    end(third)
    (tmp_path / "note").unlink()
    assert told(worker(started, tmp_path, "three")) == answers[0]  # as after a look
    assert not (tmp_path / "note").exists()


def folders(home: Path) -> list[str]:
    return sorted(path.name.rpartition("-")[2] for path in home.glob("precsearch-data-*"))


def test_shared_data_is_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = DataSettings(train_limit=100)
    plain = load_data(settings)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(shared_module, "_held", [])
    data_package._load.cache_clear()
    data_package.share_data("here")
    try:
        mapped = load_data(settings)
    finally:
        data_package._load.cache_clear()
    assert (mapped.name, mapped.classes, mapped.checksum) == (plain.name, plain.classes, plain.checksum)
    for name in ("train", "validation", "test"):
        one, other = getattr(plain, name), getattr(mapped, name)
        assert torch.equal(one.inputs, other.inputs) and torch.equal(one.targets, other.targets)
    assert list(tmp_path.rglob("*.safetensors"))
    shared_module._held[0][1].close()
