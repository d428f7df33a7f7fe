"""The sentences of `precsearch.analysis.verdicts`: every figure in them is computed, every word follows from one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from precsearch.analysis.measures import Measure
from precsearch.analysis.power import luck
from precsearch.analysis.statistics import ALPHA, Comparison

_SMALLEST: Final = 0.001
_UNITS: Final = {
    "average_bits": "bits",
    "layer_bits": "bits",
    "model_size": "bytes",
    "activation_memory": "bytes",
    "bitops": "BitOPs",
}


def budget_text(limit: float | Mapping[str, float] | None, kind: str) -> str:
    """A budget's limit in words: ``3 bits``, ``3 weight and 4 activation bits``, ``20,000 bytes``."""
    unit = _UNITS.get(kind, f"of {kind.replace('_', ' ')}")
    if limit is None:
        return "no limit"
    if isinstance(limit, Mapping):
        return " and ".join(f"{value:,.10g} {target}" for target, value in limit.items()) + f" {unit}"
    return f"{limit:,.10g} {unit}"


def confirmed_sentence(number: int | None, at: str, arm: str, told: Measure, found: Comparison, verdict: str) -> str:
    """What fresh seeds say of the allocation found against another arm.

    Args:
        number: of the trial; None for the mean over several.
        at: its budget in words, or over what the mean is.
        arm: compared with.
        told: the metric.
        found: the figures.
        verdict: by the rule.
    """
    start, n = _start(number, at, arm, told, found.difference.mean), found.difference.n
    if n == 1:
        return f"{start}, one pair of trainings: not shown. One pair tells nothing of chance."
    if found.difference.low is None and found.difference.mean == 0:
        return f"{start} in each of {n} pairs of fresh seeds, as where both train the same bits: {verdict}."
    return f"{start} ({_figures(found, told)}): {_ending(found, told, verdict)}."


def arms_sentence(
    at: str, arms: tuple[str, str], told: Measure, found: Comparison, verdict: str, left_out: int = 0
) -> str:
    """Whether two arms that were trained on the same seeds differ: yes, no, or not shown.

    Args:
        at: the cell in words; empty where there is one.
        arms: the first less the second.
        told: the metric.
        found: the figures.
        verdict: by the rule.
        left_out: pairs of which a training failed.
    """
    n, place = found.difference.n, f"At {at}, " if at else ""
    gone = f", {left_out} more left out for a failed training" if left_out else ""
    start = f"{place}{arms[0]} less {arms[1]}: {told.signed(found.difference.mean)} of {told.words}{_lower(told)}"
    if n == 1:
        return f"{start}, one pair of trainings{gone}: not shown. One pair tells nothing of chance."
    if found.difference.low is None and found.difference.mean == 0:
        return f"{start} in each of {n} pairs{gone}, as where both train the same: {verdict}."
    figures = _figures(found, told).replace("fresh seeds", "seeds") + gone
    within = f"within {told.amount(found.margin)}" if found.equivalent and found.margin is not None else ""
    yet = f", yet equivalent {within}" if within else ""
    answers = {
        "shown better": f"yes, better{yet}",
        "shown worse": f"yes, worse{yet}",
        "equivalent": f"no, equivalent {within}",
    }
    return f"{start} ({figures}): {answers.get(verdict) or _ending(found, told, verdict)}."


def unconfirmed_sentence(number: int, at: str, arm: str, told: Measure, difference: float, trials: int) -> str:
    """What cannot be said of two trainings, the first chosen as the best of `trials`."""
    luckier = (
        f", and the best of {trials} equal trials lies {luck(trials):.2f} standard deviations above their mean by luck"
        if trials > 1
        else ""
    )
    start = _start(number, at, arm, told, difference)
    return f"{start}, one training each: not shown. One training tells nothing of chance{luckier}."


def _start(number: int | None, at: str, arm: str, told: Measure, difference: float) -> str:
    where = f"In {at}" if number is None else f"At {at} (trial {number})"
    return f"{where}, found less {arm}: {told.signed(difference)} of {told.words}{_lower(told)}"


def _lower(told: Measure) -> str:
    return ", lower is better" if told.direction == "minimize" else ""


def _figures(found: Comparison, told: Measure) -> str:
    difference, n, least = found.difference, found.difference.n, 2 / 2**found.difference.n
    signs = f"sign flips {p_text(found.p_signs)}" + (f", at best {least:.2g} with {n} pairs" if least > ALPHA else "")
    if difference.low is None or difference.high is None:
        return f"the same in each of {n} pairs of fresh seeds, so no interval; {signs}"
    low, high = told.text(difference.low), told.text(difference.high)
    over = f" after Holm over {found.family}" if found.family > 1 else ""
    return f"95 % interval {low} to {high}, {n} fresh seeds; paired t test {p_text(found.p_holm)}{over}; {signs}"


def _ending(found: Comparison, told: Measure, verdict: str) -> str:
    within = f"within {told.amount(found.margin)}" if found.equivalent and found.margin is not None else ""
    if verdict == "equivalent":
        return f"equivalent {within}"
    if verdict != "not shown":
        return f"{verdict}, yet equivalent {within}" if within else verdict
    if found.detectable is None:
        return "not shown"
    could = f"could have shown {told.amount(found.detectable)}"
    if found.difference.holds(0.0):
        return f"not shown with these seeds, which {could}"
    return f"not shown once all {found.family} comparisons count; the seeds {could}"


def p_text(value: float | None) -> str:
    """``p 0.031``, ``p < 0.001``, or ``untested``."""
    if value is None:
        return "untested"
    return f"p < {_SMALLEST}" if value < _SMALLEST else f"p {value:.2g}"
