"""The page of `benchmarks.outer`: how much of the best front known each study has found, by trials and by time."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path

import moocore  # type: ignore[import-untyped]
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import trainings

PAGE = Path(__file__).parent.parent / "docs" / "outer.md"
MARKER = "<!-- made by benchmarks.outer -->\n"
SHARES = (0.80, 0.90, 0.95, 0.99)
WORST = (0.2, 20e6)  # error and BitOPs up to which volume counts: a bad network, and the dearest one of 6 bits
PLAIN = ("random", "none")

Name = tuple[str, str]


@dataclass(frozen=True)
class Row:
    """One trial of one study.

    Attributes:
        sampler: of the study. pruner: likewise. seed: likewise.
        trial: number.
        state: ``complete`` or ``pruned``.
        epochs: it was trained.
        training_s: processor seconds of its training.
        driver_s: those between the trial before and its own end, less its training: its point, and the journal.
        limit: of its budget, in bits.
        accuracy: on the validation images; NaN where it was pruned.
        bitops: likewise.
    """

    sampler: str
    pruner: str
    seed: int
    trial: int
    state: str
    epochs: int
    training_s: float
    driver_s: float
    limit: float
    accuracy: float
    bitops: float

    @classmethod
    def read(cls, cells: dict[str, str]) -> Row:
        """From a line of the table."""
        readers: dict[str, Callable[[str], object]] = {"str": str, "int": int, "float": float}
        return cls(**{each.name: readers[str(each.type)](cells[each.name]) for each in fields(cls)})  # type: ignore[arg-type]

    def cells(self) -> tuple[object, ...]:
        """As a line of the table."""
        return astuple(self)


@dataclass(frozen=True)
class Curve:
    """One study: after each of its trials, processor seconds so far and share of the reference volume found."""

    seconds: list[float]
    shares: list[float]

    def reached(self, share: float) -> tuple[int, float] | None:
        """Trials and seconds until so much was found, None where it never was."""
        for trials, (seconds, found) in enumerate(zip(self.seconds, self.shares, strict=True), 1):
            if found >= share:
                return trials, seconds
        return None

    def after(self, seconds: float) -> float:
        """Share found by the trials that had ended by then."""
        return max((found for at, found in zip(self.seconds, self.shares, strict=True) if at <= seconds), default=0.0)


class Curves:
    """The curve of every study, by contestant and seed.

    Volume is counted up to `WORST`; that of the front of all trials of all studies together is the reference.

    Args:
        rows: of the table.
        logarithmic: count by the logarithm of BitOPs.
    """

    def __init__(self, rows: Sequence[Row], logarithmic: bool = False) -> None:
        self._logarithmic = logarithmic
        values = self._values(rows)
        self.front = values[moocore.is_nondominated(values, keep_weakly=False)]
        self._whole = self._volume(values)
        self.of: dict[Name, dict[int, Curve]] = {}
        for name in dict.fromkeys((row.sampler, row.pruner) for row in rows):
            own = [row for row in rows if (row.sampler, row.pruner) == name]
            seeds = sorted({row.seed for row in own})
            self.of[name] = {seed: self._curve([row for row in own if row.seed == seed]) for seed in seeds}

    def _values(self, rows: Sequence[Row]) -> NDArray[np.float64]:
        """Complete trials x (error, BitOPs)."""
        pairs = [(1 - row.accuracy, row.bitops) for row in rows if row.state == "complete"]
        values = np.array(pairs, dtype=np.float64).reshape(-1, 2)
        return self._scaled(values)

    def _scaled(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack([values[:, 0], np.log(values[:, 1])]) if self._logarithmic else values

    def _volume(self, values: NDArray[np.float64]) -> float:
        if not len(values):
            return 0.0
        return float(moocore.hypervolume(values, ref=self._scaled(np.array([WORST]))[0]))

    def _curve(self, rows: Sequence[Row]) -> Curve:
        ordered = sorted(rows, key=lambda row: row.trial)
        seconds = list(accumulate(row.training_s + row.driver_s for row in ordered))
        shares = [self._volume(self._values(ordered[:count])) / self._whole for count in range(1, len(ordered) + 1)]
        return Curve(seconds, shares)


def interval(values: Sequence[float], digits: int = 0) -> str:
    """Mean and 95 % interval (Student's t); the mean alone of one value."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    mean, half = trainings.interval(values)
    return f"{mean:.{digits}f} ± {half:.{digits}f}"


def shown(name: Name) -> str:
    """A contestant as the page names it."""
    return name[0] if name[1] == "none" else f"{name[0]}, {name[1]}"


def targets(curves: Curves) -> str:
    """Trials and seconds to each share of the reference volume."""
    text = "\n**Trials, and processor seconds, to a share of the reference volume** "
    text += "(mean of the studies that reached it, and how many did)\n\n"
    text += "| | " + " | ".join(f"{share:.0%}" for share in SHARES) + " |\n" + "| --- " * (len(SHARES) + 1) + "|\n"
    for name, studies in curves.of.items():
        cells = []
        for share in SHARES:
            found = [reached for each in studies.values() if (reached := each.reached(share)) is not None]
            means = (
                f"{interval([t for t, _ in found])}; {interval([s for _, s in found])} s" if found else "not reached"
            )
            cells.append(f"{means} ({len(found)} of {len(studies)})")
        text += f"| {shown(name)} | {' | '.join(cells)} |\n"
    return text


def volumes(curves: Curves) -> str:
    """Share of the reference volume at the end and at equal time, and the difference to random points."""
    seeds = sorted(curves.of[PLAIN])
    least = {seed: min(each[seed].seconds[-1] for each in curves.of.values() if seed in each) for seed in seeds}
    text = "\n**Share of the reference volume, %** (difference to `random` paired by seed)\n\n"
    text += "| | after all trials | difference | at equal time | difference |\n" + "| --- " * 5 + "|\n"
    for name, studies in curves.of.items():
        cells = []
        for after in (dict.fromkeys(seeds, math.inf), least):
            found = {seed: 100 * each.after(after[seed]) for seed, each in studies.items() if seed in after}
            plain = {seed: 100 * curves.of[PLAIN][seed].after(after[seed]) for seed in found}
            difference = [found[seed] - plain[seed] for seed in found]
            cells += [interval(list(found.values()), 1), "" if name == PLAIN else interval(difference, 1)]
        text += f"| {shown(name)} | {' | '.join(cells)} |\n"
    return text


def costs(rows: Sequence[Row], curves: Curves) -> str:
    """What the studies did and took."""
    text = "\n**What a study took** (mean a study; `driver`: choosing points, pruning, keeping the study)\n\n"
    text += "| | seeds | trials | pruned | epochs | CPU s | of these driver |\n" + "| --- " * 7 + "|\n"
    for name, studies in curves.of.items():
        own = [row for row in rows if (row.sampler, row.pruner) == name]
        count = len(studies)
        pruned, epochs = sum(row.state == "pruned" for row in own) / count, sum(row.epochs for row in own) / count
        seconds, driver = sum(c.seconds[-1] for c in studies.values()) / count, sum(row.driver_s for row in own) / count
        text += f"| {shown(name)} | {count} | {len(own) / count:g} | {pruned:.1f} | {epochs:.0f} "
        text += f"| {seconds:.0f} | {driver:.1f} |\n"
    return text


def reference(rows: Sequence[Row], curves: Curves) -> str:
    """Which front the volumes are measured by."""
    points = ", ".join(
        f"{100 * (1 - e):.1f} % at {b / 1e6:.2f} M" for e, b in sorted(curves.front.tolist(), key=lambda p: p[1])
    )
    complete = {(row.accuracy, row.bitops) for row in rows if row.state == "complete"}
    return f"\nThe reference front, of {len(complete)} different complete trials: {points} BitOPs.\n"


def write_page(rows: Sequence[Row]) -> None:
    """Write the tables below the page's marker, of the seeds that every contestant has ended."""
    seeds: dict[Name, set[int]] = {}
    for row in rows:
        seeds.setdefault((row.sampler, row.pruner), set()).add(row.seed)
    whole = set.intersection(*seeds.values()) if seeds else set()
    rows = [row for row in rows if row.seed in whole]
    if not rows:
        return
    curves, logarithmic = Curves(rows), Curves(rows, logarithmic=True)
    text = volumes(curves) + targets(curves) + costs(rows, curves) + reference(rows, curves)
    text += "\n## With the logarithm of BitOPs\n" + volumes(logarithmic) + targets(logarithmic)
    where = f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, torch {torch.__version__}, one thread"
    text += (
        f"\nMade by `python -m benchmarks.outer --data DIR` ({where}); the table is `benchmarks/tables/outer.csv`.\n"
    )
    head = PAGE.read_text(encoding="utf-8").partition(MARKER)[0] if PAGE.is_file() else ""
    PAGE.write_text(head + MARKER + text, encoding="utf-8")
