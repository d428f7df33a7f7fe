"""What fresh seeds say: the front's winners against uniform and random allocations, pair by pair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from precsearch.report import words
from precsearch.report.figures.base import Cell, Figure, Table
from precsearch.report.figures.marks import cloud
from precsearch.report.figures.palette import arm_style, hex_of
from precsearch.report.figures.sheet import key, sheet
from precsearch.report.figures.svg import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from precsearch.analysis.intervals import Interval
    from precsearch.analysis.verdicts import Claim
    from precsearch.report.figures.sheet import Sheet
    from precsearch.report.reading import RunData

SECTION: Final = "Confirmation"
_METRIC: Final = "test_accuracy"
_POINTS: Final = 100  # in an accuracy of 1
_PITCH: Final = 26.0
_AROUND: Final = 62.0


@dataclass(frozen=True)
class _Row:
    """One claim, with the difference of each seed in points, found less the other arm."""

    claim: Claim
    interval: Interval
    differences: dict[int, float]

    @property
    def name(self) -> str:
        trial = f"trial {self.claim.number}" if self.claim.number is not None else "all trials"
        return f"{trial} − {self.claim.against}"  # noqa: RUF001

    @property
    def mean(self) -> float:
        return _POINTS * self.interval.mean

    @property
    def ends(self) -> list[float]:
        """Of the interval, in points; none where it has none."""
        return [_POINTS * end for end in (self.interval.low, self.interval.high) if end is not None]

    @property
    def shown(self) -> bool:
        return self.claim.verdict in {"shown better", "shown worse"}


def paired_differences(runs: Sequence[RunData]) -> Figure | None:
    """Differences in test accuracy on the same seeds, their mean and its 95 % interval."""
    picked = [(run, rows) for run in runs if (rows := _rows(run))]
    if not picked:
        return None
    heights = [_PITCH * len(rows) + _AROUND for _, rows in picked]
    with sheet(sum(heights) + 20, len(picked), ratios=heights, share=(True, False)) as page:
        for axes, (run, rows) in zip(page.panels, picked, strict=True):
            where = f"{run.label}: " if len(runs) > 1 else ""
            axes.set_title(printable(f"{where}found minus baseline"))
            _draw(page, axes, rows)
        page.panels[-1].set_xlabel("difference in test accuracy, points")
        against = dict.fromkeys(row.claim.against for _, rows in picked for row in rows)
        page.legend([(key(arm, line=False), f"minus {arm}") for arm in against])
        caption = _caption(picked)
        name, title = "confirmed", "Found against baselines on fresh seeds"
        return Figure(name, SECTION, title, caption, _table(picked), page.svg(name, title, caption))


def _rows(run: RunData) -> list[_Row]:
    from precsearch.analysis import verdicts

    records = [each.record for each in run.confirmed]
    differences = verdicts.paired_differences(records, _METRIC)
    return [
        _Row(
            claim,
            claim.comparison.difference,
            {seed: _POINTS * value for seed, value in differences[claim.number, claim.against].items()},
        )
        for claim in verdicts.confirmed_claims(records, _METRIC, run.experiment.inner.budget.kind)
        if claim.comparison is not None
    ]


def _draw(page: Sheet, axes: Axes, rows: Sequence[_Row]) -> None:
    axes.axvline(0, color=hex_of("ink"), linewidth=0.9, zorder=1)
    for place, row in enumerate(rows):
        style = arm_style(row.claim.against)
        color = hex_of(style.color)
        cloud(axes, [(difference, place) for difference in row.differences.values()], style.color, size=5.0, alpha=0.4)
        axes.plot(row.ends, [place] * len(row.ends), color=color, linewidth=2.4, solid_capstyle="round")
        (mark,) = axes.plot(
            [row.mean], [place], marker=style.marker, markersize=8, color=color,
            markerfacecolor=color if row.shown else hex_of("paper"), markeredgecolor=color,
        )  # fmt: skip
        page.tip(mark, row.claim.sentence)
        axes.text(
            1.02, place, f"{row.mean:+.2f}", transform=axes.get_yaxis_transform(), va="center_baseline",
            color=hex_of("ink"), fontweight="bold" if row.shown else "normal",
        )  # fmt: skip
    every = [value for row in rows for value in row.differences.values()]
    every += [end for row in rows for end in row.ends]
    low, high = min(0.0, *every), max(0.0, *every)
    room = 0.06 * (high - low) or 0.1
    axes.dataLim.update_from_data_x([low - room, high + room])
    axes.autoscale_view(scaley=False)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.grid(axis="x", visible=True)
    axes.grid(axis="y", visible=False)


def _caption(picked: Sequence[tuple[RunData, Sequence[_Row]]]) -> str:
    text = (
        "Faint: each seed. Bars: the mean with its own 95 % interval; right of zero the found allocation is better."
        " Filled: shown, with Holm's correction over all comparisons."
    )
    for run, rows in picked:
        counts = Counter(row.claim.verdict for row in rows)
        told = ", ".join(f"{found} {verdict}" for verdict, found in counts.items())
        seeds = sorted({len(row.differences) for row in rows})
        where = f"{run.label}: " if len(picked) > 1 else ""
        text += f" {where}{told}, on {words.count(seeds[0], 'seed')}{' or more' if len(seeds) > 1 else ''}."
    return text


def _table(picked: Sequence[tuple[RunData, Sequence[_Row]]]) -> Table:
    """A row for each seed, and with no seed one for the mean and its interval."""
    rows: list[tuple[Cell, ...]] = []
    for run, found in picked:
        for row in found:
            start = (run.label, row.claim.number, row.claim.against)
            rows += [(*start, seed, difference, None, None, None) for seed, difference in row.differences.items()]
            low, high = row.ends or (None, None)
            rows.append((*start, None, row.mean, low, high, row.claim.verdict))
    return Table(("run", "trial", "baseline", "seed", "points", "low", "high", "verdict"), tuple(rows))
