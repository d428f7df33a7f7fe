"""Whether probabilities mean what they say: the reliability diagram."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from precsearch.report.figures import chosen
from precsearch.report.figures.base import Cell, Figure, Table
from precsearch.report.figures.marks import curve
from precsearch.report.figures.palette import hex_of
from precsearch.report.figures.sheet import key, sheet
from precsearch.report.figures.svg import printable
from precsearch.report.figures.tradeoff import GENERALIZATION

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from precsearch.report.reading import RunData, Trained

_PANEL: Final = 290.0
_FEWEST: Final = 5  # images of a bin that is drawn
_has = chosen.evaluated(lambda evaluation: any(each.count >= _FEWEST for each in evaluation.calibration.bins))


def reliability(runs: Sequence[RunData]) -> Figure | None:
    """Accuracy against confidence, and how many images are in each bin."""
    arms = [(run, chosen.beside(run, best, _has)) for run in runs if (best := chosen.shown(run, _has)) is not None]
    if not arms:
        return None
    with sheet(_PANEL * len(arms) + 20, 2 * len(arms), ratios=[4, 1] * len(arms)) as page:
        for index, (run, networks) in enumerate(arms):
            upper, lower = page.panels[2 * index : 2 * index + 2]
            where = f"{run.label}: " if len(runs) > 1 else ""
            upper.set_title(printable(f"{where}right answers, %"))
            _diagram(upper, networks)
            _counts(lower, networks[0])
        page.legend([(key(arm), arm) for arm in dict.fromkeys(each.arm for _, own in arms for each in own)])
        caption = _caption(runs, arms)
        name, title = "reliability", "Reliability of the probabilities"
        return Figure(name, GENERALIZATION, title, caption, _table(runs), page.svg(name, title, caption))


def _diagram(axes: Axes, networks: Sequence[Trained]) -> None:
    axes.plot([0, 100], [0, 100], color=hex_of("axis"), linewidth=0.9, zorder=1)
    for trained in reversed(networks):
        bins = (
            [each for each in trained.evaluation.calibration.bins if each.count >= _FEWEST]
            if trained.evaluation
            else []
        )
        xs, ys = [100 * each.confidence for each in bins], [100 * each.accuracy for each in bins]
        curve(axes, xs, ys, trained.arm, clip_on=False, zorder=3)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.tick_params(axis="x", labelbottom=False, length=0)


def _counts(axes: Axes, trained: Trained) -> None:
    bins = trained.evaluation.calibration.bins if trained.evaluation else ()
    total = sum(each.count for each in bins)
    for each in bins:
        width = 100 * (each.high - each.low)
        color = hex_of("found")
        axes.bar(
            100 * each.low + width / 2, 100 * each.count / total, 0.86 * width, color=color, alpha=0.55, linewidth=0
        )
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_yticks([0, 100])
    axes.set_title("images (found), %")
    axes.set_xlabel("largest probability, %")


def _caption(runs: Sequence[RunData], arms: Sequence[tuple[RunData, Sequence[Trained]]]) -> str:
    first = [networks[0] for _, networks in arms]
    text = "On the diagonal probabilities are right; below it the network is too sure of itself."
    text += f" Bins of fewer than {_FEWEST} images are left out."
    text += f" Found: {chosen.which([run for run, _ in arms], first)}."
    for run, networks in arms:
        said = [
            f"{each.arm} {100 * each.evaluation.calibration.ece:.2f} %"
            for each in networks
            if each.evaluation is not None
        ]
        text += f" Expected calibration error{f' of {run.label}' if len(runs) > 1 else ''}: {', '.join(said)}."
    return text


def _table(runs: Sequence[RunData]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (run.label, trained.record.number, trained.arm, each.low, each.high, each.count, each.confidence, each.accuracy)
        for run in runs
        for trained in (*run.front, *run.baselines)
        for each in (trained.evaluation.calibration.bins if trained.evaluation else ())
    ]
    return Table(("run", "trial", "arm", "low", "high", "count", "confidence", "accuracy"), tuple(rows))
