"""Trials as points: a metric against a cost, with the front, its best trial and the baselines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from precsearch.report import words
from precsearch.report.figures import chosen
from precsearch.report.figures.base import Figure, Table
from precsearch.report.figures.marks import cloud, limits
from precsearch.report.figures.palette import arm_style, hex_of, run_color
from precsearch.report.figures.sheet import Sheet, key, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from precsearch.report.reading import RunData, Trained

Value = Callable[["Trained"], float | None]
_HEIGHT: Final = 270.0
_LEFT: Final = 0.12  # share of the axis in which a label goes to the right of its point


@dataclass(frozen=True)
class Plane:
    """What a scatter is of.

    Attributes:
        name: of the figure.
        section: of the report.
        title: of the figure.
        x: horizontal value of a network, in the unit of `x_label`; None leaves it out.
        y: vertical value, likewise.
        x_label: what x is, with its unit.
        y_label: what y is, with its unit.
        columns: names of the two in the table.
        raw: x and y as they were measured, for the table.
        joined: which trials a line joins, of those of one run.
    """

    name: str
    section: str
    title: str
    x: Value
    y: Value
    x_label: str
    y_label: str
    columns: tuple[str, str]
    raw: tuple[Value, Value]
    joined: Callable[[RunData], Sequence[Trained]] = lambda run: ()


def scatter(runs: Sequence[RunData], plane: Plane, caption: Callable[[int], str]) -> Figure | None:
    """The figure; None where no trial has both values.

    Args:
        runs: of the report.
        plane: what to draw.
        caption: from the number of networks that lie outside the axes.
    """
    trials = [(run, each) for run in runs for each in run.trials if _placed(plane, each)]
    beside = [(run, each) for run in runs for each in run.baselines if plane.y(each) is not None]
    if not trials:
        return None
    with sheet(_HEIGHT + 14 * (len(runs) > 1) * len(runs)) as page:
        axes = page.panels[0]
        outside = _scale(axes, plane, runs, trials, beside)
        for index, run in enumerate(runs):
            _draw(page, plane, run, run_color(index) if len(runs) > 1 else None)
        axes.set_xlabel(plane.x_label)
        axes.set_title(plane.y_label)
        page.legend(_legend(runs, plane, [each for _, each in beside]))
        table = _table(runs, plane, trials + beside)
        text = caption(outside)
        return Figure(plane.name, plane.section, plane.title, text, table, page.svg(plane.name, plane.title, text))


def _placed(plane: Plane, trained: Trained) -> bool:
    return plane.x(trained) is not None and plane.y(trained) is not None


def _scale(
    axes: Axes,
    plane: Plane,
    runs: Sequence[RunData],
    trials: Sequence[tuple[RunData, Trained]],
    beside: Sequence[tuple[RunData, Trained]],
) -> int:
    """Set the limits; returns how many trials lie outside them, being far worse or better than the rest."""
    across = [x for _, each in (*trials, *beside) if each.arm != chosen.FLOAT and (x := plane.x(each)) is not None]
    room = 0.05 * (max(across) - min(across)) or 0.05 * abs(across[0]) or 1.0
    axes.set_xlim(min(across) - room, max(across) + room)
    members = [each for run in runs for each in run.front] + [each for _, each in beside if each.arm != "random"]
    matters = [y for each in members if (y := plane.y(each)) is not None]
    low, high = limits(matters, [y for _, each in (*trials, *beside) if (y := plane.y(each)) is not None])
    axes.set_ylim(low, high)
    return sum(not low <= (plane.y(each) or 0.0) <= high for _, each in trials)


def _draw(page: Sheet, plane: Plane, run: RunData, color: str | None) -> None:
    """One run's points; `color` where runs are told apart by it."""
    axes = page.panels[0]
    placed = [each for each in run.trials if _placed(plane, each)]
    cloud(axes, [_point(plane, each) for each in placed], color or "muted")
    line = sorted(_point(plane, each) for each in plane.joined(run) if _placed(plane, each))
    if line:
        axes.plot(*zip(*line, strict=True), color=hex_of(color or "found"), drawstyle="steps-post", zorder=2.5)
    for each in run.baselines:
        if each.arm == chosen.FLOAT:
            continue
        if _placed(plane, each):
            _mark(page, plane, run, each, color)
    for each in _one_float(run, plane):
        _level(axes, plane, each, color)
    for each in run.front:
        if _placed(plane, each):
            _mark(page, plane, run, each, color)
    best = chosen.best(run)
    if best is not None and _placed(plane, best):
        _ring(axes, plane, best, color)


