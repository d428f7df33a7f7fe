"""Which searched parameters matter, and which way: importance and partial dependence of a surrogate, row by row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from precsearch.report import words
from precsearch.report.figures.base import Cell, Figure, Table
from precsearch.report.figures.marks import cloud, limits, unit
from precsearch.report.figures.palette import hex_of
from precsearch.report.figures.parallel import SECTION
from precsearch.report.figures.sheet import sheet, shortened
from precsearch.report.figures.svg import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from precsearch.analysis.importance import Importance, Importances
    from precsearch.analysis.surrogate import Dependence
    from precsearch.report.reading import RunData
    from precsearch.results import TrialRecord

_ROW: Final = 82.0
_MOST: Final = 3  # parameters drawn of each objective; the table has all
_MOST_CHOICES: Final = 3
_MOST_TRIALS: Final = 200
_PERCENT: Final = 100.0


def importances(runs: Sequence[RunData]) -> Figure | None:
    """For each objective the parameters that matter most: how much, and what the surrogate predicts along them."""
    from precsearch.analysis.importance import parameter_importances

    found = [
        (run, parameter_importances(_sampled(run), run.experiment.space, goal.metric, goal.direction))
        for run in runs
        for goal in run.experiment.study.objectives
    ]
    found = [(run, each) for run, each in found if each.importances]
    if not found:
        return None
    rows = [(run, each, place) for run, each in found for place in range(min(_MOST, len(each.importances)))]
    with sheet(_ROW * len(rows) + 14, len(rows), 2) as page:
        page.drawing.axes[0].get_gridspec().set_width_ratios([1, 1.5])  # type: ignore[union-attr]
        most = max(each.importances[0].drop for _, each in found)
        for index, (run, each, place) in enumerate(rows):
            left, right = page.panels[2 * index : 2 * index + 2]
            where = f"{run.label}: " if len(runs) > 1 and place == 0 else ""
            _bar(left, each.importances[place], max(most, 0.01), each.believed)
            _along(right, run, each, each.dependences[place])
            if place == 0:
                right.set_title(printable(where + _unit(each, run)[1]))
        caption = _caption(found, len(runs) > 1)
        name, title = "importances", "Which searched parameters matter"
        return Figure(name, SECTION, title, caption, _table(found), page.svg(name, title, caption))


def _sampled(run: RunData) -> list[TrialRecord]:
    """Every so many trials where there are many: a forest of them all takes seconds and knows little more."""
    return [each.record for each in run.trials[:: -(-len(run.trials) // _MOST_TRIALS) or 1]]


def _bar(axes: Axes, importance: Importance, most: float, believed: bool) -> None:
    drop = max(0.0, importance.drop)
    color = hex_of("found" if believed else "muted")
    axes.barh(0, drop, height=0.3, color=color, alpha=1.0 if believed else 0.4, linewidth=0)
    axes.text(drop + 0.04 * most, 0, f"{importance.drop:.2f}", va="center_baseline", color=hex_of("ink"))
    axes.set_xlim(0, 1.4 * most)
    axes.set_ylim(-0.6, 0.6)
    axes.set_title(printable(shortened(importance.param.removeprefix("inner."), 23)))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines["left"].set_visible(True)
    axes.spines["bottom"].set_visible(False)


def _unit(importances: Importances, run: RunData) -> tuple[float, str]:
    """What to multiply the metric by, and what it then is."""
    metric = importances.metric
    largest = max(abs(each.record.metrics.get(metric, 0.0)) for each in run.trials)
    if metric.endswith("accuracy"):
        return _PERCENT, f"{metric.replace('_', ' ')}, %"
    if metric in {"model_size", "activation_memory"}:
        factor, prefix = unit(largest)
        return 1 / factor, f"{metric.replace('_', ' ')}, {prefix}B"
    factor, prefix = unit(largest) if metric == "bitops" else (1.0, "")
    return 1 / factor, ", ".join(filter(None, (words.metric_header(metric), prefix)))


def _along(axes: Axes, run: RunData, importances: Importances, dependence: Dependence) -> None:
    """What the surrogate predicts along one parameter, over the trials; heights as for every other parameter."""
    times, _ = _unit(importances, run)
    choices = [str(value) for value in dependence.values] if dependence.scale == "choices" else []
    measured = [record for record in _sampled(run) if importances.metric in record.metrics]

    def place(value: Any) -> float:
        if choices:
            return float(choices.index(str(value)))
        return math.log10(value) if dependence.scale == "log" else float(value)

    points = [
        (place(record.params[dependence.param]), times * record.metrics[importances.metric])
        for record in measured
        if dependence.param in record.params and (not choices or str(record.params[dependence.param]) in choices)
    ]
    line = [(place(value), times * y) for value, y in zip(dependence.values, dependence.predicted, strict=True)]
    cloud(axes, points, "muted", size=3.0, alpha=0.3)
    color = hex_of("found" if importances.believed else "muted")
    axes.plot(*zip(*line, strict=True), color=color, linewidth=2.0, marker="o" if choices else "")
    predicted = [times * y for each in importances.dependences for y in each.predicted]
    heights = [times * record.metrics[importances.metric] for record in measured]
    axes.set_ylim(*limits(predicted, [*heights, *predicted]))
    axes.locator_params(axis="y", nbins=4)
    every = -(-len(choices) // _MOST_CHOICES) if choices else max(1, len(line) - 1)
    shown = range(0, len(line), every)
    texts = [shortened(choices[at], 12) if choices else f"{dependence.values[at]:.2g}" for at in shown]
    axes.set_xticks([line[at][0] for at in shown], texts)
    if choices:
        axes.set_xlim(-0.5, len(choices) - 0.5)


def _caption(found: Sequence[tuple[RunData, Importances]], several: bool) -> str:
    text = (
        "Bars: how much of its R2 a random forest loses on unseen trials when that parameter is shuffled."
        " Lines: what it predicts along the parameter, all else as tried; faint: the trials."
    )
    for run, each in found:
        where = f" of {run.label}" if several else ""
        name = words.metric_header(each.metric).replace("%", "accuracy")
        trials = words.count(each.trials, "trial") + _of_all(run)
        text += f" {name[0].upper()}{name[1:]}{where}: R2 {each.r2:.2f} on {trials}."
        text += f" {each.message}" if each.message else ""
    return text


def _of_all(run: RunData) -> str:
    return "" if len(_sampled(run)) == len(run.trials) else f" of {len(run.trials):,}"


def _table(found: Sequence[tuple[RunData, Importances]]) -> Table:
    """Every parameter with its importance, then a row for each point of its dependence."""
    rows: list[tuple[Cell, ...]] = []
    for run, each in found:
        for importance, dependence in zip(each.importances, each.dependences, strict=True):
            start = (run.label, each.metric, importance.param)
            rows.append((*start, importance.drop, importance.share, importance.trials, each.r2, None, None))
            rows += [
                (
                    *start,
                    None,
                    None,
                    None,
                    None,
                    value if isinstance(value, int | float | str) else str(value),
                    predicted,
                )
                for value, predicted in zip(dependence.values, dependence.predicted, strict=True)
            ]
    return Table(("run", "metric", "param", "drop", "share", "trials", "r2", "value", "predicted"), tuple(rows))
