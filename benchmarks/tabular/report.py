"""Writes docs/tabular.md from what is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

from benchmarks import trainings
from benchmarks.tabular.contestants import (
    AT_ONE_BUDGET,
    Contestant,
    Run,
    exhaustive,
    played,
    played_at_one_budget,
    searched,
    then_trained,
)
from benchmarks.tabular.judging import HALVES, CrossFitted, Judge
from benchmarks.tabular.picture import draw, rows
from benchmarks.tabular.problem import HERE, Problem
from benchmarks.tabular.rivals import RANDOM, RUNS, TPE, Rivals
from benchmarks.tabular.searches import CONSTANT, TOGETHER_KIND, Searches
from benchmarks.tabular.table import JUDGES, SHOWN, Table, digits
from precsearch.files import write_text
from precsearch.precision.samplers import RANGED

DOCS = HERE.parent.parent / "docs"
MARKER = "<!-- made by benchmarks.tabular -->\n"
_MOST = 0.8  # of the seeds: 4 of 5


class Section:
    """What the page says of one problem."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.table = problem, Table(problem)
        self.judge, self.crossed = Judge(self.table), CrossFitted(self.table)
        self.searches, rivals = Searches(problem), Rivals(self.table)
        self.found = searched(self.searches, self.table)
        once = [contestant for contestant in self.found if contestant.trainings == 1]
        self.trained = [then_trained(contestant, self.table) for contestant in once]
        self.played = {kind: list(played(rivals, kind)) for kind in (TPE, RANDOM)}
        self.whole = exhaustive(self.table)
        self.single = [
            Contestant(f"{kind}, {count} a budget", each.trainings, each.runs)
            for kind in (TPE, RANDOM)
            for count in AT_ONE_BUDGET
            if all((kind, limit, run) in rivals.trained for limit in problem.limits for run in RUNS)
            for each in [played_at_one_budget(rivals, kind, count)]
        ]

    def text(self) -> str:
        """All of it."""
        picture = DOCS / "images" / f"tabular-{self.problem.name}.svg"
        table = picture.with_suffix(".csv")
        shown = [*self.found, self.whole]
        write_text(picture, draw(self.problem.title, shown, self.played, self.volume))
        write_text(table, rows(shown, self.played, self.volume))
        parts = [f"## {self.problem.title}", self.facts(), self.among_best(), self.regrets(), self.volumes()]
        drawn = [f"![Hypervolume against trainings](images/{picture.name})", f"[{table.name}](images/{table.name})"]
        return "\n\n".join([*parts, *drawn, self.ends()]) + "\n"

    def facts(self) -> str:
        """Of the table itself."""
        judge, table = self.judge, self.table
        best = int(judge.mean.argmin())
        errors = ", ".join(f"{judge.error(limit):.4f} at {limit:g}" for limit in self.problem.limits)
        return (
            f"{len(table.allocations):,} allocations, each trained with {len(JUDGES)} seeds that judge and "
            f"{len(SHOWN)} that the searches have: {len(table.allocations) * len(table.columns):,} trainings. Lowest "
            f"mean validation loss {judge.mean[best]:.4f} ({digits(table.allocations[best])}), highest "
            f"{judge.mean.max():.4f}; {len(judge.front)} allocations are on the front, whose ends are "
            f"{judge.cost[judge.front[0]]:.3g} and {judge.reference[0]:.3g} bits. Standard error of a mean, pooled "
            f"over the allocations within the budget: {errors} bits."
        )

    def among_best(self) -> str:
        """Who lands within one standard error of the best."""
        head = f"**Within one standard error of the best**, % of runs: plain / cross-fitted\n\n{self._head('budgets')}"
        counts = []
        for limit in self.problem.limits:
            within = [number for number, cost in enumerate(self.judge.cost) if cost <= limit]
            passed = (round(share * len(within)) for share in self.shares(within, limit))
            counts.append(" / ".join(map(str, passed)) + f" of {len(within)}")
        lines = ["| *allocations that are* | | " + " | ".join(counts) + " | |"]
        for contestant in [*self.found, self.whole, *self.single]:
            cells, held = [], [0, 0]
            for limit in self.problem.limits:
                shares = self.shares([run.ask(limit) for run in contestant.runs], limit)
                held = [count + (share >= _MOST) for count, share in zip(held, shares, strict=True)]
                cells.append(" / ".join(f"{100 * share:.0f}" for share in shares))
            cells.append(f"{held[0]} / {held[1]}")
            lines.append(f"| {contestant.name} | {contestant.trainings:.0f} | " + " | ".join(cells) + " |")
        return "\n".join([head, *lines])

    def shares(self, numbers: Sequence[int], limit: float) -> tuple[float, float]:
        """Share of allocations that are among the best, plainly and cross-fitted."""
        error = self.judge.error(limit)
        plain = fmean(self.judge.regret(number, limit) <= error for number in numbers)
        return plain, fmean(self.crossed.among_best(number, limit) for number in numbers)

    def regrets(self) -> str:
        """How much loss each leaves behind."""
        head = f"**Regret**: mean loss above that of the best within the budget, in thousandths\n\n{self._head('mean')}"
        lines = []
        for contestant in [*self.found, self.whole, *self.single]:
            cells = [f"{1000 * self.regret(contestant, [limit])[0]:.0f}" for limit in self.problem.limits]
            mean, wide = self.regret(contestant, self.problem.limits)
            cells.append(f"{1000 * mean:.0f} ± {1000 * wide:.0f}")
            lines.append(f"| {contestant.name} | {contestant.trainings:.0f} | " + " | ".join(cells) + " |")
        return "\n".join([head, *lines])

    def regret(self, contestant: Contestant, limits: Sequence[float]) -> tuple[float, float]:
        """Mean over limits: mean over seeds, and half of its 95 % interval."""
        return interval(contestant, lambda run: fmean(self.judge.regret(run.ask(limit), limit) for limit in limits))

    def volume(self, contestant: Contestant) -> tuple[float, float]:
        """Normalized hypervolume: mean, and half of its 95 % interval."""
        return interval(contestant, lambda run: self.judge.volume(run.numbers))

    def volumes(self) -> str:
        """Hypervolumes against trainings."""
        lines = [
            "**Hypervolume** as a part of the exhaustive front's (mean, 95 % interval over seeds)",
            "",
            "| | trainings | % of all | hypervolume | as answered | with hindsight | cross-fitted |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        rivals = [each for kind in self.played.values() for each in kind]
        for contestant in [*self.found, *self.trained, *rivals, self.whole]:
            cells = [
                "{:.3f} ± {:.3f}".format(*interval(contestant, measured))
                for measured in (
                    lambda run: self.judge.volume(run.numbers),
                    lambda run: self.judge.answered(run.ask),
                    lambda run: self.judge.volume(run.tried),
                    lambda run: self.crossed.volume(run.numbers),
                )
            ]
            part = 100 * contestant.trainings / len(self.table.allocations)
            lines.append(f"| {contestant.name} | {contestant.trainings:.0f} | {part:.1f} | " + " | ".join(cells) + " |")
        return "\n".join([*lines, "", self.ceilings(), "", self.union(), "", self.above()])

    def ceilings(self) -> str:
        """What the table itself can tell, and what one allocation a budget can reach."""
        parts = [
            judge.volume(Judge(self.table, seeds).front)
            for judge, seeds in zip(self.crossed.halves, HALVES[::-1], strict=True)
        ]
        count, limits = len(HALVES[0]) * len(self.table.allocations), self.problem.limits
        oracle = self.judge.volume([self.judge.best(limit) for limit in limits])
        return (
            f"The front that {len(HALVES[0])} seeds show ({count:,} trainings) has, judged with the {len(HALVES[1])} "
            f"others, {fmean(parts):.3f} of the hypervolume of their own front; the last column is in parts of that. "
            f"The best allocations of the {len(limits)} budgets alone have {oracle:.3f} of the front's: no sampler, "
            f"trained once a budget, can have more."
        )

    def above(self) -> str:
        """Any-budget training against the others, paired by seed."""
        first = next(each for each in self.found if each.name == f"any budget, {RANGED}")
        others = [each for each in self.found if each.trainings == 1 and each is not first]
        others += [*self.played[TPE], self.whole]
        told = []
        for other in others:
            gains = [a - b for a, b in zip(self.by_seed(first), self.by_seed(other), strict=True)]
            gain, wide = trainings.interval(gains)
            told.append(f"{other.name} ({other.trainings:.0f}) {gain:+.3f} ± {wide:.3f}")
        return f"Hypervolume of *{first.name}* above that of others (trainings), paired by seed: {'; '.join(told)}."

    def union(self) -> str:
        """What all forms of any-budget training find together."""
        forms = [each for each in self.found if each.name.startswith("any budget") and each.trainings == 1]
        runs = [run for form in forms for run in form.runs]
        parts = [self.judge.volume({n for run in runs if run.seed == seed for n in run.tried}) for seed in SHOWN]
        part, wide = trainings.interval(parts)
        return (
            f"The {len(forms)} forms of any-budget training together ({len(forms)} trainings) find "
            f"{part:.3f} ± {wide:.3f} of the hypervolume, with hindsight."
        )

    def by_seed(self, contestant: Contestant) -> list[float]:
        """Hypervolume for each of the seeds shown."""
        return of_seed(contestant, lambda run: self.judge.volume(run.numbers))

    def ends(self) -> str:
        """CPU time."""
        once = [each for each in self.found if each.name not in (*CONSTANT, TOGETHER_KIND)]
        times = ", ".join(f"{each.name} {self.searches.seconds(each.name):.1f}" for each in once)
        return f"CPU seconds of one training: {times}."

    def _head(self, last: str) -> str:
        limits = [f"{limit:g}" for limit in self.problem.limits]
        return f"| | trainings | {' | '.join(limits)} | {last} |\n" + "| --- " * (len(limits) + 3) + "|"


def interval(contestant: Contestant, measured: Callable[[Run], float]) -> tuple[float, float]:
    """Mean over the seeds, runs of one seed taken together, and half of the 95 % interval."""
    return trainings.interval(of_seed(contestant, measured))


def of_seed(contestant: Contestant, measured: Callable[[Run], float]) -> list[float]:
    """Mean over the runs of each seed."""
    return [fmean(measured(run) for run in contestant.runs if run.seed == seed) for seed in SHOWN]


def write_page(problems: Sequence[Problem]) -> None:
    """Write the page below its marker."""
    page = DOCS / "tabular.md"
    text = page.read_text(encoding="utf-8") if page.is_file() else "# A tabular benchmark\n\n"
    sections = [Section(problem).text() for problem in problems]
    write_text(page, text.partition(MARKER)[0] + MARKER + "\n" + "\n".join(sections))
