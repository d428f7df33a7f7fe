"""Claims in plain words about what a search bought, made from the figures and from nothing else.

**The rule**: a difference is *shown* when its paired t test, corrected by Holm over every comparison made of the same
metric, has p below 5 %. Otherwise the arms are *equivalent* when both one-sided tests against the stated margin,
corrected likewise, have p below 5 %. Otherwise it is *not shown*, and the sentence says what the seeds could have
shown. Sign flips stand beside as a check that assumes less; with fewer than six pairs they cannot fall below 5 %, which
the sentence then says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from precsearch.analysis.measures import Measure, measure
from precsearch.analysis.sentences import budget_text, confirmed_sentence, unconfirmed_sentence
from precsearch.analysis.statistics import ALPHA, Comparison, compare
from precsearch.results import TrialRecord

Verdict = Literal["shown better", "shown worse", "equivalent", "not shown"]
VERDICTS: Final[tuple[Verdict, ...]] = ("shown better", "shown worse", "equivalent", "not shown")
AGAINST: Final = ("uniform", "random", "float")
FOUND: Final = "found"


@dataclass(frozen=True)
class Claim:
    """One comparison of the allocation found with another arm, and what may be said of it.

    Attributes:
        number: of the trial that found it; None for the mean over several trials.
        at: its budget, such as ``3 bits``.
        against: the other arm: ``uniform``, ``random`` or ``float``.
        measure: what is compared.
        verdict: by the rule of this module.
        comparison: the figures; None where nothing was trained again.
        sentence: the claim, to be read as it is.
    """

    number: int | None
    at: str
    against: str
    measure: Measure
    verdict: Verdict
    comparison: Comparison | None
    sentence: str

    @property
    def told(self) -> str:
        """The verdict with its margin: ``equivalent within 0.20 points``."""
        margin = self.comparison.margin if self.comparison is not None else None
        if self.verdict != "equivalent" or margin is None:
            return self.verdict
        return f"{self.verdict} within {self.measure.amount(margin)}"


def confirmed_claims(
    confirmations: Sequence[TrialRecord],
    metric: str = "test_accuracy",
    kind: str = "average_bits",
    against: Sequence[str] = AGAINST,
    margin: float | None = None,
) -> list[Claim]:
    """What fresh seeds say of every trial that was trained again, in `metric`, as one family.

    Trainings are paired by the trial's number and the seed. Where two or more trials were confirmed, the mean over them
    (of each seed) is compared first: it is what the search buys on the whole.

    Args:
        confirmations: records with the arm in `baseline` (``found`` for the allocation found).
        metric: a key of their metrics; pairs without it are left out.
        kind: of the budget that the records' `limit` is of.
        against: arms to compare with, those that are there.
        margin: largest difference that counts as none, in the metric's own unit; None takes the metric's usual one.

    Returns:
        Claims by trial and arm, the mean over trials first.
    """
    told = measure(metric)
    pairs = paired_differences(confirmations, metric, against)
    differences = {str(key): list(found.values()) for key, found in pairs.items()}
    compared = {each.name: each for each in compare(differences, told.margin if margin is None else margin)}
    limits = {record.number: record.limit for record in confirmations}
    trials = len({number for number, _ in pairs if number is not None})
    claims = []
    for key in pairs:
        number, arm = key
        at = f"the mean over {trials} trials" if number is None else budget_text(limits[number], kind)
        comparison = compared[str(key)]
        verdict = judge(comparison, told)
        sentence = confirmed_sentence(number, at, arm, told, comparison, verdict)
        claims.append(Claim(number, at, arm, told, verdict, comparison, sentence))
    return claims


def paired_differences(
    confirmations: Sequence[TrialRecord], metric: str, against: Sequence[str] = AGAINST
) -> dict[tuple[int | None, str], dict[int, float]]:
    """(trial, arm) -> seed -> the metric of the allocation found less the arm's, in the metric's own unit.

    The key (None, arm) is the mean over the trials that have the arm, for the seeds that all of them have; it is there
    for two or more trials and at least one such seed.
    """
    values = {
        (record.number, record.baseline, record.seed): record.metrics[metric]
        for record in confirmations
        if record.state == "complete" and metric in record.metrics
    }
    found: dict[tuple[int | None, str], dict[int, float]] = {}
    for arm in against:
        by_trial: dict[int, dict[int, float]] = {}
        for (number, own, seed), value in sorted(values.items(), key=lambda item: (item[0][0], item[0][2])):
            other = values.get((number, arm, seed))
            if own == FOUND and other is not None:
                by_trial.setdefault(number, {})[seed] = value - other
        shared = set.intersection(*map(set, by_trial.values())) if len(by_trial) > 1 else set()
        if shared:
            rows = by_trial.values()
            found[None, arm] = {seed: sum(row[seed] for row in rows) / len(rows) for seed in sorted(shared)}
        found |= {(number, arm): row for number, row in by_trial.items()}
    return dict(sorted(found.items(), key=lambda item: (item[0][0] is not None, item[0][0] or 0)))


def judge(comparison: Comparison, told: Measure) -> Verdict:
    """The verdict by the rule of this module."""
    if comparison.p_holm is not None and comparison.p_holm < ALPHA:
        gained = (comparison.difference.mean > 0) == (told.direction == "maximize")
        return "shown better" if gained else "shown worse"
    return "equivalent" if comparison.equivalent else "not shown"


def unconfirmed_claims(
    members: Sequence[TrialRecord],
    baselines: Sequence[TrialRecord],
    trials: int,
    metric: str = "validation_accuracy",
    kind: str = "average_bits",
    against: Sequence[str] = AGAINST,
) -> list[Claim]:
    """What cannot be said of a front whose members were trained once: all verdicts are ``not shown``.

    Args:
        members: of the front.
        baselines: beside them, with their kind in `baseline`.
        trials: complete ones of the study, that the members were chosen from.
        metric: a key of their metrics.
        kind: of the budget.
        against: baselines to compare with, those that are there.
    """
    told = measure(metric)
    beside = {(each.number, each.baseline): each.metrics.get(metric) for each in baselines if each.state == "complete"}
    claims = []
    for member in members:
        own = member.metrics.get(metric)
        for arm in against:
            other = beside.get((member.number, arm))
            if own is None or other is None:
                continue
            at = budget_text(member.limit, kind)
            sentence = unconfirmed_sentence(member.number, at, arm, told, own - other, trials)
            claims.append(Claim(member.number, at, arm, told, "not shown", None, sentence))
    return claims


def summary(claims: Sequence[Claim]) -> str:
    """How many comparisons came out how: `Against uniform: 1 shown better, 2 not shown. Against random: ...`."""
    said = []
    for arm in dict.fromkeys(claim.against for claim in claims):
        counts = Counter(claim.verdict for claim in claims if claim.against == arm and claim.number is not None)
        parts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])
        said.append(f"Against {arm}: {parts}.")
    return " ".join(said)
