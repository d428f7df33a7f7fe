"""How much memory the steps of one contestant need, in a process of its own: of the process, and of tensors alone."""

from __future__ import annotations

import ctypes
import gc
import re
import subprocess
import sys
from itertools import accumulate
from pathlib import Path
from typing import Final

from torch.profiler import ProfilerActivity, profile

from benchmarks.steps.training import Step

STEPS = 3
LOOKED = 9  # steps before tensors are counted: a first look at the data, then a whole cycle


def measure_here(step: Step) -> int:
    """Bytes at the peak of `STEPS` steps, beyond what is there before the first; Linux only."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what building has freed would hide as much of what the steps take
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is that of imports and building
    before = _status("VmRSS")
    for _ in range(STEPS):
        step()
    return _status("VmHWM") - before


def count_here(step: Step) -> int:
    """Bytes of the tensors at the peak of `STEPS` steps, beyond those before, as torch's allocator tells them.

    What a process keeps of freed memory, and what libraries load, is not in it, nor is what is allocated elsewhere.
    That the gradients of the step before are freed is not told, so one set of them is counted twice, for everybody.
    """
    for _ in range(LOOKED):
        step()
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        for _ in range(STEPS):
            step()
    changes = [event.nbytes() for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    if not changes:
        raise RuntimeError("torch's profiler told of no memory, but every step allocates some")
    return max(accumulate(changes))


MEASURES: Final = {"memory": measure_here, "tensors": count_here}


def measure_apart(kind: str, net: str, name: str) -> int | None:
    """Bytes of a kind of `MEASURES`, from a new process; None where the contestant cannot be made."""
    command = [sys.executable, "-m", "benchmarks.step", "--alone", kind, net, name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    last = done.stdout.split()[-1:]
    if done.returncode or not last or not last[0].isdigit():
        print(f"{net}: {kind} of {name} is left out: {(done.stderr.strip().splitlines() or ['?'])[-1]}", flush=True)
        return None
    return int(last[0])


def _status(field: str) -> int:
    (kilobytes,) = re.findall(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes) * 1024
