"""Paired differences between arms: seeds, mean, interval, and the margin within which arms count as equal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from precsearch.analysis.arms import ERROR, GAP, NLL, arm_measure
from precsearch.report.figures.arms import common
from precsearch.report.figures.arms.common import MINUS
from precsearch.report.figures.base import Cell, Figure, Table
from precsearch.report.figures.marks import square
from precsearch.report.figures.palette import hex_of
from precsearch.report.figures.sheet import sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from precsearch.analysis.arm_claims import ArmClaim
    from precsearch.report.arms.reading import ArmsData
    from precsearch.report.figures.arms.common import Panel
    from precsearch.report.figures.sheet import Sheet

SECTION: Final = "Differences"


def error_differences(runs: Sequence[ArmsData]) -> Figure | None:
    """Differences in test error on the same seeds."""
    return _differences(runs, "differences-error", "Differences in test error", ERROR)


def gap_differences(runs: Sequence[ArmsData]) -> Figure | None:
    """Differences in the gap between training and test accuracy on the same seeds."""
    return _differences(runs, "differences-gap", "Differences in the train-test gap", GAP)


def nll_differences(runs: Sequence[ArmsData]) -> Figure | None:
    """Differences in negative log-likelihood on the same seeds."""
    return _differences(runs, "differences-nll", "Differences in test NLL", NLL)


def _differences(runs: Sequence[ArmsData], name: str, title: str, metric: str) -> Figure | None:
    found = common.panels(runs, lambda data, cell: _claims(data, cell, metric))
    if not found:
        return None
    told, look = arm_measure(metric), common.looks(runs)
    heights = [common.TALL * len(_claims(each.data, each.cell, metric)) + common.AROUND for each in found]
    with sheet(sum(heights) + 26, len(found), ratios=heights, share=(True, False)) as page:
        for axes, each in zip(page.panels, found, strict=True):
            axes.set_title(each.title)
            _draw(page, axes, _claims(each.data, each.cell, metric), look)
        page.panels[-1].set_xlabel(f"difference in {told.words}, {told.unit}")
        page.legend([(square("muted", 0.2), "margin: as good as equal")])
        caption = _caption(found, metric)
        return Figure(name, SECTION, title, caption, _table(runs, metric), page.svg(name, title, caption))


def _claims(data: ArmsData, cell: int, metric: str) -> list[ArmClaim]:
    return [claim for claim in data.compared.claims[metric] if claim.differences.cell == cell]


def _draw(page: Sheet, axes: Axes, claims: Sequence[ArmClaim], look: dict[str, str]) -> None:
    told = claims[0].measure
    margin = told.scale * (told.margin or 0.0)
    axes.axvspan(-margin, margin, color=hex_of("muted"), alpha=0.14, linewidth=0, zorder=0.5)
    axes.axvline(0, color=hex_of("ink"), linewidth=0.9, zorder=1)
    for place, claim in enumerate(claims):
        how, shown = common.style(look, claim.differences.arm), claim.verdict.startswith("shown")
        seeds = {index: told.scale * value for index, value in claim.differences.by_seed.items()}
        common.dots(axes, place, seeds, how.color)
        common.mean(page, axes, place, claim.comparison.difference, told.scale, how, claim.told, filled=shown)
        common.beside(axes, place, told.text(claim.comparison.difference.mean), bold=shown)
    common.name_rows(axes, [_name(claim) for claim in claims])
    axes.ticklabel_format(axis="x", useOffset=False)


def _name(claim: ArmClaim) -> str:
    return f"{claim.differences.arm.name}\n{MINUS} {claim.differences.against.name}"


def _caption(found: Sequence[Panel], metric: str) -> str:
    text = (
        "Faint: each seed. Bars: the mean with its own 95 % interval; left of zero the first arm is better."
        " Filled: shown, with Holm's correction over all comparisons of this metric in the run."
    )
    for each in found:
        claims = _claims(each.data, each.cell, metric)
        counts = Counter(claim.verdict for claim in claims)
        told = ", ".join(f"{number} {verdict}" for verdict, number in counts.items())
        text += f" {f'{each.title}: ' if each.title else ''}{told}."
    return text


def _table(runs: Sequence[ArmsData], metric: str) -> Table:
    """A row for each seed, and with no seed one for the mean and its interval."""
    rows: list[tuple[Cell, ...]] = []
    for data in runs:
        for claim in data.compared.claims[metric]:
            each, found = claim.differences, claim.comparison
            start = (data.label, each.cell, claim.at, each.arm.name, each.against.name)
            rows += [(*start, index, value, *[None] * 8) for index, value in each.by_seed.items()]
            interval = found.difference
            tests = (found.p_holm, found.p_equivalent, found.detectable, each.left_out, claim.verdict)
            rows.append((*start, None, interval.mean, interval.low, interval.high, interval.n, *tests))
    names = ("run", "cell", "at", "arm", "against", "seed", f"{metric}_difference", "low", "high", "pairs")
    return Table((*names, "p_holm", "p_equivalent", "detectable", "left_out", "verdict"), tuple(rows))
