"""The real command line, killed in the middle of trials: run again, it leaves what an undisturbed run leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_trials import left_behind
from made_runs import listing

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")]

EPOCHS, BATCHES = 5, 6
# A network that tells of every training step which process did it, and takes its time.
MODEL = """
import os, time
from pathlib import Path
from torch import nn

class Told(nn.Sequential):
    def forward(self, x):
        if self.training:
            with Path(__file__).with_name("steps.log").open("a") as file:
                file.write(f"{os.getpid()}\\n")
            time.sleep(0.01)
        return super().forward(x)

def net(classes):
    return Told(nn.Flatten(), nn.Linear(64, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.2), nn.Linear(12, classes))
"""
COMMAND = [
    "run", "--trials", "3", "--set", "data.train_limit=192", "--set", "data.batch_size=32",
    "--set", "model={name: 'told:net'}", "--set", "study.baselines=[uniform]",
    "--set", "inner.epochs={warmup: 1, search: 2, finetune: 2}",
]  # fmt: skip


def _heed_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Driver:
    """A `precsearch` process in `home`, where the model is."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.home = home
        self.process = subprocess.Popen(
            [sys.executable, "-m", "precsearch", *arguments],
            cwd=home,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent.parent)},
            # a shell starts background jobs with Ctrl-C ignored, and children inherit that
            preexec_fn=_heed_ctrl_c,  # noqa: PLW1509 -- no threads hold anything that it needs
        )

    def until(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not reached():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> tuple[int, str, str]:
        self.process.send_signal(number)
        return self.end()

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=120)
        return self.process.returncode, out, err

    def steps(self) -> int:
        """Training steps that this process did."""
        return (self.home / "steps.log").read_text().split().count(str(self.process.pid))


@pytest.fixture(scope="module")
def through(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run."""
    home = make_home(tmp_path_factory.mktemp("through"))
    status, out, err = Driver(home, *COMMAND, "--output", "run", "--json").end()
    assert status == 0, err
    assert json.loads(out)["finished"]
    return home / "run"


def make_home(path: Path) -> Path:
    (path / "told.py").write_text(MODEL)
    return path


def after(folder: Path, epoch: int) -> Callable[[], bool]:
    """Whether a training has written down so many epochs, and has a checkpoint."""
    steps, checkpoint = folder / "steps.jsonl", folder / "checkpoint" / "state.pt"
    return lambda: checkpoint.is_file() and len(steps.read_text().splitlines()) >= epoch


def everything(run: Path) -> dict[str, Any]:
    found = left_behind(run)
    for pattern in ("*/*/allocation.json", "*/*/weights.safetensors", "*/*/steps.jsonl", "experiment.yaml"):
        found |= {str(path.relative_to(run)): path.read_bytes() for path in run.glob(pattern)}
    return found


def steps_left(run: Path, through: Path) -> int:
    """Training steps between the last checkpoint of `run` and the end of an undisturbed one."""
    (checkpoint,) = run.glob("*/*/checkpoint/state.pt")
    done = len(torch.load(checkpoint, weights_only=True)["history"])
    trainings = len(list(through.glob("*/*/result.json"))) - len(list(run.glob("*/*/result.json")))
    # a training passes over the images once an epoch, and once when its bits are settled, before the fine-tune
    return BATCHES * (trainings * (EPOCHS + 1) - done - (done > 3))


def test_killed_again_and_again(tmp_path: Path, through: Path) -> None:
    home = make_home(tmp_path)
    run = home / "run"
    moments = [("trials/0000", 2), ("trials/0001", 1), ("trials/0001", 4), ("trials/0002", 3)]
    beside = sorted(path.name for path in (through / "baselines").iterdir())[0]
    expected = None
    for folder, epoch in [*moments, (f"baselines/{beside}", 2)]:
        driver = Driver(home, *COMMAND, "--output", "run")
        driver.until(after(run / folder, epoch))
        assert driver.kill()[0] == -signal.SIGKILL
        assert not (run / folder / "result.json").exists()
        expected = steps_left(run, through)
    last = Driver(home, *COMMAND, "--output", "run")
    status, _, err = last.end()
    assert status == 0 and f"uniform beside trial {int(beside[:4])}: continued" in err, err
    assert last.steps() == expected
    assert everything(run) == everything(through)


def test_interrupted_and_resumed(tmp_path: Path, through: Path) -> None:
    home = make_home(tmp_path)
    run = home / "run"
    driver = Driver(home, *COMMAND, "--output", "run", "--json")
    driver.until(after(run / "trials" / "0001", 2))
    driver.process.send_signal(signal.SIGSTOP)  # starting another takes longer than a training
    second = Driver(home, *COMMAND, "--output", "run").end()
    assert second[0] == 1 and f"in use: another driver (process {driver.process.pid})" in second[2]
    driver.process.send_signal(signal.SIGCONT)
    status, out, err = driver.kill(signal.SIGINT)
    assert status == 130 and "Traceback" not in err, err
    assert err.splitlines()[-1].endswith("continue with `precsearch resume run`")
    assert json.loads(out)["exit_status"] == 130
    before = listing(run)
    status, out, err = Driver(home, "list", "run", "--json").end()
    told = json.loads(out)
    assert (status, err) == (0, "") and not told["finished"] and told["counts"]["complete"] == 1
    assert listing(run) == before
    expected = steps_left(run, through)
    resumed = Driver(home, "resume", "run", "--json")
    status, out, err = resumed.end()
    assert status == 0 and json.loads(out)["finished"], err
    assert resumed.steps() == expected
    assert everything(run) == everything(through)
    again = Driver(home, "resume", "run", "--json")
    status, out, err = again.end()
    assert status == 0 and "finished already" in err and again.steps() == 0
    assert json.loads(out)["front"] == json.loads(Driver(home, "list", "run", "--json").end()[1])["front"]


def test_ctrl_c_before_anything_was_done(tmp_path: Path) -> None:
    """While libraries load: no traceback, no directory, no advice to resume what is not there."""
    driver = Driver(make_home(tmp_path), *COMMAND, "--output", "run")
    maps = Path(f"/proc/{driver.process.pid}/maps")
    if not maps.is_file():
        pytest.skip("needs /proc")
    driver.until(lambda: "libtorch" in maps.read_text())
    status, out, err = driver.kill(signal.SIGINT)
    assert (status, out) == (130, "") and err.strip() == "interrupted: nothing was begun"
    assert not (tmp_path / "run").exists()
