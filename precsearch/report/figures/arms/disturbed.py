"""Accuracy of arms under attack, on corrupted images and with flipped bits: means over seeds with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from precsearch.analysis.arm_robustness import ATTACK, CORRUPTION, FLIPS, Condition, DisturbedRow
from precsearch.report.figures.arms import common
from precsearch.report.figures.attacks import SECTION
from precsearch.report.figures.base import Cell, Figure, Table
from precsearch.report.figures.marks import strands
from precsearch.report.figures.palette import hex_of
from precsearch.report.figures.sheet import sheet
from precsearch.report.figures.svg import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from precsearch.analysis.arms import Arm
    from precsearch.report.arms.reading import ArmsData
    from precsearch.report.figures.arms.common import Panel
    from precsearch.report.figures.sheet import Sheet

_PANEL: Final = 158.0
_LINE: Final = 6.5  # height of one arm in a row
_BETWEEN: Final = 9.0
_NORMS: Final = {"linf": "L∞", "l2": "L2"}


def over_epsilon(runs: Sequence[ArmsData]) -> Figure | None:
    """Accuracy against epsilon: a panel for each attack and cell, a line for each arm."""
    found = [
        (each, name)
        for each in common.panels(runs, lambda data, cell: _rows(data, cell, ATTACK))
        for name in dict.fromkeys(row.condition.name for row in _rows(each.data, each.cell, ATTACK))
    ]
    if not found:
        return None
    look, columns = common.looks(runs), min(2, len(found))
    lines = -(-len(found) // columns)
    with sheet(_PANEL * lines + 60, lines, columns, share=(False, True)) as page:
        for axes in page.panels[len(found) :]:
            axes.set_visible(False)
        for axes, (each, name) in zip(page.panels, found, strict=False):
            attack, norm = name.split(" ")
            axes.set_title(printable(f"{each.title}: {attack.upper()}, %" if each.title else f"{attack.upper()}, %"))
            _curves(
                page, axes, [row for row in _rows(each.data, each.cell, ATTACK) if row.condition.name == name], look
            )
            axes.set_xlabel(f"ε ({_NORMS[norm]})")
        common.legend(page, look, [row.arm for each, _ in found for row in _rows(each.data, each.cell, ATTACK)])
        caption = _attack_caption([each for each, _ in found])
        name, title = "arms-epsilon", "Accuracy against the size of an attack"
        return Figure(name, SECTION, title, caption, _table(runs, ATTACK), page.svg(name, title, caption))


def corruptions(runs: Sequence[ArmsData]) -> Figure | None:
    """Accuracy by corruption, the mean over severities."""
    return _bars(runs, "arms-corruptions", "Accuracy on corrupted images", CORRUPTION)


def bit_flips(runs: Sequence[ArmsData]) -> Figure | None:
    """Accuracy by the rate at which bits of the packed weights flip."""
    return _bars(runs, "arms-bit-flips", "Accuracy with flipped weight bits", FLIPS)


def _rows(data: ArmsData, cell: int, group: str) -> list[DisturbedRow]:
    return [row for row in data.compared.disturbed_means if (row.cell, row.condition.group) == (cell, group)]


def _curves(page: Sheet, axes: Axes, rows: Sequence[DisturbedRow], look: dict[str, str]) -> None:
    for arm in reversed(list(dict.fromkeys(row.arm for row in rows))):
        own = [row for row in rows if row.arm == arm and row.condition.size is not None]
        how = common.style(look, arm)
        color = hex_of(how.color)
        suspect = any(row.checks for row in own)
        xs = [row.condition.size or 0.0 for row in own]
        (line,) = axes.plot(
            xs, [100 * row.interval.mean for row in own], color=color, marker=how.marker, linestyle=how.dashes,
            markerfacecolor=hex_of("paper") if suspect else color, markeredgewidth=1.0 if suspect else 0.6,
            markeredgecolor=color if suspect else hex_of("paper"), clip_on=False,
        )  # fmt: skip
        page.tip(line, f"{arm.name}: {_tip(own)}")
        bars = [
            [(row.condition.size or 0.0, 100 * max(0.0, low)), (row.condition.size or 0.0, 100 * min(1.0, high))]
            for row in own
            if (low := row.interval.low) is not None and (high := row.interval.high) is not None
        ]
        strands(axes, bars, how.color, width=3.0, alpha=0.3)
    axes.set_ylim(0, 100)
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=4)
    axes.xaxis.set_major_formatter(lambda size, _: f"{size:g}")


def _tip(rows: Sequence[DisturbedRow]) -> str:
    return ", ".join(f"{100 * row.interval.mean:.1f} % at ε {row.condition.size:g}" for row in rows)


def _attack_caption(found: Sequence[Panel]) -> str:
    text = "Means over seeds; bars: their 95 % intervals."
    doubts = []
    for each in dict.fromkeys(found):
        rows = _rows(each.data, each.cell, ATTACK)
        by_arm = {row.arm: row.caveat for row in rows if row.caveat}
        where = f"{each.title}, " if each.title else ""
        doubts += [f"{where}{arm.name}: {caveat}" for arm, caveat in by_arm.items()]
    if doubts:
        return (
            f"{text} Hollow: a masking check failed in some seeds, so the curve may show an attack that fails"
            f" ({'; '.join(doubts)})."
        )
    checked = any(row.checked for each in found for row in _rows(each.data, each.cell, ATTACK))
    return f"{text} Every masking check passed in every seed." if checked else text


def _bars(runs: Sequence[ArmsData], name: str, title: str, group: str) -> Figure | None:
    found = common.panels(runs, lambda data, cell: _rows(data, cell, group))
    if not found:
        return None
    look = common.looks(runs)
    heights = [_height(each, group) + 40 for each in found]
    with sheet(sum(heights) + 60, len(found), ratios=heights, share=(True, False)) as page:
        for axes, each in zip(page.panels, found, strict=True):
            axes.set_title(f"{each.title}: accuracy, %" if each.title else "accuracy, %")
            _bands(page, axes, _rows(each.data, each.cell, group), look)
        arms = [row.arm for each in found for row in _rows(each.data, each.cell, group)]
        common.legend(page, look, arms, line=False)
        caption = _overall_caption(found, group)
        return Figure(name, SECTION, title, caption, _table(runs, group), page.svg(name, title, caption))


def _height(each: Panel, group: str) -> float:
    rows = _rows(each.data, each.cell, group)
    arms, conditions = ({row.arm for row in rows}, {row.condition for row in rows})
    return len(conditions) * (_LINE * len(arms) + _BETWEEN)


def _bands(page: Sheet, axes: Axes, rows: Sequence[DisturbedRow], look: dict[str, str]) -> None:
    """A band for each condition; in it a mean with its interval for each arm."""
    arms: list[Arm] = list(dict.fromkeys(row.arm for row in rows))
    conditions: list[Condition] = list(dict.fromkeys(row.condition for row in rows))
    pitch = _LINE * len(arms) + _BETWEEN
    for order, arm in enumerate(arms):
        own, how = [row for row in rows if row.arm == arm], common.style(look, arm)
        within = ((order + 0.5) * _LINE - _LINE * len(arms) / 2) / pitch
        places = [conditions.index(row.condition) + within for row in own]
        bars = [
            [(100 * low, place), (100 * high, place)]
            for row, place in zip(own, places, strict=True)
            if (low := row.interval.low) is not None and (high := row.interval.high) is not None
        ]
        strands(axes, bars, how.color, width=2.0, alpha=1.0)
        (marks,) = axes.plot(
            [100 * row.interval.mean for row in own], places, marker=how.marker, markersize=5.5, linestyle="none",
            color=hex_of(how.color), markeredgecolor=hex_of("paper"), markeredgewidth=0.5,
        )  # fmt: skip
        page.tip(marks, arm.name)
    axes.autoscale_view()
    for edge in range(1, len(conditions)):
        axes.axhline(edge - 0.5, color=hex_of("grid"), linewidth=0.8, zorder=0.5)
    axes.set_yticks(range(len(conditions)), [_short(condition) for condition in conditions])
    axes.set_ylim(len(conditions) - 0.5, -0.5)
    axes.grid(axis="x", visible=True)
    axes.grid(axis="y", visible=False)


def _short(condition: Condition) -> str:
    if condition.group == FLIPS:
        return "mean" if condition.size is None else f"{100 * condition.size:g} % of bits"
    return condition.words


def _overall_caption(found: Sequence[Panel], group: str) -> str:
    text = "Means over seeds with their 95 % intervals"
    text += ", each the mean over severities." if group == CORRUPTION else ", each the mean over draws of flips."
    for each in found:
        rows = [row for row in _rows(each.data, each.cell, group) if row.condition.overall]
        rows = [row for row in rows if row.condition.name != "noise"]
        said = [f"{row.arm.name} {100 * row.interval.mean:.1f} %" for row in rows]
        text += f" Over all{f', {each.title}' if each.title else ''}: {', '.join(said)}."
    return text


def _table(runs: Sequence[ArmsData], group: str) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            data.label, row.cell, data.places[row.cell], row.arm.name, row.condition.name or None, row.condition.size,
            row.interval.mean, row.interval.low, row.interval.high, row.interval.n, row.caveat or None,
        )
        for data in runs
        for row in data.compared.disturbed_means
        if row.condition.group == group
    ]  # fmt: skip
    names = ("run", "cell", "at", "arm", group.replace(" ", "_"), "size", "accuracy", "low", "high", "seeds", "caveat")
    return Table(names, tuple(rows))
