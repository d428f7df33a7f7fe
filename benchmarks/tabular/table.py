"""The table of a problem: the validation loss of every allocation, trained with every seed."""

from __future__ import annotations

import csv

import numpy as np
import numpy.typing as npt
from rich.progress import track

from benchmarks.tabular.problem import Bits, Problem
from benchmarks.tabular.training import StackedTraining
from precsearch.files import write_text

JUDGES = tuple(range(6))
"""Seeds whose mean is an allocation's value."""
SHOWN = (20, 21, 22, 23, 24)
"""Seeds that the searches have; what a rival sees of an allocation is its loss with one of them."""

Floats = npt.NDArray[np.float64]


class Table:
    """Losses of every allocation.

    Attributes:
        allocations: all, in order.
        columns: seed -> losses, [A].
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.allocations = problem.allocations
        self.place = {bits: number for number, bits in enumerate(self.allocations)}
        self.cost: Floats = np.array([problem.cost(bits) for bits in self.allocations])
        self.columns: dict[int, Floats] = {}
        if problem.file("").is_file():
            with problem.file("").open(newline="") as file:
                head, *rows = csv.reader(file)
            if [row[0] for row in rows] != [digits(bits) for bits in self.allocations]:
                raise SystemExit(f"{problem.file('')} has other allocations; remove it")
            self.columns = {int(seed): np.array([float(row[i]) for row in rows]) for i, seed in enumerate(head) if i}

    def fill(self) -> None:
        """Train what is missing, a seed at a time."""
        missing = [seed for seed in (*JUDGES, *SHOWN) if seed not in self.columns]
        for seed in track(missing, description=f"{self.problem.name}: {len(missing)} seeds"):
            training = StackedTraining(self.problem.experiment(), seed)
            self.columns[seed] = np.array(list(training.losses(self.allocations)))
            self.store()

    def store(self) -> None:
        """Write the file."""
        seeds = sorted(self.columns)
        lines = ["bits," + ",".join(map(str, seeds))]
        for number, bits in enumerate(self.allocations):
            losses = (f"{self.columns[seed][number]:.4f}" for seed in seeds)
            lines.append(",".join([digits(bits), *losses]))
        write_text(self.problem.file(""), "\n".join(lines) + "\n")

    def losses(self, seeds: tuple[int, ...] = JUDGES) -> Floats:
        """[seeds, A] losses."""
        return np.stack([self.columns[seed] for seed in seeds])


def digits(bits: Bits) -> str:
    """`1234` for (1, 2, 3, 4)."""
    return "".join(map(str, bits))


def from_digits(text: str) -> Bits:
    """(1, 2, 3, 4) of `1234`."""
    return tuple(map(int, text))
