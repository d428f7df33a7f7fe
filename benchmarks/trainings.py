"""What several benchmarks do: train a search on its own, tune for some steps, keep a table, and tell a difference."""

from __future__ import annotations

import csv
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from precsearch.data import Batches, DataSet, training_batches
from precsearch.experiment import Experiment
from precsearch.searchable import SearchableModel
from precsearch.training.building import make_searchable
from precsearch.training.stages import SearchStage

Row = dict[str, str]


@dataclass(frozen=True)
class Searched:
    """A search that has ended.

    Attributes:
        searchable: not yet frozen.
        batches: what it was trained with.
        seconds: of CPU time that it took.
    """

    searchable: SearchableModel
    batches: Batches
    seconds: float


def search(document: Experiment, data: DataSet, seed: int) -> Searched:
    """Warm up and search, as a trial of this seed does, and measure nothing in between."""
    torch.manual_seed(seed)
    batches = training_batches(data.train, document.data, torch.Generator().manual_seed(seed))
    began = time.process_time()
    searchable = make_searchable(document, data, seed)
    stage = SearchStage(searchable, document.inner, batches, None)
    for _ in range(document.inner.epochs.warmup):
        stage.warm_up()
    for _ in range(document.inner.epochs.search):
        stage.search()
    searchable.quantize(True)
    return Searched(searchable, batches, time.process_time() - began)


class Steps(Batches):
    """Some steps of a split: part of an epoch, or more than one, each in an order of its own.

    Args:
        whole: the batches to take from.
        steps: how many an iteration has.
    """

    def __init__(self, whole: Batches, steps: int) -> None:
        super().__init__(whole.split, whole.batch_size, whole.generator, whole.augmentation)
        self.steps = steps

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """That many batches."""
        epochs = itertools.chain.from_iterable(super(Steps, self).__iter__() for _ in itertools.count())
        return itertools.islice(epochs, self.steps)


def read_rows(table: Path) -> list[Row]:
    """Rows of a stored table, none where there is none."""
    if not table.is_file():
        return []
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def write_rows(table: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Store a table, whole or not at all."""
    partial = table.with_suffix(".partial")
    with partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    partial.replace(table)


def write_below(page: Path, marker: str, text: str) -> None:
    """Put `text` below the marker of a page; what stands above is written by hand."""
    page.write_text(page.read_text(encoding="utf-8").partition(marker)[0] + marker + text, encoding="utf-8")


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean of a sample, and half its 95 % interval (Student's t)."""
    sample = np.array(values)
    half = stats.t.ppf(0.975, len(sample) - 1) * sample.std(ddof=1) / np.sqrt(len(sample))
    return float(sample.mean()), float(half)
