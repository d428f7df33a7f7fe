"""The questions of a grid, answered in sentences: every figure in them is computed, every word follows from one.

Gaps and costs are differences in test error; they are shown, equivalent or not by the rule of
`precsearch.analysis.verdicts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from precsearch.analysis.answers import Answer, Told
from precsearch.analysis.complexity import GAP, AxisEffect, Vanishing
from precsearch.analysis.compression import ALL_CELLS, CompressionRow, Ratio, ratio_text
from precsearch.analysis.grid import Grid, axis_text, point_text
from precsearch.analysis.intervals import Interval
from precsearch.analysis.layerwise import MostSensitive
from precsearch.analysis.sentences import p_text
from precsearch.analysis.statistics import ALPHA, Comparison

VANISHES: Final = "Does the gap to the float network vanish as the network grows?"
WORTH: Final = "Does quantizing beat shrinking: is a float network that errs as little larger than the quantized one?"
LAYER: Final = "Is one layer more sensitive than every other?"


def vanishing_answers(found: Sequence[Vanishing], grid: Grid) -> list[Answer]:
    """Whether the gap vanishes, for each arm and bits."""
    return [_vanishes(each, point_text(grid.points[each.largest_cell])) for each in found]


def axis_answers(found: Sequence[AxisEffect]) -> list[Answer]:
    """Whether the other axes change the gap at equal size, for each axis, arm and bits."""
    return [_axis(each) for each in sorted(found, key=lambda each: each.axis)]


def worth_answers(rows: Sequence[CompressionRow]) -> list[Answer]:
    """Whether quantizing beats shrinking, for each arm and bits, on the curve over all cells.

    Yes where the interval of every ratio lies above 1, no where every one lies below, mixed where some do.
    """
    groups: dict[tuple[str, int], list[CompressionRow]] = {}
    for row in sorted(rows, key=lambda row: (row.network.arm, row.network.bits or 0)):
        if row.curve == ALL_CELLS:
            groups.setdefault((row.network.arm, row.network.bits or 0), []).append(row)
    return [_worth_of(arm, bits, own) for (arm, bits), own in groups.items()]


def layer_answers(found: Sequence[MostSensitive]) -> list[Answer]:
    """Whether one layer is more sensitive than every other, for each cell, arm and bits."""
    return [_layer(each) for each in found]


def _where(arm: str, bits: int) -> str:
    return f"{arm}, {bits} bit{'s' if bits > 1 else ''}"


def _answer(question: str, at: str, told: Told, sentence: str) -> Answer:
    """The sentence begins with its place."""
    return Answer(question, at, told, f"{at[0].upper()}{at[1:]}: {sentence}")


def _vanishes(found: Vanishing, largest: str) -> Answer:
    gap = found.largest
    size = f", {largest}" if largest else ""
    trend = "cannot be followed over size" if found.slope is None else _trend(found.slope)
    start = f"the gap {trend}; in the largest network{size}, it is {GAP.signed(gap.difference.mean)}"
    sentence = f"{start}{_figures(gap)}: {_vanishing(found)}."
    return _answer(VANISHES, _where(found.arm, found.bits), found.told, sentence)


def _trend(slope: Comparison) -> str:
    word = "falls" if slope.difference.mean < 0 else "rises"
    return f"{word} by {GAP.amount(slope.difference.mean)} of test error with each doubling of size{_figures(slope)}"


def _vanishing(found: Vanishing) -> str:
    within = f"within {GAP.amount(found.largest.margin or 0.0)}"
    if found.told == "yes":
        return f"yes, it shrinks, and what is left there is equivalent to none {within}"
    if found.told == "no":
        if found.grows:
            return "no, it grows"
        return f"no, {'it shrinks, yet ' if found.shrinks else ''}a gap is left"
    if found.everywhere:
        return f"not shown, for there is none to vanish: in every network it is equivalent to none {within}"
    if found.largest.equivalent:
        return f"not shown: there it is equivalent to none {within}, but that it shrinks is not shown"
    could = found.largest.detectable
    told = f"; these seeds could have shown {GAP.amount(could)} there" if could is not None else ""
    return f"not shown{': it shrinks, but whether any is left is open' if found.shrinks else ''}{told}"


def _axis(found: AxisEffect) -> Answer:
    effect, axis = found.effect, axis_text(found.axis)
    shown = effect.p_holm is not None and effect.p_holm < ALPHA
    change = f"each 1 more of {axis} goes with {GAP.signed(effect.difference.mean)} of gap"
    could = f", which could have shown {GAP.amount(effect.detectable)}" if effect.detectable is not None else ""
    ending = (
        f"yes, {'more' if effect.difference.mean > 0 else 'less'}" if shown else f"not shown with these seeds{could}"
    )
    sentence = f"among networks of equal size {change}{_figures(effect)}: {ending}."
    told: Told = "yes" if shown else "not shown"
    return _answer(f"Does {axis} change the gap at equal size?", _where(found.arm, found.bits), told, sentence)


def _worth_of(arm: str, bits: int, rows: Sequence[CompressionRow]) -> Answer:
    above = sum(row.ratio.low is not None and row.ratio.low > 1 for row in rows)
    below = sum(row.ratio.high is not None and row.ratio.high < 1 for row in rows)
    told: Told = "mixed" if above or below else "not shown"
    if len(rows) in {above, below}:
        told = "yes" if above else "no"
    counts = {"yes": above, "no": below, "not shown": len(rows) - above - below}
    ending = ", ".join(f"{word} in {count}" for word, count in counts.items() if count)
    sentence = f"{_ratios(rows)} Of {len(rows)} networks: {ending}."
    return _answer(WORTH, _where(arm, bits), told, sentence)


def _ratios(rows: Sequence[CompressionRow]) -> str:
    """What the ratios are, and why some are bounds."""
    exact = sorted((row for row in rows if row.ratio.bound == "exact"), key=lambda row: row.ratio.value)
    ends = [_ratio(row) for row in (exact[0], exact[-1])] if len(exact) > 1 else [_ratio(row) for row in exact]
    nominal = " to ".join(dict.fromkeys(ratio_text(end(row.nominal for row in rows)) for end in (min, max)))
    said = [f"the effective compression ratio is {' to '.join(ends)}, beside {nominal} by bytes alone."] if ends else []
    for bound, why in (("at most", "worse than the smallest"), ("at least", "better than the best")):
        own = [row for row in rows if row.ratio.bound == bound]
        if own:
            count = f"{len(own)} network{'s are' if len(own) > 1 else ' is'}"
            bounds = " to ".join(dict.fromkeys(ratio_text(end(row.ratio.value for row in own)) for end in (min, max)))
            said.append(f"{count} {why} float network, so all that is known is a ratio of {bound} {bounds}.")
    return " ".join(said)


def _ratio(row: CompressionRow) -> str:
    return f"{row.ratio.text}{_listed([point_text(row.network.at), _ratio_interval(row.ratio)])}"


def _ratio_interval(ratio: Ratio) -> str:
    return f"95 % interval {ratio.interval_text}" if ratio.interval_text else ""


def _layer(found: MostSensitive) -> Answer:
    over = GAP.amount(found.over.mean)
    carried = _listed([_interval(found.over), _p(found.p, found.pairs, "pairs of layers")])
    ending = "yes" if found.shown else "not shown" + (" once every pair of layers counts" if _apart(found.over) else "")
    sentence = (
        f"{found.layer} costs most, {GAP.signed(found.cost.mean)} of test error{_listed([_interval(found.cost)])},"
        f" {over} more than {found.after}, the next{carried}: {ending}."
    )
    at = ", ".join(filter(None, [point_text(found.at), _where(found.arm, found.bits)]))
    return _answer(LAYER, at, "yes" if found.shown else "not shown", sentence)


def _figures(found: Comparison) -> str:
    return _listed([_interval(found.difference), _p(found.p_holm, found.family, "")])


def _interval(found: Interval) -> str:
    if found.low is None or found.high is None:
        return f"{found.n} seeds, no interval" if found.n > 1 else "one seed, which tells nothing of chance"
    return f"95 % interval {GAP.text(found.low)} to {GAP.text(found.high)}, {found.n} seeds"


def _p(p: float | None, family: int, of: str) -> str:
    if p is None:
        return ""
    return f"paired t test {p_text(p)}" + (f" after Holm over {family} {of}".rstrip() if family > 1 else "")


def _listed(parts: Iterable[str]) -> str:
    inside = "; ".join(filter(None, parts))
    return f" ({inside})" if inside else ""


def _apart(interval: Interval) -> bool:
    return interval.low is not None and not interval.holds(0.0)
