"""A real Ray cluster on the loopback interface: nodes that a test starts, kills and looks into."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

TOKEN = "5f" * 32


def environment() -> dict[str, str]:
    """For every process of the cluster and its drivers: one token, whatever Ray's default and this user's file."""
    return {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "RAY_USAGE_STATS_ENABLED": "0"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def children(pid: int) -> list[int]:
    """The processes started by `pid`, and by those."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            fields = stat.read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, queue = [], [pid]
    while queue:
        queue = [child for parent in queue for child in parents.get(parent, [])]
        found += queue
    return found


class Node:
    """One `ray start --block`; stopped as a whole, and nobody else's Ray with it."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.log = folder / f"node-{len(list(folder.glob('node-*')))}.log"
        command = [Path(sys.executable).with_name("ray"), "start", "--block", "--node-ip-address=127.0.0.1"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--num-cpus=1", "--object-store-memory=80000000", *arguments],
                env=environment(), stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        deadline = time.monotonic() + 90
        while "will now block" not in self.log.read_text():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)
        self.tree = children(self.process.pid)

    def raylet(self) -> int:
        (pid,) = (pid for pid in children(self.process.pid) if _name(pid) == "raylet")
        return pid

    def kill_raylet(self) -> None:
        """What a machine that vanishes looks like: its raylet, and so its workers, are gone."""
        os.kill(self.raylet(), signal.SIGKILL)

    def stop(self) -> None:
        for pid in {self.process.pid, *self.tree, *children(self.process.pid)}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(30)


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


class Cluster:
    """A head node with one processor; `join` adds more."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.port, self.client_port = free_port(), free_port()
        self.temporary = tempfile.mkdtemp(prefix="pr-", dir="/tmp")  # Ray's socket paths have to be short
        self.nodes = [
            Node(
                folder, "--head", f"--port={self.port}", f"--ray-client-server-port={self.client_port}",
                "--include-dashboard=false", f"--temp-dir={self.temporary}", "--min-worker-port=0",
                "--max-worker-port=0", *arguments,
            )
        ]  # fmt: skip

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def join(self, *arguments: str) -> Node:
        node = Node(self.folder, f"--address={self.address}", "--min-worker-port=0", "--max-worker-port=0", *arguments)
        self.nodes.append(node)
        return node

    def client_logs(self) -> str:
        """The ends of what Ray's servers for drivers from afar said."""
        logs = sorted(Path(self.temporary).glob("session_2*/logs/ray_client_server*"))
        return "\n".join(f"{log.name}:\n{log.read_text(errors='replace')[-3000:]}" for log in logs)

    def stop(self) -> None:
        for node in reversed(self.nodes):
            node.stop()
        shutil.rmtree(self.temporary, ignore_errors=True)


@contextlib.contextmanager
def cluster(folder: Path, *arguments: str) -> Iterator[Cluster]:
    made = Cluster(folder, *arguments)
    try:
        yield made
    except BaseException as error:
        error.add_note(made.client_logs())
        raise
    finally:
        made.stop()
