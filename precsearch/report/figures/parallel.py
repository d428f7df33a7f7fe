"""Every trial as one line through what was searched, the bits it came to, and the objectives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from precsearch.report import words
from precsearch.report.figures import chosen
from precsearch.report.figures.base import Cell, Figure, Table
from precsearch.report.figures.marks import strands
from precsearch.report.figures.palette import hex_of
from precsearch.report.figures.sheet import sheet, shortened
from precsearch.report.figures.svg import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from precsearch.report.figures.sheet import Sheet
    from precsearch.report.reading import RunData, Trained
    from precsearch.space import Dimension

SECTION: Final = "Outer search"
_PITCH: Final = 36.0
_MOST_STRANDS: Final = 300
_MOST_FRONT: Final = 40
_MOST_CHOICES: Final = 4
_NAME: Final = 18
_BITS: Final = "average bits"


@dataclass(frozen=True)
class _Scale:
    """One axis.

    Attributes:
        name: what lies on it.
        note: what the drawing adds to the name.
        place: where a trial lies on it, 0 to 1; None where it has no value.
        value: of a trial, as it was chosen or measured.
        marks: (place, text) to read it by.
    """

    name: str
    note: str
    place: Callable[[Trained], float | None]
    value: Callable[[Trained], Cell]
    marks: tuple[tuple[float, str], ...]


def parallel(runs: Sequence[RunData]) -> Figure | None:
    """Parallel coordinates, their axes one below the other so that names are readable on a phone."""
    picked = [(run, scales) for run in runs if (scales := _scales(run))]
    if not picked:
        return None
    heights = [_PITCH * len(scales) for _, scales in picked]
    with sheet(sum(heights) + 24 * len(picked) + 20, len(picked), ratios=heights) as page:
        for axes, (run, scales) in zip(page.panels, picked, strict=True):
            if len(runs) > 1:
                axes.set_title(printable(run.label))
            _draw(page, axes, run, scales)
        page.legend(_legend())
        caption = _caption(picked)
        name, title = "parallel", "Searched parameters, bits and objectives"
        return Figure(name, SECTION, title, caption, _table(picked), page.svg(name, title, caption))


def _scales(run: RunData) -> list[_Scale]:
    """Axes of what was searched, then average bits, then the objectives; none without a complete trial."""
    if not run.trials:
        return []
    found = [_searched(path, dimension) for path, dimension in run.experiment.space.items()]
    metrics = [objective.metric for objective in run.experiment.study.objectives]
    if not any(metric.startswith("average_bits") for metric in metrics):
        found.append(_measured(run, _BITS, chosen.average_bits, "average_bits"))
    found += [_measured(run, words.metric_header(metric), _metric(metric), metric) for metric in metrics]
    return [scale for scale in found if any(scale.place(each) is not None for each in run.trials)]


def _metric(name: str) -> Callable[[Trained], float | None]:
    return lambda trained: trained.record.metrics.get(name)


def _searched(path: str, dimension: Dimension) -> _Scale:
    name = path.removeprefix("inner.")

    def value(trained: Trained) -> Any:
        return trained.record.params.get(path)

    if dimension.type == "categorical":
        choices = [str(choice) for choice in dimension.choices]
        step = 1 / max(1, len(choices) - 1)

        def among(trained: Trained) -> float | None:
            found = str(value(trained))
            return choices.index(found) * step if path in trained.record.params and found in choices else None

        shown = range(0, len(choices), -(-len(choices) // _MOST_CHOICES))
        marks = tuple((at * step, shortened(choices[at], 14)) for at in shown)
        return _Scale(name, "", among, lambda trained: None if value(trained) is None else str(value(trained)), marks)

    low, high = (math.log(end) if dimension.log else float(end) for end in (dimension.low, dimension.high))

    def between(trained: Trained) -> float | None:
        found = value(trained)
        return None if found is None else _share(math.log(found) if dimension.log else found, low, high)

    marks = tuple((at, f"{end:g}") for at, end in ((0.0, dimension.low), (1.0, dimension.high)))
    return _Scale(name, " (log)" if dimension.log else "", between, value, marks)


def _measured(run: RunData, name: str, value: Callable[[Trained], float | None], metric: str) -> _Scale:
    found = [each for trained in run.trials if (each := value(trained)) is not None]
    low, high = min(found, default=0.0), max(found, default=0.0)

    def place(trained: Trained) -> float | None:
        measured = value(trained)
        return None if measured is None else _share(measured, low, high)

    ends = ((0.0, low), (1.0, high)) if high > low else ((0.5, low),)
    return _Scale(name, "", place, value, tuple((at, words.metric_text(metric, end).strip()) for at, end in ends))


def _share(value: float, low: float, high: float) -> float:
    """Where `value` lies between the ends; a trial that was given its own point may lie outside."""
    return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.5


def _line(trained: Trained, scales: Sequence[_Scale]) -> list[tuple[float, float]]:
    """Through every axis that the trial has a value on."""
    places = ((scale.place(trained), float(row)) for row, scale in enumerate(scales))
    return [(place, row) for place, row in places if place is not None]


def _draw(page: Sheet, axes: Axes, run: RunData, scales: Sequence[_Scale]) -> None:
    step = -(-len(run.trials) // _MOST_STRANDS)
    strands(axes, [_line(each, scales) for each in run.trials[::step]], "muted", alpha=0.28)
    best = chosen.best(run)
    for each in _members(run):
        if each is not best:
            (line,) = axes.plot(
                *zip(*_line(each, scales), strict=True), color=hex_of("found"), linewidth=1.1, alpha=0.75
            )
            page.tip(line, f"{run.label}: {chosen.told(each)}")
    if best is not None:
        (line,) = axes.plot(
            *zip(*_line(best, scales), strict=True),
            color=hex_of("uniform"), marker="o", markersize=4.5, linewidth=2.2,
        )  # fmt: skip
        page.tip(line, f"{run.label}: {chosen.told(best)}")
    _axes(axes, scales)


def _members(run: RunData) -> Sequence[Trained]:
    return run.front[:: -(-len(run.front) // _MOST_FRONT) or 1]


def _axes(axes: Axes, scales: Sequence[_Scale]) -> None:
    for row, scale in enumerate(scales):
        axes.axhline(row, color=hex_of("axis"), linewidth=0.8, zorder=1)
        for at, text in scale.marks:
            side = "left" if at < 0.2 else "right" if at > 0.8 else "center"  # noqa: PLR2004
            axes.annotate(
                printable(text), (at, row), xytext=(0, -3), textcoords="offset points", ha=side, va="top",
                color=hex_of("muted"), zorder=6,
                bbox={"facecolor": hex_of("paper"), "alpha": 0.75, "edgecolor": "none", "pad": 0.5},
            )  # fmt: skip
    axes.set_yticks(range(len(scales)), [_label(scale) for scale in scales])
    axes.set_ylim(len(scales) - 0.4, -0.25)
    axes.set_xlim(-0.015, 1.015)
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)


def _label(scale: _Scale) -> str:
    """Its name in a margin, a long one broken at its last dot."""
    path, dot, last = scale.name.rpartition(".")
    lines = [path + dot, last] if len(scale.name) > _NAME and dot else [scale.name]
    return "\n".join(printable(shortened(line, _NAME)) for line in lines) + scale.note


def _legend() -> list[tuple[Any, str]]:
    from matplotlib.lines import Line2D

    looks: list[tuple[str, dict[str, Any]]] = [
        ("best", {"color": hex_of("uniform"), "marker": "o", "markersize": 4.5, "linewidth": 2.2}),
        ("front", {"color": hex_of("found"), "linewidth": 1.1}),
        ("other trials", {"color": hex_of("muted"), "alpha": 0.5, "linewidth": 0.8}),
    ]
    return [(Line2D([], [], **look), name) for name, look in looks]


def _caption(picked: Sequence[tuple[RunData, Sequence[_Scale]]]) -> str:
    text = "A line is a trial; low values are on the left of each axis."
    for run, _ in picked:
        trials, front = len(run.trials), len(run.front)
        drawn = len(run.trials[:: -(-trials // _MOST_STRANDS)])
        members = len(_members(run))
        where = f" of {run.label}" if len(picked) > 1 else ""
        kept = "" if drawn == trials else f" {drawn} of them drawn,"
        sampled = "" if members == front else f" ({members} of them drawn)"
        text += f" {words.count(trials, 'complete trial')}{where},{kept} {front} on the front{sampled}."
    return text


def _table(picked: Sequence[tuple[RunData, Sequence[_Scale]]]) -> Table:
    """A row for each complete trial, by the names of the axes of any run."""
    names = list(dict.fromkeys(scale.name for _, scales in picked for scale in scales))
    rows: list[tuple[Cell, ...]] = []
    for run, scales in picked:
        members = {each.record.number for each in run.front}
        own = {scale.name: scale for scale in scales}
        rows += [
            (
                run.label,
                each.record.number,
                int(each.record.number in members),
                *(own[name].value(each) if name in own else None for name in names),
            )
            for each in run.trials
        ]
    return Table(("run", "trial", "on_front", *names), tuple(rows))
