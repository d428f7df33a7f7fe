"""Trains what the stored tables lack, then writes docs/tabular.md.

    python -m benchmarks.tabular --data DIR   # DIR has MNIST; without it only digits are trained
    python -m benchmarks.tabular --report     # only rewrites the page from what is stored

It goes on where it was interrupted. Everything takes about half an hour of one CPU core.
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.tabular.problem import DIGITS, MNIST, Problem
from benchmarks.tabular.report import write_page
from benchmarks.tabular.rivals import Rivals
from benchmarks.tabular.searches import Searches
from benchmarks.tabular.table import Table


def fill(problem: Problem) -> None:
    """Train and play everything that is not stored."""
    table = Table(problem)
    table.fill()
    Searches(problem).fill()
    Rivals(table).fill()


def main() -> None:
    """Fill the tables, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", action="store_true", help="only rewrite the page from what is stored")
    parser.add_argument("--data", type=Path, help="folder with MNIST")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=FutureWarning)
    if not given.report:
        fill(DIGITS)
        if given.data is not None:
            fill(replace(MNIST, data=(f"data.root={given.data}",)))
    write_page([problem for problem in (DIGITS, MNIST) if problem.file("-tpe").is_file()])


if __name__ == "__main__":
    main()
