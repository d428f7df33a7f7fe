"""What a command costs with everything it starts: processor time and memory of a whole tree of processes.

Linux only. Ray's servers and workers outlive their parents by a moment, and the kernel credits nobody with the time
of a child that nobody waited for; so every process of the tree is read again and again, and what it had used when it
was last seen is kept.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SET_CHILD_SUBREAPER = 36
_TICK = os.sysconf("SC_CLK_TCK")
_LOOK_SECONDS = 0.2
_LEAVE_SECONDS = 30.0  # for what outlives the command
_MEMORY_SECONDS = 1.0  # reading the page tables of a large process takes milliseconds of its own
_PARENT, _USER, _SYSTEM, _STARTED = 1, 11, 12, 19  # fields of /proc/PID/stat after the name

_Process = tuple[int, int]


@dataclass(frozen=True)
class Cost:
    """Of a command.

    Attributes:
        wall: seconds from start to end.
        cpu: user and system seconds of all processes, as last seen; up to 0.2 s of each may be missed.
        waited: user and system seconds of those processes that were waited for, as the kernel counts.
        pss: most bytes at a time, a page that several processes share counted once.
        rss: most bytes at a time, a page counted as often as it is shared.
        processes: how many were seen.
        names: name of processes -> `cpu` of those, the most first.
    """

    wall: float
    cpu: float
    waited: float
    pss: int
    rss: int
    processes: int
    names: dict[str, float]


def run(commands: Sequence[Sequence[str]], environment: Mapping[str, str], log: Path) -> Cost:
    """Run commands side by side to their end, and to the end of what they started; the cost is that of all.

    Raises:
        RuntimeError: with its last words, when it failed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0):  # orphans become ours: they stay in the tree
        raise OSError(ctypes.get_errno(), "prctl")
    tree, before, started = _Tree(), _waited(), time.monotonic()
    with log.open("wb") as file:
        children = [subprocess.Popen(each, env=dict(environment), stdout=file, stderr=file) for each in commands]
        while any([child.poll() is None for child in children]):  # noqa: C419 -- each has to be asked
            tree.look()
            time.sleep(_LOOK_SECONDS)
    wall = time.monotonic() - started
    while tree.look() and time.monotonic() - started < wall + _LEAVE_SECONDS:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        time.sleep(0.02)
    if any(child.returncode for child in children):
        raise RuntimeError(f"{' '.join(commands[0])}: {log.read_text(errors='replace')[-2000:]}")
    if tree.look():
        raise RuntimeError(f"{' '.join(commands[0])}: left processes behind: {sorted(tree.names.values())}")
    total = sum(tree.used.values())
    return Cost(wall, total, _waited() - before, tree.pss, tree.rss, len(tree.used), tree.by_name())


class _Tree:
    """The processes below this one, by pid and when they began: pids come again."""

    def __init__(self) -> None:
        self.used: dict[_Process, float] = {}
        self.names: dict[_Process, str] = {}
        self.pss = self.rss = 0
        self._weighed = 0.0

    def look(self) -> bool:
        """Read all; whether there are any."""
        found = []
        for process, name, seconds in _descendants():
            found.append(process)
            self.used[process] = seconds
            self.names[process] = name
        if time.monotonic() - self._weighed >= _MEMORY_SECONDS:
            self._weighed = time.monotonic()
            sizes = [_memory(pid) for pid, _ in found]
            self.pss = max(self.pss, sum(pss for pss, _ in sizes))
            self.rss = max(self.rss, sum(rss for _, rss in sizes))
        return bool(found)

    def by_name(self) -> dict[str, float]:
        """Seconds of the processes of each name, the most first."""
        totals: dict[str, float] = {}
        for process, seconds in self.used.items():
            totals[self.names[process]] = totals.get(self.names[process], 0.0) + seconds
        return dict(sorted(totals.items(), key=lambda item: -item[1]))


def _descendants() -> Iterator[tuple[_Process, str, float]]:
    found = list(_stats())
    stats = {pid: fields for pid, _, fields in found}
    names = {pid: name for pid, name, _ in found}
    below = {os.getpid()}
    while more := {pid for pid, fields in stats.items() if int(fields[_PARENT]) in below and pid not in below}:
        below |= more
    for pid in below & stats.keys() - {os.getpid()}:
        fields = stats[pid]
        yield (pid, int(fields[_STARTED])), names[pid], (int(fields[_USER]) + int(fields[_SYSTEM])) / _TICK


def _stats() -> Iterator[tuple[int, str, list[str]]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                head, _, fields = (folder / "stat").read_text().rpartition(")")
                yield int(folder.name), head.partition("(")[2], fields.split()


def _memory(pid: int) -> tuple[int, int]:
    """PSS and RSS in bytes; nothing of a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0, 0
    sizes = {name: int(value.split()[0]) * 1024 for name, _, value in (line.partition(":") for line in lines[1:])}
    return sizes.get("Pss", 0), sizes.get("Rss", 0)


def _waited() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
