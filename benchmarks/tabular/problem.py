"""The problems: small nets of which every allocation can be trained."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

from precsearch.experiment import Experiment, load_experiment

HERE = Path(__file__).parent
TABLES = HERE.parent / "tables"

Bits = tuple[int, ...]


@dataclass(frozen=True)
class Problem:
    """A net, its candidates, and what bits cost.

    Attributes:
        name: of its files.
        title: in the page.
        elements: weights of each layer, which count alike in the mean; ones where layers count alike.
        bits: candidates of every layer, ascending.
        limits: budgets that searches are given, in mean bits.
        data: overrides that say where the data is.
    """

    name: str
    title: str
    elements: tuple[int, ...]
    bits: Bits
    limits: tuple[float, ...]
    data: tuple[str, ...] = ()

    def experiment(self, overrides: Sequence[str] = ()) -> Experiment:
        """The experiment, with more `--set` lines."""
        return load_experiment(HERE / f"{self.name}.yaml", [*self.data, *overrides])

    @cached_property
    def allocations(self) -> list[Bits]:
        """Every allocation."""
        return list(itertools.product(self.bits, repeat=len(self.elements)))

    def cost(self, bits: Bits) -> float:
        """Mean bits, exact to the last digit."""
        return float(Fraction(sum(b * n for b, n in zip(bits, self.elements, strict=True)), sum(self.elements)))

    def file(self, what: str) -> Path:
        """Where something of the problem is stored."""
        return TABLES / f"tabular-{self.name}{what}.csv"


DIGITS = Problem(
    "digits",
    "Digits: 5 layers, 1,024 allocations",
    (64 * 32, 32 * 24, 24 * 16, 16 * 24, 24 * 10),
    (1, 2, 3, 4),
    (1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5),
)
MNIST = Problem(
    "mnist",
    "MNIST, 1,000 images: 4 layers, 256 allocations",
    (1, 1, 1, 1),
    (1, 2, 3, 4),
    (1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5),
)
