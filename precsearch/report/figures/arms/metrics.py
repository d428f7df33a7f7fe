"""Arms by metric: every seed, the mean of each arm and its interval, a panel for each cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from precsearch.analysis.arms import ERROR, GAP, LOSS_GAP, NLL, arm_measure
from precsearch.report import words
from precsearch.report.figures.arms import common
from precsearch.report.figures.base import Cell, Figure, Table
from precsearch.report.figures.sheet import sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from precsearch.analysis.arms import MeanRow, Network
    from precsearch.analysis.measures import Measure
    from precsearch.report.arms.reading import ArmsData
    from precsearch.report.figures.arms.common import Panel
    from precsearch.report.figures.sheet import Sheet

SECTION: Final = "Arms"
_PERCENT: Final = {"points": "%"}  # the unit of a level where that of a difference is points
_DIGITS: Final = {"%": 2, "points": 2, "nats": 4}


def error(runs: Sequence[ArmsData]) -> Figure | None:
    """Test error of every arm."""
    return _by_arm(runs, "arms-error", "Test error of every arm", ERROR)


def gap(runs: Sequence[ArmsData]) -> Figure | None:
    """Training less test accuracy of every arm."""
    return _by_arm(runs, "arms-gap", "Gap between training and test accuracy", GAP)


def nll(runs: Sequence[ArmsData]) -> Figure | None:
    """Negative log-likelihood of every arm on the test images."""
    return _by_arm(runs, "arms-nll", "Negative log-likelihood on the test images", NLL)


def loss_gap(runs: Sequence[ArmsData]) -> Figure | None:
    """Test less training loss of every arm."""
    return _by_arm(runs, "arms-loss-gap", "Gap between test and training NLL", LOSS_GAP)


def brier(runs: Sequence[ArmsData]) -> Figure | None:
    """Brier score of every arm."""
    return _by_arm(runs, "arms-brier", "Brier score", "test_brier")


def calibration(runs: Sequence[ArmsData]) -> Figure | None:
    """Expected calibration error of every arm."""
    return _by_arm(runs, "arms-ece", "Expected calibration error", "test_ece")


def _by_arm(runs: Sequence[ArmsData], name: str, title: str, metric: str) -> Figure | None:
    told, look = arm_measure(metric), common.looks(runs)
    unit = "points" if metric == GAP else _PERCENT.get(told.unit, told.unit)
    found = common.panels(runs, lambda data, cell: _rows(data, cell, metric))
    if not found:
        return None
    heights = [common.PITCH * len(_rows(each.data, each.cell, metric)) + common.AROUND for each in found]
    with sheet(sum(heights) + 6, len(found), ratios=heights, share=(True, False)) as page:
        for axes, each in zip(page.panels, found, strict=True):
            axes.set_title(each.title)
            _draw(page, axes, each, told, unit, look)
        page.panels[-1].set_xlabel(", ".join(filter(None, (told.words, unit))))
        caption = _caption(found, metric, told, unit)
        return Figure(name, SECTION, title, caption, _table(runs, metric), page.svg(name, title, caption))


def _rows(data: ArmsData, cell: int, metric: str) -> list[MeanRow]:
    return [row for row in data.compared.means if (row.cell, row.metric) == (cell, metric)]


def _draw(page: Sheet, axes: Axes, each: Panel, told: Measure, unit: str, look: dict[str, str]) -> None:
    rows, digits = _rows(each.data, each.cell, told.metric), _DIGITS.get(unit, 4)
    for place, row in enumerate(rows):
        how = common.style(look, row.arm)
        seeds = {
            network.index: told.scale * network.values[told.metric]
            for network in _networks(each, told.metric)
            if network.arm == row.arm
        }
        common.dots(axes, place, seeds, how.color)
        text = common.interval_text(row.interval, told.scale, digits)
        tip = f"{row.arm.name}: {text} {unit}, {words.count(row.interval.n, 'seed')}".replace(" ,", ",")
        common.mean(page, axes, place, row.interval, told.scale, how, tip)
        common.beside(axes, place, f"{told.scale * row.interval.mean:.{digits}f}")
    common.name_rows(axes, [row.arm.name for row in rows])
    common.level(axes, [told.scale * one.values[told.metric] for one in _networks(each, told.metric)])


def _networks(each: Panel, metric: str) -> list[Network]:
    return [found for found in each.data.compared.networks if found.cell == each.cell and metric in found.values]


def _caption(found: Sequence[Panel], metric: str, told: Measure, unit: str) -> str:
    text = "Faint: each seed. Marks and bars: the mean over seeds and its 95 % interval."
    for each in found:
        rows = _rows(each.data, each.cell, metric)
        best, worst = min(rows, key=lambda row: row.interval.mean), max(rows, key=lambda row: row.interval.mean)
        digits = _DIGITS.get(unit, 4)
        where = f"{each.title}: " if each.title else ""
        low, high = (f"{told.scale * row.interval.mean:.{digits}f} {unit}".rstrip() for row in (best, worst))
        text += f" {where}{best.arm.name} has the lowest mean, {low}" if len(rows) > 1 else f" {where}{low}"
        text += f", {worst.arm.name} the highest, {high}." if len(rows) > 1 else "."
        failed = {row.arm.name: row.failed for row in rows if row.failed}
        text += f" Failed: {', '.join(f'{count} of {arm}' for arm, count in failed.items())}." if failed else ""
    return text


def _table(runs: Sequence[ArmsData], metric: str) -> Table:
    """A row for each seed, and with no seed one for the mean and its interval."""
    rows: list[tuple[Cell, ...]] = []
    for data in runs:
        for row in data.compared.means:
            if row.metric == metric:
                start = (data.label, row.cell, data.places[row.cell], row.arm.name)
                rows += [
                    (*start, each.index, each.values[metric], None, None, None, None)
                    for each in data.compared.networks
                    if (each.cell, each.arm) == (row.cell, row.arm) and metric in each.values
                ]
                found = row.interval
                rows.append((*start, None, found.mean, found.low, found.high, found.n, row.failed))
    return Table(("run", "cell", "at", "arm", "seed", metric, "low", "high", "seeds", "failed"), tuple(rows))
