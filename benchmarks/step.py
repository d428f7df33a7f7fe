"""What a search step costs beside plain float32 training: all in one process, interleaved, one thread.

    OMP_NUM_THREADS=1 python -m benchmarks.step --nets lenet5 --rounds 3
    OMP_NUM_THREADS=1 python -m benchmarks.step --json figures.json

A measurement is 16 steps, so that every one pays alike for ranges that are renewed every eighth step.
Process CPU time decides; wall time stands beside it. Ratios are taken within a round, against float32 in the
contiguous layout and in the contestant's own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from benchmarks.steps.contestants import CONTESTANTS, LAYOUTS, Step
from precsearch.models.lenet5 import lenet5
from precsearch.models.resnet20 import resnet20

BATCH, CLASSES, CYCLE = 128, 10, 16
PLAIN = "float32, contiguous"
NETS: dict[str, tuple[Callable[..., nn.Module], tuple[int, int, int]]] = {
    "lenet5": (lenet5, (1, 28, 28)),
    "resnet20": (resnet20, (3, 32, 32)),
}
Figures = dict[str, list[tuple[float, float]]]


def prepare(net: str, names: list[str]) -> dict[str, Step]:
    """The contestants that can be made, each past its first cycle."""
    torch.manual_seed(0)
    build, shape = NETS[net]
    model, inputs, labels = build(shape, CLASSES), torch.rand(BATCH, *shape), torch.randint(0, CLASSES, (BATCH,))
    steps = {}
    for name in names:
        try:
            steps[name] = CONTESTANTS[name](model, inputs, labels)
        except ImportError as missing:
            print(f"{net}: {name} is left out: {missing}", file=sys.stderr)
            continue
        for _ in range(CYCLE):
            steps[name]()
    return steps


def measure(steps: dict[str, Step], rounds: int) -> Figures:
    """For each contestant and round, seconds of CPU and of wall time a step."""
    found: Figures = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in range(CYCLE):
                step()
            found[name].append(((time.process_time() - cpu) / CYCLE, (time.perf_counter() - wall) / CYCLE))
    return found


def ratios(found: Figures, name: str, base: str, clock: int = 0) -> str:
    """Minimum and median of the rounds' ratios."""
    each = [own[clock] / of[clock] for own, of in zip(found[name], found[base], strict=True)]
    return f"{min(each):.2f} / {statistics.median(each):.2f}"


def table(net: str, found: Figures) -> str:
    """What was measured, as a page has it."""
    lines = [
        f"| {net} | ms CPU | to float32 | to float32, same layout | to float32, wall time |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, times in found.items():
        same = next((f"float32, {layout}" for layout in LAYOUTS if layout in name), PLAIN)
        cells = [ratios(found, name, PLAIN), ratios(found, name, same), ratios(found, name, PLAIN, clock=1)]
        lines.append(f"| {name} | {min(cpu for cpu, _ in times) * 1000:.1f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure what was asked for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="a file for every figure")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    bases = [f"float32, {layout}" for layout in LAYOUTS]
    names = bases + [name for name in asked.contestants if name not in bases]
    stored = {}
    for net in asked.nets:
        stored[net] = measure(prepare(net, names), asked.rounds)
        print(table(net, stored[net]), end="\n\n", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps({"torch": torch.__version__, "seconds": stored}, indent=2) + "\n")


if __name__ == "__main__":
    main()
