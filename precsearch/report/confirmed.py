"""What fresh seeds said of a front: a row for each arm, a sentence for each claim; for people and machines."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.padding import Padding
from rich.text import Text

from precsearch.report import words
from precsearch.report.tables import table

if TYPE_CHECKING:
    from rich.console import Console

    from precsearch.analysis.intervals import Interval
    from precsearch.analysis.verdicts import Claim
    from precsearch.results import RunDirectory, TrialRecord
    from precsearch.study.confirm.plan import ConfirmPlan

_TEST: Final = "test_accuracy"
_FOUND: Final = "found"
_NOTES: Final = (
    "found less it: over the seeds that both have; intervals: of the mean over seeds",
    "nothing was selected by these trainings, and their seeds are no trial's",
)


@dataclass(frozen=True)
class ArmRow:
    """One arm of one confirmed trial.

    Attributes:
        number: of the trial.
        arm: ``found``, ``uniform``, ``random`` or ``float``.
        limit: that the trial was searched under.
        test: accuracy on the test split, 0 to 1, over seeds.
        claim: of the allocation found against this arm; None for itself, and where no seed has both.
    """

    number: int
    arm: str
    limit: float | dict[str, float] | None
    test: Interval
    claim: Claim | None


@dataclass(frozen=True)
class Confirmed:
    """All confirming trainings of a run, read and compared.

    Attributes:
        rows: by trial; its arms, the allocation found first.
        claims: the mean over trials first.
        failed: trainings without a result.
    """

    rows: tuple[ArmRow, ...]
    claims: tuple[Claim, ...]
    failed: tuple[TrialRecord, ...]

    def to_dict(self) -> dict[str, Any]:
        """``arms`` and ``claims``, each a list of plain objects; accuracies and differences are fractions of 1."""
        arms = [
            {"trial": row.number, "arm": row.arm, "metric": _TEST, "seeds": row.test.n, **_ends(row.test)}
            for row in self.rows
        ]
        return {"arms": arms, "claims": [_claim_dict(claim) for claim in self.claims]}


def read_confirmed(records: Sequence[TrialRecord], kind: str) -> Confirmed:
    """Compare the arms of confirming trainings by their test accuracy.

    Args:
        records: of `RunDirectory.confirmations`.
        kind: of the run's budget.
    """
    from precsearch.analysis.intervals import mean_interval  # loads scipy: only where there is something to compare
    from precsearch.analysis.verdicts import AGAINST, confirmed_claims

    claims = confirmed_claims(records, _TEST, kind)
    of = {(claim.number, claim.against): claim for claim in claims}
    rows = []
    for number in sorted({record.number for record in records}):
        for arm in (_FOUND, *AGAINST):
            own = [r for r in records if (r.number, r.baseline) == (number, arm) and _TEST in r.metrics]
            if own:
                test = mean_interval([record.metrics[_TEST] for record in own])
                rows.append(ArmRow(number, arm, own[0].limit, test, of.get((number, arm))))
    failed = tuple(record for record in records if record.state != "complete")
    return Confirmed(tuple(rows), tuple(claims), failed)


def print_confirmed(console: Console, found: Confirmed) -> None:
    """The table of arms, and what failed."""
    made = table(
        "trial", "arm", "seeds", "test %", "95 % interval", "found less it", "verdict",
        left=(1, 6), title="Confirmed on fresh seeds",
    )  # fmt: skip
    for row, after in zip(found.rows, (*found.rows[1:], None), strict=True):
        first = row.arm == _FOUND
        made.add_row(
            str(row.number) if first else "",
            row.arm,
            str(row.test.n),
            words.metric_text(_TEST, row.test.mean),
            _interval_text(row.test),
            _difference(row.claim),
            row.claim.verdict if row.claim is not None else "",
            style="bold" if first else "",
            end_section=after is None or after.number != row.number,
        )
    console.print(Padding(made, (1, 0, 0, 0), expand=False))
    for note in _NOTES:
        console.print(Text(note, style="dim"))
    for record in found.failed:
        text = f"failed: trial {record.number}, {record.baseline}, seed {record.seed}: {record.reason}"
        console.print(Text(text, style="red"))


def print_claims(console: Console, found: Confirmed) -> None:
    """Every claim as a sentence, the mean over trials first."""
    for claim in found.claims:
        console.print()
        console.print(Text(claim.sentence))


def print_confirm_plan(console: Console, plan: ConfirmPlan, run: RunDirectory) -> None:
    """`confirm --dry-run`: what would be trained, and about how long."""
    numbers = [str(member.number) for member in plan.members]
    console.print(Text(f"Plan to confirm {run.path} (nothing is trained, nothing is written)", style="bold"))
    console.print(f"{'trial' if len(numbers) == 1 else 'trials'} {', '.join(numbers)}; the front has {plan.front}")
    floats = len(set(plan.owners.values()))
    console.print(
        f"{words.count(len(plan.seeds), 'seed')} x ({words.count(len(numbers), 'trial')} x found, uniform, random"
        f" + {floats} float) = {words.count(len(plan.trainings), 'training')}"
    )
    left = len(plan.missing)
    if left < len(plan.trainings):
        console.print(f"{len(plan.trainings) - left} are done, {left} are left")
    if left:
        console.print(f"about {words.about(plan.seconds)} one after another, by how long the like took in the study")
    again = f"precsearch confirm {shlex.quote(str(run.path))} --seeds {len(plan.seeds)}"
    console.print(Text(f"  {again}"), soft_wrap=True)


def confirm_plan_dict(plan: ConfirmPlan, run: RunDirectory) -> dict[str, Any]:
    """The plan as one JSON object."""
    return {
        "run": str(run.path),
        "trials": [member.number for member in plan.members],
        "front": plan.front,
        "seeds": list(plan.seeds),
        "trainings": len(plan.trainings),
        "left": len(plan.missing),
        "seconds": plan.seconds,
    }


def _ends(interval: Interval) -> dict[str, float | None]:
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}


def _claim_dict(claim: Claim) -> dict[str, Any]:
    figures = claim.comparison
    return {
        "trial": claim.number,
        "against": claim.against,
        "metric": claim.measure.metric,
        "verdict": claim.verdict,
        "seeds": figures.difference.n if figures is not None else 0,
        "difference": _ends(figures.difference) if figures is not None else None,
        "p": figures.p_holm if figures is not None else None,
        "sentence": claim.sentence,
    }


def _interval_text(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return words.NOTHING
    return f"{words.metric_text(_TEST, interval.low)} to {words.metric_text(_TEST, interval.high)}"


def _difference(claim: Claim | None) -> str:
    return "" if claim is None or claim.comparison is None else claim.measure.text(claim.comparison.difference.mean)