def _point(plane: Plane, trained: Trained) -> tuple[float, float]:
    return plane.x(trained) or 0.0, plane.y(trained) or 0.0


def _mark(page: Sheet, plane: Plane, run: RunData, trained: Trained, color: str | None) -> None:
    style = arm_style(trained.arm)
    found = trained.arm == "found"
    (mark,) = page.panels[0].plot(
        *([each] for each in _point(plane, trained)),
        marker=style.marker,
        color=hex_of(color or style.color),
        markersize=6.5 if found else 5.5,
        markeredgecolor=hex_of("paper"),
        markeredgewidth=0.8,
        linestyle="none",
        zorder=4 if found else 3,
    )
    page.tip(mark, _tip(run, trained))


def _tip(run: RunData, trained: Trained) -> str:
    metrics = trained.record.metrics
    kept = [chosen.ACCURACY, "bitops", "model_size", "generalization_gap"]
    said = [
        f"{words.metric_header(metric)} {words.metric_text(metric, metrics[metric])}"
        for metric in kept
        if metric in metrics
    ]
    return ", ".join([f"{run.label}: {chosen.told(trained)}", *said])


def _one_float(run: RunData, plane: Plane) -> list[Trained]:
    return [each for each in run.baselines if each.arm == chosen.FLOAT and plane.y(each) is not None][:1]


def _level(axes: Axes, plane: Plane, trained: Trained, color: str | None) -> None:
    """A float network as a line: what it costs would leave little room for everything else."""
    height = plane.y(trained) or 0.0
    style = arm_style(chosen.FLOAT)
    axes.axhline(height, color=hex_of(color or style.color), linestyle=style.dashes, linewidth=1.1, zorder=1.5)


def _ring(axes: Axes, plane: Plane, trained: Trained, color: str | None) -> None:
    """A ring around the best; of one run the word as well, above the front where nothing else is."""
    x, y = _point(plane, trained)
    axes.plot([x], [y], marker="o", markersize=11, markerfacecolor="none", color=hex_of(color or "found"), zorder=5)
    if color is None:
        low, high = axes.get_xlim()
        left = (x - low) / (high - low) < _LEFT
        away = (-6, 9) if left else (-9, 5)
        side: Literal["left", "right"] = "left" if left else "right"
        axes.annotate("best", (x, y), xytext=away, textcoords="offset points", ha=side, color=hex_of("ink"), zorder=6)


def _legend(runs: Sequence[RunData], plane: Plane, beside: Sequence[Trained]) -> list[tuple[Any, str]]:
    arms = dict.fromkeys(["found", *(each.arm for each in beside)])
    ordered = [arm for arm in chosen.ARMS if arm in arms] + [arm for arm in arms if arm not in chosen.ARMS]
    several = len(runs) > 1
    joined = any(plane.joined(run) for run in runs)
    names = {"found": "found (front)"}
    entries = [
        (
            key(arm, "muted" if several else None, line=arm == chosen.FLOAT or (arm == "found" and joined)),
            names.get(arm, arm),
        )
        for arm in ordered
    ]
    labels = [(key("found", run_color(index)), run.label) for index, run in enumerate(runs)] if several else []
    return [*labels, *entries]


def _table(runs: Sequence[RunData], plane: Plane, networks: Sequence[tuple[RunData, Trained]]) -> Table:
    joined = {(run.label, each.record.number) for run in runs for each in plane.joined(run)}
    members = {(run.label, each.record.number) for run in runs for each in run.front}
    rows = tuple(
        (
            run.label,
            each.record.number,
            each.arm,
            *(value(each) for value in plane.raw),
            chosen.average_bits(each),
            int(each.arm == "found" and (run.label, each.record.number) in members),
            int(each.arm == "found" and (run.label, each.record.number) in joined),
        )
        for run, each in networks
    )
    names = tuple(dict.fromkeys((*plane.columns, "average_bits")))
    if len(names) < len(plane.columns) + 1:  # average bits are an axis already
        rows = tuple((*row[:5], *row[6:]) for row in rows)
    return Table(("run", "trial", "arm", *names, "on_front", "on_line"), rows)
