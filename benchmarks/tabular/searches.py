"""What this project finds without a table: its samplers, any-budget training, and both sensitivities with the solver.

Each is one training; a sampler is one for each budget. Only allocations are kept: the table knows what they are worth.
"""

from __future__ import annotations

import csv
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from rich.progress import track

from benchmarks.tabular.problem import Bits, Problem
from benchmarks.tabular.table import SHOWN, digits, from_digits
from precsearch.allocation import Allocation
from precsearch.data import Batches, load_data, training_batches
from precsearch.errors import PrecsearchWarning
from precsearch.evaluation.sensitivity import SENSITIVITIES, sensitivity_scores
from precsearch.experiment import Experiment
from precsearch.files import write_text
from precsearch.precision.exact import solve_exactly
from precsearch.precision.problem import Floats
from precsearch.precision.samplers.learned import PerturbAndMap
from precsearch.searchable import SearchableModel
from precsearch.training.building import make_searchable
from precsearch.training.stages import SearchStage

SAMPLERS = ("perturb-and-map", "multinomial", "gumbel-softmax", "random", "uniform")
FORMS = ("sensitivity", "free", "convex")
CONSTANT = ("random", "uniform")
TOGETHER = 5
TOGETHER_KIND = f"any budget, sensitivity, mean of {TOGETHER}"
"""So many trainings of any-budget search, each with a seed of its own; their mean sensitivities answer."""
_CLOSE = 1e-9
COLUMNS = ("kind", "seed", "limit", "bits", "seconds")


@dataclass(frozen=True)
class Found:
    """What one search answers at one limit.

    Attributes:
        kind: a sampler, ``any budget, FORM`` or ``METHOD sensitivity``.
        seed: of the training.
        limit: in mean bits; the answer holds up to the next one's.
        bits: of each layer.
        seconds: of CPU time that the training took.
    """

    kind: str
    seed: int
    limit: float
    bits: Bits
    seconds: float


def kinds() -> list[str]:
    """Every kind of search."""
    ranged = [f"any budget, {form}" for form in FORMS]
    return [*SAMPLERS, *ranged, TOGETHER_KIND, *(f"{method} sensitivity" for method in SENSITIVITIES)]


