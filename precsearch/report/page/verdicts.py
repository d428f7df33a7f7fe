"""The verdicts as the page shows them: what the search bought, and whether the seeds carry it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from precsearch.analysis.measures import measure
from precsearch.analysis.verdicts import Claim, confirmed_claims, unconfirmed_claims

if TYPE_CHECKING:
    from precsearch.analysis.verdicts import Verdict
    from precsearch.report.reading import RunData

_CONFIRMED: Final = "test_accuracy"
_CHOSEN_BY: Final = "validation_accuracy"
_HEADERS: Final = ("verdict", "against", "at", "of", "difference", "95 % interval", "seeds")
_MARKS: Final[dict[Verdict, str]] = {
    "shown better": "yes",
    "shown worse": "no",
    "equivalent": "same",
    "not shown": "open",
}
_RULE: Final = (
    "Differences are those of the allocation found less the other one, at the same budget (float: without one). One is "
    "shown where a paired t test over fresh seeds, corrected (Holm) over all comparisons of its metric, has p below "
    "0.05; equivalent where both one-sided tests against the margin have; and not shown otherwise."
)
_ONCE: Final = (
    "Every network was trained once, with one seed, and the trials were chosen by their validation accuracy: nothing "
    "is shown until fresh seeds have been trained."
)


@dataclass(frozen=True)
class VerdictRow:
    """One claim of the table.

    Attributes:
        cells: one a header.
        mark: class of the verdict: ``yes``, ``no``, ``same`` or ``open``.
        sentence: the whole claim.
        told: the same for machines.
    """

    cells: tuple[str, ...]
    mark: str
    sentence: str
    told: dict[str, Any]


@dataclass(frozen=True)
class VerdictPart:
    """All of them.

    Attributes:
        lead: the verdict in plain words, a few sentences.
        notes: what holds for the whole table.
        headers: of its columns.
        rows: none where nothing can be compared yet.
    """

    lead: tuple[str, ...]
    notes: tuple[str, ...]
    headers: tuple[str, ...]
    rows: tuple[VerdictRow, ...]


def verdict_part(runs: Sequence[RunData]) -> VerdictPart:
    """What can be said of the runs, each by itself."""
    claims = [_claims(run) for run in runs]
    several = len(runs) > 1
    lead = tuple(
        f"{run.label}: {sentence}" if several else sentence
        for run, found in zip(runs, claims, strict=True)
        for sentence in _lead(run, found)
    )
    rows = tuple(_row(run, claim, several) for run, found in zip(runs, claims, strict=True) for claim in found)
    confirmed = any(run.confirmed for run in runs)
    single = any(not run.confirmed and found for run, found in zip(runs, claims, strict=True))
    notes = (*([_RULE] if confirmed else []), *([_ONCE] if single else []))
    return VerdictPart(lead, notes, ("run", *_HEADERS) if several else _HEADERS, rows)


def _claims(run: RunData) -> list[Claim]:
    kind = run.experiment.inner.budget.kind
    records = [each.record for each in run.confirmed]
    if not records:
        members = [member.record for member in run.view.front]
        return unconfirmed_claims(members, run.view.baselines, len(run.trials), _CHOSEN_BY, kind)
    found = confirmed_claims(records, _CONFIRMED, kind)
    others = sorted({name for record in records for name in record.metrics if name.startswith("test_")} - {_CONFIRMED})
    for metric in (*others, "generalization_gap"):
        claims = confirmed_claims(records, metric, kind)
        # of what nothing was searched for, the mean over trials says enough
        overall = [claim for claim in claims if claim.number is None]
        found += overall or claims
    return found


def _lead(run: RunData, claims: Sequence[Claim]) -> list[str]:
    told = [claim for claim in claims if claim.measure.metric in {_CONFIRMED, _CHOSEN_BY}]
    if not told:
        return [_nothing(run)]
    if not run.confirmed:
        return _once(run)
    overall = [claim for claim in told if claim.number is None]
    return [_bought(claim) for claim in overall or told]


def _nothing(run: RunData) -> str:
    if not run.trials:
        return "No trial has completed, so there is nothing to compare yet."
    return "No baseline has ended, so what the search bought over uniform or random bits cannot be said yet."


def _once(run: RunData) -> list[str]:
    """The best trial beside its baselines, and why that shows nothing."""
    best = run.view.best
    beside = {}
    if best is not None and (own := best.metrics.get(_CHOSEN_BY)) is not None:
        others = {str(member.record.baseline): member.metrics.get(_CHOSEN_BY) for member in best.baselines}
        beside = {arm: own - other for arm, other in others.items() if other is not None}
    said = (
        "Whether the search bought anything over uniform or random bits is not shown: every network was trained once."
    )
    if best is not None and beside:
        told = measure(_CHOSEN_BY)
        amounts = " and ".join(f"{told.signed(gap)} against {arm}" for arm, gap in beside.items())
        said += f" Trial {best.record.number}, the best, came out at {amounts} ({told.words})."
    command = f"precsearch confirm {shlex.quote(str(run.view.run.path))} --seeds 5"
    return [said, f"`{command}` trains fresh seeds and settles it."]


def _bought(claim: Claim) -> str:
    """One claim in the plainest words."""
    comparison, told = claim.comparison, claim.measure
    if comparison is None:
        return claim.sentence
    other = "the float32 network" if claim.against == "float" else f"{claim.against} bits at the same budget"
    where = f"over {claim.at.removeprefix('the mean over ')}" if claim.number is None else f"at {claim.at}"
    gap, seeds = told.signed(comparison.difference.mean), _seeds(comparison.difference.n)
    figures = f"{gap} of {told.words} {where}"
    return {
        "shown better": f"The search beat {other}: {figures}, and {seeds} carry it.",
        "shown worse": f"The search fell short of {other}: {figures}, and {seeds} carry it.",
        "equivalent": f"The search and {other} are {claim.told}: {figures}, and {seeds} carry that.",
        "not shown": f"Against {other} the search came out at {figures}, which {seeds} cannot tell from chance.",
    }[claim.verdict]


def _seeds(n: int) -> str:
    return "one fresh seed" if n == 1 else f"{n} fresh seeds"


def _row(run: RunData, claim: Claim, several: bool) -> VerdictRow:
    comparison, told = claim.comparison, claim.measure
    difference = comparison.difference.mean if comparison is not None else _gap(run, claim)
    interval = comparison.difference if comparison is not None else None
    low, high = (interval.low, interval.high) if interval is not None else (None, None)
    at = claim.at if claim.number is None else f"{claim.at} (trial {claim.number})"
    return VerdictRow(
        cells=(
            *([run.label] if several else []),
            claim.told,
            claim.against,
            at,
            told.words,
            "" if difference is None else told.signed(difference),
            "" if low is None or high is None else f"{told.text(low)} to {told.text(high)}",
            "1, not fresh" if interval is None else str(interval.n),
        ),
        mark=_MARKS[claim.verdict],
        sentence=claim.sentence,
        told={
            "run": run.label,
            "trial": claim.number,
            "against": claim.against,
            "metric": told.metric,
            "verdict": claim.verdict,
            "difference": difference,
            "low": low,
            "high": high,
            "seeds": interval.n if interval is not None else 0,
            "p": comparison.p_holm if comparison is not None else None,
            "sentence": claim.sentence,
        },
    )


def _gap(run: RunData, claim: Claim) -> float | None:
    """The difference of two single trainings."""
    member = next(each.record for each in run.view.front if each.record.number == claim.number)
    beside = next(each for each in run.view.baselines if (each.number, each.baseline) == (claim.number, claim.against))
    own, other = (each.metrics.get(claim.measure.metric) for each in (member, beside))
    return None if own is None or other is None else own - other
