"""Two nodes, and everything that can die there: no trial is lost, none doubled, and none starts over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ray_nodes import cluster, environment
from test_kill import everything

from precsearch.results import RunDirectory

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]

EPOCHS, BATCHES, TRIALS = 8, 6, 6
# A network that tells which process of which node did each training step, and takes its time.
MODEL = """
import os, time
from pathlib import Path
from torch import nn

LOG = Path({log!r})

def tell(word):
    with LOG.open("a") as file:
        file.write(f"{{os.getppid()}} {{os.getpid()}} {{word}}\\n")

class Told(nn.Sequential):
    def forward(self, x):
        if self.training:
            tell("step")
            time.sleep(0.05)
        return super().forward(x)

def net(classes):
    tell("begin")
    return Told(nn.Flatten(), nn.Linear(64, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.2), nn.Linear(12, classes))
"""
COMMAND = [
    "run", "--trials", str(TRIALS), "--set", "data.train_limit=192", "--set", "data.batch_size=32",
    "--set", "model={name: 'told:net'}", "--set", "study.baselines=[]", "--set", "study.sampler.name=random",
    "--set", "inner.epochs={warmup: 1, search: 4, finetune: 3}", "--output", "run",
]  # fmt: skip


class Home:
    """A folder with the model, the log of its steps, and drivers that run there."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.path, self.log, self.run = path, path / "steps.log", path / "run"
        self.log.touch()
        (path / "told.py").write_text(MODEL.format(log=str(self.log)))
        self.stderr = path / "stderr.txt"

    def driver(self, *arguments: str) -> subprocess.Popen[bytes]:
        with self.stderr.open("a") as stderr:
            return subprocess.Popen(
                [sys.executable, "-m", "precsearch", *COMMAND, *arguments],
                cwd=self.path, stdout=subprocess.DEVNULL, stderr=stderr,
                env=environment() | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent.parent)},
            )  # fmt: skip

    def steps(self) -> int:
        return self.log.read_text().count("step")

    def half_way(self, parent: int | None = None) -> list[int]:
        """Workers that are in the middle of a trial, 4 to 6 epochs of 8 since it began."""
        since: dict[int, int] = {}
        for line in self.log.read_text().splitlines():
            above, pid, word = line.split()
            if parent in {None, int(above)}:
                since[int(pid)] = since.get(int(pid), 0) + 1 if word == "step" else 0
        alive = [pid for pid in since if Path(f"/proc/{pid}").exists()]
        return [pid for pid in alive if 4 * BATCHES <= since[pid] < 6 * BATCHES]

    def until(self, driver: subprocess.Popen[bytes], reached: Callable[[], object]) -> None:
        deadline = time.monotonic() + 180
        while not reached():
            assert driver.poll() is None, self.stderr.read_text()
            assert time.monotonic() < deadline, self.stderr.read_text()
            time.sleep(0.02)


def test_worker_node_and_driver_are_killed(tmp_path: Path) -> None:
    through, home = Home(tmp_path / "through"), Home(tmp_path / "home")
    assert through.driver("--executor", "inprocess").wait(300) == 0, through.stderr.read_text()
    arguments = ["--set", f"executor.storage_path={tmp_path / 'store'}"]
    with cluster(tmp_path) as nodes:
        second = nodes.join()
        arguments += ["--address", nodes.address]
        driver = home.driver(*arguments)
        raylets = {node.raylet() for node in nodes.nodes}

        home.until(driver, home.half_way)
        os.kill(home.half_way()[0], signal.SIGKILL)
        home.until(driver, lambda: {int(line.split()[0]) for line in home.log.read_text().splitlines()} == raylets)

        home.until(driver, lambda: home.half_way(second.raylet()))
        second.kill_raylet()
        nodes.join()

        home.until(driver, home.half_way)
        driver.kill()
        driver.wait()
        unfinished = [path.name for path in (home.run / "trials").iterdir() if not (path / "result.json").exists()]
        assert unfinished

        again = home.driver(*arguments)
        assert again.wait(300) == 0, home.stderr.read_text()
    told = home.stderr.read_text()
    assert told.count("continued") >= 2 and "Traceback" not in told, told
    assert len({record.node for record in RunDirectory(home.run).records()}) >= 2
    left, right = everything(home.run), everything(through.run)
    assert left.pop("experiment.yaml") != right.pop("experiment.yaml")  # it says where trials ran
    assert left == right
    assert not list((tmp_path / "store").rglob("trials/*"))  # collected, and nothing left behind
    # Each of four interrupted trainings (the driver had two) did at most the epoch it was in, and the pass that
    # settles its bits, once more; had they started over, it would be half a training each.
    assert through.steps() <= home.steps() <= through.steps() + 4 * 2 * BATCHES


def test_the_head_node_is_lost(tmp_path: Path) -> None:
    """Ray's core would end the driver after a minute without a word."""
    through, home = Home(tmp_path / "through"), Home(tmp_path / "home")
    assert through.driver("--executor", "inprocess").wait(300) == 0, through.stderr.read_text()
    arguments = ["--set", f"executor.storage_path={tmp_path / 'store'}", "--address"]
    with cluster(tmp_path) as nodes:
        driver = home.driver(*arguments, nodes.address)
        home.until(driver, home.half_way)
    assert driver.wait(50) == 1
    assert "error: the head node of the cluster" in home.stderr.read_text().splitlines()[-1]
    with cluster(tmp_path) as nodes:
        assert home.driver(*arguments, nodes.address).wait(300) == 0, home.stderr.read_text()
    left, right = everything(home.run), everything(through.run)
    assert left.pop("experiment.yaml") != right.pop("experiment.yaml")
    assert left == right
    assert home.steps() <= through.steps() + 2 * BATCHES
