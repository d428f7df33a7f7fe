"""What fresh seeds say: the front's winners against uniform and random allocations, pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from precsearch.report import words
from precsearch.report.figures import chosen
from precsearch.report.figures.base import Cell, Figure, Table
from precsearch.report.figures.marks import cloud
from precsearch.report.figures.palette import arm_style, hex_of
from precsearch.report.figures.sheet import key, printable, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from precsearch.analysis.intervals import Interval
    from precsearch.report.reading import RunData, Trained

SECTION: Final = "Confirmation"
_METRIC: Final = "test_accuracy"
_PITCH: Final = 26.0
_AROUND: Final = 62.0


@dataclass(frozen=True)
class _Row:
    """One comparison: found less another arm at the same budget, in points, a pair for each seed."""

    number: int
    arm: str
    pairs: tuple[tuple[int, float, float], ...]  # seed, found, other
    interval: Interval

    @property
    def differences(self) -> list[float]:
        return [100 * (found - other) for _, found, other in self.pairs]


def paired_differences(runs: Sequence[RunData]) -> Figure | None:
    """Differences in test accuracy on the same seeds, their mean and its 95 % interval."""
    picked = [(run, rows) for run in runs if (rows := _rows(run.confirmed))]
    if not picked:
        return None
    heights = [_PITCH * len(rows) + _AROUND for _, rows in picked]
    with sheet(sum(heights) + 20, len(picked), ratios=heights, share=(True, False)) as page:
        for axes, (run, rows) in zip(page.panels, picked, strict=True):
            where = f"{run.label}: " if len(runs) > 1 else ""
            axes.set_title(printable(f"{where}found minus baseline"))
            _draw(axes, rows)
        page.panels[-1].set_xlabel("difference in test accuracy, points")
        page.legend(
            [(key(arm, line=False), f"minus {arm}") for arm in dict.fromkeys(r.arm for _, rows in picked for r in rows)]
        )
        caption = _caption(picked)
        cells: list[tuple[Cell, ...]] = [
            (run.label, row.number, row.arm, seed, found, other, found - other)
            for run, rows in picked
            for row in rows
            for seed, found, other in row.pairs
        ]
        table = Table(("run", "trial", "baseline", "seed", "found", "other", "difference"), tuple(cells))
        name, title = "confirmed", "Found against baselines on fresh seeds"
        return Figure(name, SECTION, title, caption, table, page.svg(name, title, caption))


def _rows(confirmed: Sequence[Trained]) -> list[_Row]:
    from precsearch.analysis.intervals import mean_interval

    measured: dict[tuple[int, str], dict[int, float]] = {}
    for each in confirmed:
        if _METRIC in each.record.metrics:
            of_arm = measured.setdefault((each.record.number, each.arm), {})
            of_arm[each.record.seed] = each.record.metrics[_METRIC]
    found = []
    for (number, arm), others in measured.items():
        own = measured.get((number, "found"), {})
        pairs = tuple((seed, own[seed], other) for seed, other in sorted(others.items()) if seed in own)
        if arm != "found" and pairs:
            interval = mean_interval([100 * (mine - other) for _, mine, other in pairs])
            found.append(_Row(number, arm, pairs, interval))
    arms = [*chosen.ARMS, *(row.arm for row in found)]
    return sorted(found, key=lambda row: (row.number, arms.index(row.arm)))


def _draw(axes: Axes, rows: Sequence[_Row]) -> None:
    axes.axvline(0, color=hex_of("ink"), linewidth=0.9, zorder=1)
    for place, row in enumerate(rows):
        style = arm_style(row.arm)
        color = hex_of(style.color)
        cloud(axes, [(difference, place) for difference in row.differences], style.color, size=5.0, alpha=0.4)
        interval = row.interval
        if interval.low is not None and interval.high is not None:
            axes.plot([interval.low, interval.high], [place, place], color=color, linewidth=2.4, solid_capstyle="round")
        axes.plot(
            [interval.mean], [place], marker=style.marker, color=color, markersize=8, markeredgecolor=hex_of("paper")
        )
        axes.text(
            1.02, place, f"{interval.mean:+.2f}", transform=axes.get_yaxis_transform(), va="center_baseline",
            color=hex_of("ink"),
        )  # fmt: skip
    every = [value for row in rows for value in row.differences]
    every += [end for row in rows for end in (row.interval.low, row.interval.high) if end is not None]
    low, high = min(0.0, *every), max(0.0, *every)
    room = 0.06 * (high - low) or 0.1
    axes.dataLim.update_from_data_x([low - room, high + room])
    axes.autoscale_view(scaley=False)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [f"trial {row.number} − {row.arm}" for row in rows])  # noqa: RUF001
    axes.grid(axis="x", visible=True)
    axes.grid(axis="y", visible=False)


def _caption(picked: Sequence[tuple[RunData, Sequence[_Row]]]) -> str:
    text = (
        "Faint: each seed; bars: the mean with its 95 % interval, each on its own; right of zero the found allocation"
        " is better."
    )
    for run, rows in picked:
        clear = [row for row in rows if row.interval.low is not None and not row.interval.holds(0.0)]
        counts = sorted({len(row.pairs) for row in rows})
        seeds = words.count(counts[0], "seed") + (" or more" if len(counts) > 1 else "")
        where = f" of {run.label}" if len(picked) > 1 else ""
        text += f" {len(clear)} of {words.count(len(rows), 'difference')}{where} exclude zero, on {seeds}."
    return text
