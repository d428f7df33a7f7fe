"""What was tuned for each arm before it was compared: every combination that was tried, and the one chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from precsearch.analysis.measures import measure
from precsearch.report import words
from precsearch.report.figures.arms import common
from precsearch.report.figures.base import Cell, Figure, Table
from precsearch.report.figures.palette import arm_style, hex_of
from precsearch.report.figures.sheet import key, sheet
from precsearch.report.figures.svg import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from precsearch.report.arms.reading import ArmsData, TunedArm
    from precsearch.report.figures.arms.common import Panel
    from precsearch.report.figures.sheet import Sheet

SECTION: Final = "Tuning"
_PANEL: Final = 150.0
_FEW: Final = 6  # combinations whose settings stand at the axis


def tuned_settings(runs: Sequence[ArmsData]) -> Figure | None:
    """The metric that chose against the combinations: a line for each arm, a ring around what was chosen."""
    found = common.panels(runs, _tuned)
    if not found:
        return None
    with sheet(_PANEL * len(found) + 60, len(found)) as page:
        for axes, each in zip(page.panels, found, strict=True):
            told = measure(each.data.tuned.metric if each.data.tuned is not None else "")
            unit = "%" if told.unit == "points" else told.unit
            axes.set_title(printable(f"{each.title}: {told.words}, {unit}" if each.title else f"{told.words}, {unit}"))
            _draw(page, axes, each, told.scale)
        arms = dict.fromkeys((each.data.compared.kinds.get(row.arm, row.arm), row.arm)
                             for each in found for row in _tuned(each.data, each.cell))  # fmt: skip
        page.legend([(key(kind), arm) for kind, arm in arms])
        seeds = " or ".join(dict.fromkeys(words.count(data.tuned.seeds, "seed") for data in runs if data.tuned))
        caption = (
            f"The mean over {seeds} of their own for every arm and combination, on validation images; ringed: chosen,"
            " and kept for all trainings of that arm in that cell. No test image was read."
        )
        name, title = "tuning", "What was tuned for each arm"
        return Figure(name, SECTION, title, caption, _table(runs), page.svg(name, title, caption))


def _tuned(data: ArmsData, cell: int) -> list[TunedArm]:
    rows = data.tuned.arms if data.tuned is not None else ()
    return [row for row in rows if row.cell == cell and any(each.mean is not None for each in row.tried)]


def _draw(page: Sheet, axes: Axes, each: Panel, scale: float) -> None:
    rows = _tuned(each.data, each.cell)
    combinations = _combinations(rows)
    for row in rows:
        how = arm_style(each.data.compared.kinds.get(row.arm, row.arm))
        color = hex_of(how.color)
        at = [(combinations.index(tried.params), tried) for tried in row.tried if tried.mean is not None]
        heights = [scale * (tried.mean or 0.0) for _, tried in at]
        (line,) = axes.plot(
            [x for x, _ in at], heights, color=color, marker=how.marker, linestyle=how.dashes, linewidth=1.2
        )
        page.tip(line, row.arm)
        for (x, tried), height in zip(at, heights, strict=True):
            if tried.params == row.chosen:
                axes.plot([x], [height], marker="o", markersize=10, markerfacecolor="none", color=color)
    few = len(combinations) <= _FEW
    labels = [_short(each) for each in combinations] if few else [str(at + 1) for at in range(len(combinations))]
    axes.set_xticks(range(len(combinations)), [printable(label) for label in labels])
    axes.set_xlim(-0.5, len(combinations) - 0.5)
    paths = dict.fromkeys(path for each in combinations for path in each)
    named = ", ".join(path.removeprefix("inner.") for path in paths)
    axes.set_xlabel(printable(named if few else f"combinations of {named}, in order"))


def _combinations(rows: Sequence[TunedArm]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for row in rows:
        found += [tried.params for tried in row.tried if tried.params not in found]
    return found


def _short(params: dict[str, Any]) -> str:
    return "\n".join(f"{value:.4g}" if isinstance(value, float) else str(value) for value in params.values())


def _table(runs: Sequence[ArmsData]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (data.label, row.cell, data.places[row.cell], row.arm, words.params_text(tried.params), tried.mean,
         int(tried.params == row.chosen))
        for data in runs
        for row in (data.tuned.arms if data.tuned is not None else ())
        for tried in row.tried
    ]  # fmt: skip
    return Table(("run", "cell", "at", "arm", "settings", "mean", "chosen"), tuple(rows))
