"""What a search step costs beside plain float32 training: all in one process, interleaved, one thread.

    OMP_NUM_THREADS=1 python -m benchmarks.step --nets lenet5 --rounds 3
    OMP_NUM_THREADS=1 python -m benchmarks.step --json benchmarks/tables/step.json            # every net
    OMP_NUM_THREADS=1 python -m benchmarks.step --memory --json benchmarks/tables/step.json   # adds peak memory
    OMP_NUM_THREADS=1 python -m benchmarks.step --tensors --json benchmarks/tables/step.json  # of tensors alone
    python -m benchmarks.step --report --json benchmarks/tables/step.json                     # the page's tables
    OMP_NUM_THREADS=1 python -m benchmarks.step --whole --nets lenet317 resnet20 --json benchmarks/tables/whole.json

A round of a contestant is 8 steps, so that every one pays alike for ranges that are renewed every eighth step.
Process CPU time decides. Ratios are taken within a round, against float32 in the contiguous layout and in the
contestant's own. Rival tools are measured where they are installed: see benchmarks/rivals.txt.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.steps import memory, tables
from benchmarks.steps.contestants import CONTESTANTS, FEW, LAYOUTS, PLAIN, WHOLE
from benchmarks.steps.networks import CLASSES, NETWORKS
from benchmarks.steps.rivals import RIVALS
from benchmarks.steps.training import Step

CYCLE = 8
FIRST = 3  # steps of a rival that do not count: they have no cycle
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
ALL = CONTESTANTS | WHOLE
BASES = [f"float32, {layout}" for layout in LAYOUTS]
IN_MEMORY = ["lenet317", "resnet20"]


def ready(net: str) -> tuple[nn.Module, Tensor, Tensor]:
    """A network and a batch for it."""
    torch.manual_seed(0)
    network = NETWORKS[net]
    inputs, labels = torch.rand(network.batch, *network.shape), torch.randint(0, CLASSES, (network.batch,))
    return network.build(), inputs, labels


def contestants_of(net: str) -> list[str]:
    """All of them on the small nets; on the larger ones those that decide."""
    if NETWORKS[net].rivals:
        return list(CONTESTANTS)
    return [name for name in CONTESTANTS if name not in RIVALS] if net == "lenet5" else FEW


def usual(net: str, in_memory: bool, whole: bool) -> list[str]:
    """Who takes part where nobody is named."""
    if in_memory:
        return FEW + list(RIVALS)
    return ["search, eager, channels_last", *WHOLE] if whole else contestants_of(net)


def prepare(net: str, names: list[str]) -> tuple[dict[str, Step], dict[str, str]]:
    """The contestants that can be made, each past its first cycle; why the others cannot."""
    model, inputs, labels = ready(net)
    steps, left_out = {}, {}
    for name in names:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                step = ALL[name](model, inputs, labels)
                for _ in range(FIRST if name in RIVALS else CYCLE + 1):  # a first look, then a whole cycle
                    step()
            steps[name] = step
        except Exception as problem:  # a tool that fails must not take the others' figures along
            if name in BASES:
                raise
            left_out[name] = f"{type(problem).__name__}: {str(problem).strip().splitlines()[0]}"
            print(f"{net}: {name} is left out: {left_out[name]}", flush=True)
    return steps, left_out


def measure(steps: dict[str, Step], rounds: int) -> dict[str, list[list[float]]]:
    """For each contestant and round, seconds of CPU and of wall time a step."""
    found: dict[str, list[list[float]]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in range(CYCLE):
                step()
            found[name].append([(time.process_time() - cpu) / CYCLE, (time.perf_counter() - wall) / CYCLE])
    return found


def timed(net: str, names: list[str], rounds: int | None) -> dict[str, Any]:
    """Everything that is stored of a network's times."""
    steps, left_out = prepare(net, names)
    machine = f"{torch.backends.cpu.get_cpu_capability()}, one thread, load average {os.getloadavg()[0]:.1f}"
    return {
        "where": f"torch {torch.__version__}, {machine}, {datetime.date.today()}",
        "batch": NETWORKS[net].batch,
        "parameters": sum(parameter.numel() for parameter in ready(net)[0].parameters()),
        "seconds": measure(steps, rounds or NETWORKS[net].rounds),
        "left_out": left_out,
    }


def weighed(kind: str, net: str, names: list[str]) -> dict[str, int]:
    """Peak memory of each contestant, in bytes, of the process or of its tensors."""
    found = {name: memory.measure_apart(kind, net, name) for name in names}
    return {name: size for name, size in found.items() if size is not None}


def arguments() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", choices=NETWORKS)
    parser.add_argument("--contestants", nargs="+", choices=ALL, metavar="NAME", help=", ".join(ALL))
    parser.add_argument("--whole", action="store_true", help="those whose whole forward is compiled, beside eager")
    parser.add_argument("--rounds", type=int, help="instead of each net's own number")
    parser.add_argument("--memory", action="store_true", help="peak memory instead of time, a process each")
    parser.add_argument("--tensors", action="store_true", help="the same of tensors alone, as torch allocates them")
    parser.add_argument("--json", type=Path, help="a file for every figure; what it has of other nets is kept")
    parser.add_argument("--report", action="store_true", help="measure nothing; write the file's tables into the page")
    parser.add_argument(
        "--alone", nargs=3, metavar=("KIND", "NET", "NAME"), help="for these two: bytes, in this process"
    )
    asked = parser.parse_args()
    if asked.report and not asked.json:
        parser.error("--report needs --json")
    return asked


def main() -> None:
    """Measure what was asked for, print it and keep it."""
    asked = arguments()
    torch.set_num_threads(1)
    if asked.alone:
        kind, net, name = asked.alone
        print(memory.MEASURES[kind](ALL[name](*ready(net))))
        return
    stored = json.loads(asked.json.read_text()) if asked.json and asked.json.exists() else {}
    if asked.report:
        tables.renew(PAGE, asked.json.stem, tables.page(stored))
        return
    kind = "memory" if asked.memory else "tensors" if asked.tensors else None
    for net in asked.nets or (IN_MEMORY if kind else NETWORKS):
        chosen = asked.contestants or usual(net, kind is not None, asked.whole)
        if kind:
            found = weighed(kind, net, [PLAIN, *(name for name in chosen if name != PLAIN)])
            stored.setdefault(net, {"seconds": {}})[kind] = found
            print(net, {name: round(size / found[PLAIN], 2) for name, size in found.items()}, flush=True)
        else:
            kept = {kind: stored.get(net, {}).get(kind, {}) for kind in memory.MEASURES}
            names = BASES + [name for name in chosen if name not in BASES]
            stored[net] = {**timed(net, names, asked.rounds), **kept}
            print(tables.net_table(net, stored[net]), end="\n\n", flush=True)
        if asked.json:
            asked.json.parent.mkdir(exist_ok=True)
            asked.json.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
