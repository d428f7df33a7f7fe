"""From which size on compiled kernels pay: rounding a tensor, and pulling its gradient back, against plain operations.

    OMP_NUM_THREADS=1 python -m benchmarks.kernels            # prints the table
    OMP_NUM_THREADS=1 python -m benchmarks.kernels --write    # writes it into docs/performance.md too

Microseconds of CPU time a call, the least of many: sizes are compared within one process, where each takes its turn.
The thresholds in `precsearch.quantization.kernels` are read off it.
"""

from __future__ import annotations

import argparse
import datetime
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor

from benchmarks.steps.tables import renew
from precsearch.quantization import kernels
from precsearch.quantization.grids import EVEN, UNSIGNED, Grid

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
SIZES = range(14, 23)
GRIDS = {"signed": EVEN, "unsigned": UNSIGNED}
TRIES, CALLS = 30, 4


def least(call: Callable[[], object]) -> float:
    """Microseconds of CPU time."""
    found = []
    for _ in range(TRIES):
        start = time.process_time_ns()
        for _ in range(CALLS):
            call()
        found.append((time.process_time_ns() - start) / CALLS / 1000)
    return min(found)


def row(name: str, grid: Grid, power: int) -> str:
    """One size: rounding, and the way back with the rounded values at hand, eager and compiled."""
    x, gradient = 0.5 * torch.randn(1, 2**power), torch.randn(1, 2**power)
    ranges = kernels.Ranges(torch.tensor([0.1]), torch.tensor([0.7]), grid)
    cells: dict[str, list[float]] = {"rounding": [], "back": []}
    for how in ("eager", "compiled"):
        q: Tensor = kernels.quantize(x, ranges, how)
        kernels.pull_back(gradient, x, q, ranges, how)  # what is first is not counted
        cells["rounding"].append(least(partial(kernels.quantize, x, ranges, how)))
        cells["back"].append(least(partial(kernels.pull_back, gradient, x, q, ranges, how)))
    told = [f"{eager:.0f} | {compiled:.0f} | {compiled / eager:.2f}" for eager, compiled in cells.values()]
    return f"| {name} | 2^{power} | {' | '.join(told)} |"


def main() -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the table into the page as well")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        "| grid | values | rounding, eager, \u00b5s | compiled | ratio | back, eager, \u00b5s | compiled | ratio |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    with mock.patch.multiple(kernels, _WORTH_ROUNDING=1, _WORTH_PULLING=1):
        lines += [row(name, grid, power) for name, grid in GRIDS.items() for power in SIZES]
    lines += ["", f"One thread, torch {torch.__version__}, {datetime.date.today()}."]
    print("\n".join(lines))
    if asked.write:
        renew(PAGE, "kernels", "\n".join(lines))


if __name__ == "__main__":
    main()
