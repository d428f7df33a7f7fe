"""Who is compared: what each finds, for how many trainings, with each of the seeds shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from benchmarks.tabular.judging import Answer, answer, nondominated
from benchmarks.tabular.rivals import RUNS, Rivals, seen_by
from benchmarks.tabular.searches import Searches, kinds, trainings
from benchmarks.tabular.table import SHOWN, Table

COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
"""Trainings after which a rival is looked at."""
AT_ONE_BUDGET = (1, 10, 30)


@dataclass(frozen=True)
class Run:
    """What one run answers.

    Attributes:
        seed: one of those shown.
        ask: its allocation within a limit.
        numbers: every allocation that it gives back.
        tried: every one that it knows of.
    """

    seed: int
    ask: Answer
    numbers: list[int]
    tried: list[int]


@dataclass(frozen=True)
class Contestant:
    """One way to find allocations.

    Attributes:
        name: in the page.
        trainings: that it takes, mean over the runs.
        runs: several may have one seed.
    """

    name: str
    trainings: float
    runs: list[Run]


def searched(searches: Searches, table: Table) -> list[Contestant]:
    """This project's own searches."""
    made = []
    for kind in kinds():
        runs = []
        for seed in SHOWN:
            numbers = [table.place[bits] for bits in searches.of(kind, seed)]
            runs.append(Run(seed, _asker(searches, table, kind, seed), numbers, numbers))
        made.append(Contestant(kind, trainings(searches.problem, kind), runs))
    return made


def then_trained(contestant: Contestant, table: Table) -> Contestant:
    """The same, when every allocation that it gives back is trained with its seed, and the losses choose."""
    runs = []
    for run in contestant.runs:
        seen = table.columns[run.seed]
        ask = answer(seen, table.cost, run.numbers)
        runs.append(Run(run.seed, ask, _not_beaten(run.numbers, table, run.seed), run.numbers))
    more = sum(len(run.numbers) for run in contestant.runs) / len(runs)
    return Contestant(f"{contestant.name}, then its allocations trained", contestant.trainings + more, runs)


def exhaustive(table: Table) -> Contestant:
    """Every allocation trained with one seed."""
    numbers = range(len(table.allocations))
    runs = [
        Run(seed, answer(table.columns[seed], table.cost, numbers), _not_beaten(numbers, table, seed), [*numbers])
        for seed in SHOWN
    ]
    return Contestant("every allocation, one seed", len(numbers), runs)


def played(rivals: Rivals, kind: str) -> Iterator[Contestant]:
    """A rival that searches all budgets at once, after so many trainings."""
    table = rivals.table
    lengths = [len(rivals.trained[kind, 0.0, run]) for run in RUNS]
    for count in [count for count in COUNTS if count < sum(lengths) / len(lengths)] + [max(lengths)]:
        made = []
        for run in RUNS:
            numbers, seed = rivals.trained[kind, 0.0, run][:count], SHOWN[run % len(SHOWN)]
            ask = answer(seen_by(table, run), table.cost, numbers)
            made.append(Run(seed, ask, _not_beaten(numbers, table, seed), numbers))
        spent = sum(min(count, length) for length in lengths) / len(lengths)
        yield Contestant(kind, spent, made)


def played_at_one_budget(rivals: Rivals, kind: str, count: int) -> Contestant:
    """A rival that has so many trainings for each budget alone."""
    table, runs, spent = rivals.table, [], 0
    for run in RUNS:
        answers = {}
        for limit in table.problem.limits:
            numbers = rivals.trained[kind, limit, run][:count]
            spent += len(numbers)
            answers[limit] = answer(seen_by(table, run), table.cost, numbers)(limit)
        runs.append(Run(SHOWN[run % len(SHOWN)], answers.__getitem__, [*answers.values()], [*answers.values()]))
    return Contestant(kind, spent / len(runs), runs)


def _not_beaten(numbers: Iterable[int], table: Table, seed: int) -> list[int]:
    own = [*numbers]
    return [own[i] for i in nondominated(table.cost[own], table.columns[seed][own])]


def _asker(searches: Searches, table: Table, kind: str, seed: int) -> Answer:
    cheapest = int(table.cost.argmin())

    def ask(limit: float) -> int:
        bits = searches.at(kind, seed, limit)
        return cheapest if bits is None else table.place[bits]

    return ask
