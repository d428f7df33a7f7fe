"""The questions of arms that learn where bits go, answered in each cell by the figures and by nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

from precsearch.analysis.answers import Answer, Told
from precsearch.analysis.arm_bits import UniformityRow
from precsearch.analysis.arm_claims import ArmClaim
from precsearch.analysis.arms import CONTROLS, DRAWN, EQUAL_COST, ERROR, FLOAT, GAP, LEARNED, NLL, STOCHASTIC
from precsearch.analysis.intervals import Interval
from precsearch.analysis.measures import Measure

REGULARIZES: Final = "Does stochastic precision regularize? (train-test gap, NLL, test error)"
MORE: Final = "Does it regularize more than noise does? (dropout, weight noise of the power of the draws)"
UNIFORM: Final = "Are learned allocations near-uniform?"
WITHSTANDS: Final = (
    "At equal cost, is accuracy under attack, noise, corruption and flipped bits higher than with uniform bits?"
)
BESIDE: Final = "And in float32, or with other noise in training, which cost more than uniform bits?"
BEATS: Final = "Does learning the allocation beat uniform or random bits at equal cost?"
NEAR: Final = 0.5  # bits a layer: nearer to one bit-width for all than to the next
_ASKED: Final = (GAP, NLL, ERROR)
_PLURALS: Final = {"weight": "weights", "activation": "activations", "gradient": "gradients"}
_BY_VERDICT: Final[dict[str, Told]] = {"shown better": "yes", "shown worse": "no", "equivalent": "no"}


def regularizes(claims: Iterable[ArmClaim], reference: str) -> list[Answer]:
    """For each cell and way of measuring a stochastic arm: against uniform bits, then against the noise controls.

    Yes where the gap, the negative log-likelihood or the test error is shown better and none is shown worse; no where
    one is shown worse and none better, or all are equivalent; mixed where one is better and one worse.

    Args:
        claims: of these metrics, from `arm_claims`.
        reference: arm of the run that stands in where no arm is uniform.
    """
    own = [
        each for each in claims if each.differences.arm.kind in {STOCHASTIC, DRAWN} and each.measure.metric in _ASKED
    ]
    own.sort(key=lambda each: (each.differences.cell, each.differences.arm.name))
    found: dict[str, list[Answer]] = {REGULARIZES: [], MORE: []}
    for _, group in groupby(own, key=lambda each: (each.differences.cell, each.differences.arm)):
        mine = list(group)
        others = dict.fromkeys(each.differences.against for each in mine)
        bases = [arm for arm in others if arm.kind == "uniform"] or [arm for arm in others if arm.arm == reference]
        controls = [arm for arm in others if arm.kind in CONTROLS]
        for question, arms in ((REGULARIZES, bases), (MORE, controls)):
            for arm in arms:
                against = [each for each in mine if each.differences.against == arm]
                told = _together([_BY_VERDICT.get(each.verdict, "not shown") for each in against], _shown(against))
                found[question].append(Answer(question, against[0].at, told, f"{_at(against[0].at)}{_listed(against)}"))
    return [*found[REGULARIZES], *found[MORE]]


def near_uniform(rows: Sequence[UniformityRow], kinds: Mapping[str, str], places: Mapping[int, str]) -> list[Answer]:
    """For each cell and arm that learns its bits: whether they lie within half a bit a layer of uniform.

    Yes where the whole interval does, no where none of it does, for every target; a single training shows nothing.

    Args:
        rows: of every arm.
        kinds: arm -> its kind.
        places: cell -> the cell in words.
    """
    found = []
    learned = [row for row in rows if kinds.get(row.arm) in {LEARNED, STOCHASTIC}]
    for cell, arm in dict.fromkeys((row.cell, row.arm) for row in learned):
        own = [row for row in learned if (row.cell, row.arm) == (cell, arm)]
        said = ", ".join(map(_distance, own))
        beside = [row for row in rows if row.cell == cell and kinds.get(row.arm) == "random"]
        random = ", ".join(f"{_PLURALS[row.target]} {row.distance.mean:.2f}" for row in beside)
        told = _together([_near(row.distance) for row in own], ())
        at = places.get(cell, "")
        sentence = (
            f"{_at(at)}{arm}: {said} bits a layer from uniform; near is at most {NEAR:g}."
            + (f" Random allocations of equal cost: {random}{_room(beside)}." if random else "")
        )  # fmt: skip
        found.append(Answer(UNIFORM, at, told, sentence))
    return found


def beats(claims: Iterable[ArmClaim], spent: Mapping[tuple[int, str], str]) -> list[Answer]:
    """For each cell and each uniform or random arm: whether a learned allocation has the smaller test error.

    No where it is shown to be worse, and where the two are equivalent.

    Args:
        claims: of the test error, from `arm_claims`.
        spent: (cell, arm) -> what it spends of the budget, in words.
    """
    found = []
    for claim in claims:
        arm, against, cell = claim.differences.arm, claim.differences.against, claim.differences.cell
        if claim.measure.metric == ERROR and arm.kind == LEARNED and against.kind in EQUAL_COST:
            costs = [f"{each.name} {spent[cell, each.arm]}" for each in (arm, against) if (cell, each.arm) in spent]
            beside = f" Spent: {', '.join(costs)}." if costs else ""
            told = _BY_VERDICT.get(claim.verdict, "not shown")
            found.append(Answer(BEATS, claim.at, told, claim.sentence + beside))
    return found


def withstands(claims: Iterable[ArmClaim], reference: str) -> list[Answer]:
    """For each cell and arm that learns its bits, then for float and noise controls: against uniform bits.

    Under every overall condition.

    Yes where one is shown better and none worse; no where one is shown worse and none better, or all are equivalent;
    mixed where one is better and one worse. Attacks do not count where masking checks make them doubtful.

    Args:
        claims: from `disturbed_claims`.
        reference: arm of the run that stands in where no arm is uniform.
    """
    kept = list(claims)
    return [
        *_withstanding(WITHSTANDS, kept, {LEARNED, STOCHASTIC, DRAWN}, reference),
        *_withstanding(BESIDE, kept, {FLOAT, *CONTROLS}, reference),
    ]


def _withstanding(
    question: str, claims: Iterable[ArmClaim], kinds: Collection[str], reference: str
) -> Iterator[Answer]:
    own = [each for each in claims if each.differences.arm.kind in kinds]
    others = dict.fromkeys(each.differences.against for each in own)
    bases = [arm for arm in others if arm.kind == "uniform"] or [arm for arm in others if arm.arm == reference]
    for cell in sorted({each.differences.cell for each in own}):
        for arm, base in dict.fromkeys((each.differences.arm, each.differences.against) for each in own):
            mine = [each for each in own if each.differences.pair == (cell, arm, base)]
            if mine and base in bases:
                counted = [each for each in mine if not each.doubtful]
                told = _together([_BY_VERDICT.get(each.verdict, "not shown") for each in counted], _shown(counted))
                caveat = next((each.caveat for each in mine if each.caveat), "")
                void = ", so the attacks do not count" if len(counted) < len(mine) else ""
                doubt = f" Masking checks: {caveat}{void}." if caveat else ""
                yield Answer(question, mine[0].at, told, f"{_at(mine[0].at)}{_listed(mine)}{doubt}")


def _room(random: Sequence[UniformityRow]) -> str:
    """What must be said where even random allocations lie near uniform."""
    near = all(_near(row.distance) == "yes" for row in random)
    return ", as near: the budget leaves little room to be anything else" if near else ""


def _listed(claims: Sequence[ArmClaim]) -> str:
    """`stochastic, drawn less uniform (30 seeds): train-test gap -0.42 points (yes, better), ...`."""
    first = claims[0].differences
    seeds = sorted({each.comparison.difference.n for each in claims})
    counted = " to ".join(dict.fromkeys((str(seeds[0]), str(seeds[-1])))) + " seeds" if seeds[-1] > 1 else "one pair"
    gone = max(each.differences.left_out for each in claims)
    left = f", {gone} more left out for a failed training" if gone else ""
    order = {metric: place for place, metric in enumerate(_ASKED)}
    ordered = sorted(claims, key=lambda each: order.get(each.measure.metric, 0))
    parts = ", ".join(
        f"{_short(each.measure)} {each.measure.signed(each.comparison.difference.mean)} ({each.told}{_could(each)})"
        for each in ordered
    )
    return f"{first.arm.name} less {first.against.name} ({counted}{left}): {parts}."


def _short(told: Measure) -> str:
    return told.words.removeprefix("accuracy under ").removeprefix("accuracy with ")


def _could(claim: ArmClaim) -> str:
    least = claim.comparison.detectable
    shown = claim.verdict != "not shown" or least is None
    return "" if shown or least is None else f", could have shown {claim.measure.amount(least)}"


def _shown(claims: Sequence[ArmClaim]) -> tuple[Told, ...]:
    return tuple(_BY_VERDICT[each.verdict] for each in claims if each.verdict in {"shown better", "shown worse"})


def _together(single: Sequence[Told], shown: Sequence[Told]) -> Told:
    """One word for several: what is shown outweighs what is not; yes and no at once is mixed."""
    counted = set(shown or single)
    if {"yes", "no"} <= counted:
        return "mixed"
    return next(iter(counted)) if len(counted) == 1 else "not shown"


def _near(distance: Interval) -> Told:
    if distance.n == 1:
        return "not shown"
    low, high = (distance.mean if end is None else end for end in (distance.low, distance.high))
    return "yes" if high <= NEAR else "no" if low > NEAR else "not shown"


def _distance(row: UniformityRow) -> str:
    found = row.distance
    ends = (
        ""
        if found.low is None or found.high is None
        else f"95 % interval {max(0.0, found.low):.2f} to {found.high:.2f}, "
    )
    seeds = f"{found.n} seeds" if found.n > 1 else "one seed"
    return f"{_PLURALS[row.target]} {found.mean:.2f} ({ends}{seeds}, {row.exact} of them uniform)"


def _at(at: str) -> str:
    return f"At {at}, " if at else ""