class Searches:
    """What the searches of a problem found, in a file."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.found: list[Found] = []
        if problem.file("-searches").is_file():
            with problem.file("-searches").open(newline="") as file:
                for row in csv.DictReader(file):
                    limit, seconds = float(row["limit"]), float(row["seconds"])
                    bits = from_digits(row["bits"])
                    self.found.append(Found(row["kind"], int(row["seed"]), limit, bits, seconds))

    def fill(self, seeds: Sequence[int] = SHOWN) -> None:
        """Run what is missing."""
        done = {(found.kind, found.seed) for found in self.found}
        jobs = [(kind, seed) for seed in seeds for kind in kinds() if (kind, seed) not in done]
        for kind, seed in track(jobs, description=f"{self.problem.name}: {len(jobs)} searches"):
            self.found += _changes(search(self.problem, kind, seed))
            lines = [f'"{f.kind}",{f.seed},{f.limit:.6g},{digits(f.bits)},{f.seconds:.2f}' for f in self.found]
            write_text(self.problem.file("-searches"), "\n".join([",".join(COLUMNS), *lines]) + "\n")

    def of(self, kind: str, seed: int) -> list[Bits]:
        """Every allocation it answers with."""
        return list(dict.fromkeys(found.bits for found in self._runs(kind, seed)))

    def at(self, kind: str, seed: int, limit: float) -> Bits | None:
        """Its answer at the highest limit within `limit`; None where it had none so low."""
        within = [found.bits for found in self._runs(kind, seed) if found.limit <= limit + _CLOSE]
        return within[-1] if within else None

    def seconds(self, kind: str) -> float:
        """CPU time of one training, mean."""
        mine = [found.seconds for found in self.found if found.kind == kind]
        return sum(mine) / len(mine)

    def _runs(self, kind: str, seed: int) -> list[Found]:
        return [found for found in self.found if (found.kind, found.seed) == (kind, seed)]


def trainings(problem: Problem, kind: str) -> int:
    """How many trainings one search of this kind takes."""
    if kind in CONSTANT:
        return 0
    return len(problem.limits) if kind in SAMPLERS else TOGETHER if kind == TOGETHER_KIND else 1


def search(problem: Problem, kind: str, seed: int) -> Iterator[Found]:
    """Train, and answer every limit."""
    ends = float(problem.bits[0]), float(problem.bits[-1])
    # A training for every budget is asked for every cost that there is; a limit that rounding left below it refuses it.
    asked = sorted({ceil(1e4 * problem.cost(bits)) / 1e4 for bits in problem.allocations} | {*problem.limits})
    ranged = [f"inner.budget.range={list(ends)}"]
    if kind in SAMPLERS:
        for limit in problem.limits:
            experiment = problem.experiment([f"inner.budget.limit={limit}", f"inner.sampler={kind}"])
            with _Clock() as clock:
                searchable, _ = trained(experiment, seed, train=kind not in CONSTANT)
                bits = _bits(searchable.allocation())
            yield Found(kind, seed, limit, bits, clock.seconds)
    elif kind == TOGETHER_KIND:
        experiment = problem.experiment([*ranged, "inner.logits.form=sensitivity"])
        with _Clock() as clock:
            searches = [trained(experiment, TOGETHER * seed + i)[0] for i in range(TOGETHER)]
            scores = np.mean([_even(searchable) for searchable in searches], axis=0)
        yield from (Found(kind, seed, limit, _solved(searches[0], limit, scores), clock.seconds) for limit in asked)
    elif kind.startswith("any budget"):
        experiment = problem.experiment([*ranged, f"inner.logits.form={kind.split(', ')[1]}"])
        with _Clock() as clock:
            searchable, _ = trained(experiment, seed)
        for limit in asked:
            yield Found(kind, seed, limit, _bits(searchable.allocation(limit)), clock.seconds)
    else:
        with _Clock() as clock:
            epochs = problem.experiment().inner.epochs
            whole = epochs.warmup + epochs.search + epochs.finetune
            floats = f"inner.epochs={{warmup: {whole}, search: 0, finetune: 0}}"
            searchable, batches = trained(problem.experiment([*ranged, floats]), seed)
            scores = -np.nan_to_num(sensitivity_scores(searchable, batches, kind.split(maxsplit=1)[0], seed=seed))
        yield from (Found(kind, seed, limit, _solved(searchable, limit, scores), clock.seconds) for limit in asked)


def _solved(searchable: SearchableModel, limit: float, scores: Floats) -> Bits:
    """The allocation of highest total score within the limit."""
    with searchable.answers.at(limit):
        ranged = searchable.plan.ranged
        assert ranged is not None
        at = ranged.at(searchable.answers.limit)
        return tuple(at.bits[k] for k in solve_exactly(at.mask(scores), at))


def _even(searchable: SearchableModel) -> Floats:
    """What a search learned, in one scale for all: the fewest bits everywhere cost 1 in all."""
    sampler = searchable.sampler
    assert isinstance(sampler, PerturbAndMap)
    scores = sampler.scores()
    lost = scores.max(1, keepdims=True) - scores
    return -lost / lost[:, 0].sum()


def trained(experiment: Experiment, seed: int, train: bool = True) -> tuple[SearchableModel, Batches]:
    """The net after warm-up and search, as `run_trial` would have it, and its batches."""
    data = load_data(experiment.data)
    order = torch.Generator().manual_seed(seed)
    batches = training_batches(data.train, experiment.data, order)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", PrecsearchWarning)  # a budget may bind nowhere, or admit one allocation
        torch.manual_seed(seed)
        searchable = make_searchable(experiment, data, seed)
        stage = SearchStage(searchable, experiment.inner, batches, None)
        for _ in range(experiment.inner.epochs.warmup * train):
            stage.warm_up()
        for _ in range(experiment.inner.epochs.search * train):
            stage.search()
    searchable.quantize(True)
    return searchable, batches


def _changes(answers: Iterable[Found]) -> Iterator[Found]:
    """The first of neighbouring limits with one answer: the others need no line."""
    before = None
    for answer in answers:
        if answer.bits != before:
            yield answer
        before = answer.bits


def _bits(allocation: Allocation) -> Bits:
    return tuple(layer.bits("weight") or 0 for layer in allocation.layers)


class _Clock:
    """CPU seconds of a block."""

    seconds = 0.0

    def __enter__(self) -> _Clock:
        self._began = time.process_time()
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds = time.process_time() - self._began
