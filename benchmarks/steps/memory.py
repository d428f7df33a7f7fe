"""How much memory the steps of one contestant need, in a process of its own."""

from __future__ import annotations

import ctypes
import gc
import re
import subprocess
import sys
from pathlib import Path

from benchmarks.steps.training import Step

STEPS = 3


def measure_here(step: Step) -> int:
    """Bytes at the peak of `STEPS` steps, beyond what is there before the first; Linux only."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what building has freed would hide as much of what the steps take
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is that of imports and building
    before = _status("VmRSS")
    for _ in range(STEPS):
        step()
    return _status("VmHWM") - before


def measure_apart(net: str, name: str) -> int | None:
    """Bytes, from a new process; None where the contestant cannot be made."""
    command = [sys.executable, "-m", "benchmarks.step", "--alone", net, name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    last = done.stdout.split()[-1:]
    if done.returncode or not last or not last[0].isdigit():
        print(f"{net}: memory of {name} is left out: {(done.stderr.strip().splitlines() or ['?'])[-1]}", flush=True)
        return None
    return int(last[0])


def _status(field: str) -> int:
    (kilobytes,) = re.findall(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes) * 1024
