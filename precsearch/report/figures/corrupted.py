"""Accuracy on corrupted images and with flipped weight bits, the arms beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from precsearch.analysis.robustness import OVERALL, corruption_rows, flip_rows
from precsearch.report.figures import chosen
from precsearch.report.figures.attacks import SECTION
from precsearch.report.figures.base import Cell, Figure, Table
from precsearch.report.figures.marks import curve, square
from precsearch.report.figures.palette import arm_style, hex_of
from precsearch.report.figures.sheet import key, sheet
from precsearch.report.figures.svg import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from precsearch.report.figures.sheet import Sheet
    from precsearch.report.reading import RunData, Trained

_BAR: Final = 8.0
_BETWEEN: Final = 9.0
_PANEL: Final = 180.0
_MOST_TICKS: Final = 6
_corrupted = chosen.evaluated(lambda evaluation: evaluation.corruptions)
_flipped = chosen.evaluated(lambda evaluation: evaluation.bit_flips)
_Arms = list[tuple["RunData", list["Trained"]]]


def corruption_bars(runs: Sequence[RunData]) -> Figure | None:
    """Accuracy by corruption, mean over severities."""
    arms: _Arms = [
        (run, chosen.beside(run, best, _corrupted)) for run in runs if (best := chosen.shown(run, _corrupted))
    ]
    if not arms:
        return None
    heights = [len(_names(own)) * (_BAR * len(own) + _BETWEEN) + 44 for _, own in arms]
    with sheet(sum(heights) + 24, len(arms), ratios=heights) as page:
        for axes, (run, networks) in zip(page.panels, arms, strict=True):
            axes.set_title(printable(f"{run.label}: accuracy, %" if len(runs) > 1 else "accuracy, %"))
            _bars(page, axes, networks)
        every = dict.fromkeys(each.arm for _, networks in arms for each in networks)
        page.legend([(square(arm_style(arm).color), arm) for arm in every])
        caption = _corruption_caption(runs, arms)
        name, title = "corruptions", "Accuracy on corrupted images"
        return Figure(name, SECTION, title, caption, _corruption_table(runs), page.svg(name, title, caption))


def bit_flips(runs: Sequence[RunData]) -> Figure | None:
    """Accuracy against the rate at which bits of the packed weights flip."""
    arms: _Arms = [(run, chosen.beside(run, best, _flipped)) for run in runs if (best := chosen.shown(run, _flipped))]
    if not arms:
        return None
    with sheet(_PANEL * len(arms) + 50, len(arms), share=(True, True)) as page:
        for axes, (run, networks) in zip(page.panels, arms, strict=True):
            axes.set_title(printable(f"{run.label}: accuracy, %" if len(runs) > 1 else "accuracy, %"))
            _flip_curves(axes, networks)
        page.panels[-1].set_xlabel("bits that flip, %")
        page.legend([(key(arm), arm) for arm in dict.fromkeys(each.arm for _, own in arms for each in own)])
        caption = (
            f"Random bits of the packed weights are flipped; bars reach from the worst to the best draw. Found:"
            f" {chosen.which([run for run, _ in arms], [own[0] for _, own in arms])}."
        )
        rows: list[tuple[Cell, ...]] = [
            (run.label, row.of.number, row.of.arm, row.rate, row.accuracy.mean, row.worst, row.best, row.accuracy.n)
            for run in runs
            for row in flip_rows(chosen.measured((*run.front, *run.baselines)))
        ]
        table = Table(("run", "trial", "arm", "rate", "accuracy", "worst", "best", "draws"), tuple(rows))
        name, title = "bit-flips", "Accuracy with flipped weight bits"
        return Figure(name, SECTION, title, caption, table, page.svg(name, title, caption))


def _names(networks: Sequence[Trained]) -> list[str]:
    found = [each for trained in networks if trained.evaluation for each in trained.evaluation.corruptions]
    return list(dict.fromkeys(each.corruption for each in found))


def _means(trained: Trained) -> dict[str, float]:
    """Corruption, and `OVERALL` -> accuracy, mean over severities."""
    rows = corruption_rows(chosen.measured([trained]))
    return {row.corruption: row.accuracy for row in rows if row.severity is None}


def _bars(page: Sheet, axes: Axes, networks: Sequence[Trained]) -> None:
    names = _names(networks)
    pitch = _BAR * len(networks) + _BETWEEN
    for order, trained in enumerate(networks):
        means = _means(trained)
        for group, name in enumerate(names):
            if name in means:
                place = group + ((order + 0.5) * _BAR - _BAR * len(networks) / 2) / pitch
                color = hex_of(arm_style(trained.arm).color)
                (bar,) = axes.barh(place, 100 * means[name], height=0.82 * _BAR / pitch, color=color, linewidth=0)
                page.tip(bar, f"{trained.arm}, {_words(name)}: {100 * means[name]:.1f} %")
    axes.set_yticks(range(len(names)), [_words(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.grid(axis="x", visible=True)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(True)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="x", length=0)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _corruption_caption(runs: Sequence[RunData], arms: _Arms) -> str:
    first = [networks[0] for _, networks in arms]
    text = f"Mean over the severities. Found: {chosen.which([run for run, _ in arms], first)}."
    for run, networks in arms:
        overall = [(each.arm, _means(each)[OVERALL]) for each in networks if _means(each)]
        said = [f"{arm} {100 * accuracy:.1f} %" for arm, accuracy in overall]
        text += f" Over all corruptions{f' of {run.label}' if len(runs) > 1 else ''}: {', '.join(said)}."
    return text


def _corruption_table(runs: Sequence[RunData]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (run.label, row.of.number, row.of.arm, row.corruption, row.severity, row.accuracy)
        for run in runs
        for row in corruption_rows(chosen.measured((*run.front, *run.baselines)))
    ]
    return Table(("run", "trial", "arm", "corruption", "severity", "accuracy"), tuple(rows))


def _flip_curves(axes: Axes, networks: Sequence[Trained]) -> None:
    rates: set[float] = set()
    for trained in reversed(networks):
        flips = flip_rows(chosen.measured([trained]))
        xs = [100 * row.rate for row in flips]
        rates.update(xs)
        means = [100 * row.accuracy.mean for row in flips]
        low, high = [100 * row.worst for row in flips], [100 * row.best for row in flips]
        color = hex_of(arm_style(trained.arm).color)
        axes.vlines(xs, low, high, color=color, linewidth=3.2, alpha=0.3)
        curve(axes, xs, means, trained.arm)
    least = min((rate for rate in rates if rate > 0), default=1.0)
    axes.set_xscale("symlog", linthresh=least, linscale=0.4)
    ticks = sorted(rates)
    axes.set_xticks(
        ticks[:: -(-len(ticks) // _MOST_TICKS)], [f"{tick:g}" for tick in ticks][:: -(-len(ticks) // _MOST_TICKS)]
    )
    axes.set_xlim(0 if 0 in rates else least / 1.5, max(ticks) * 1.4 or 1.0)
    axes.set_ylim(0, 100)
