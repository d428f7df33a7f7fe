"""What paired seeds say of the difference between two arms, in plain words, made from the figures and nothing else.

The rule is that of `precsearch.analysis.verdicts`; the family is every comparison of one metric in one run, over all
cells. A pair of which one training failed is left out, counted, and told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from precsearch.analysis.arms import CONTROLS, DRAWN, EQUAL_COST, LEARNED, STOCHASTIC, Arm, Network, cells_of
from precsearch.analysis.measures import Measure
from precsearch.analysis.sentences import arms_sentence
from precsearch.analysis.statistics import Comparison, compare
from precsearch.analysis.verdicts import Verdict, judge

_TOLD: Final[dict[Verdict, str]] = {
    "shown better": "yes, better", "shown worse": "yes, worse", "not shown": "not shown",
}  # fmt: skip
Pair = tuple[Arm, Arm]


@dataclass(frozen=True)
class Differences:
    """One arm less another, seed by seed, in one cell.

    Attributes:
        cell: its number.
        arm: the first.
        against: the second.
        by_seed: index of the seed -> difference, in the metric's own unit.
        left_out: pairs of which a training failed.
    """

    cell: int
    arm: Arm
    against: Arm
    by_seed: Mapping[int, float]
    left_out: int

    @property
    def pair(self) -> tuple[int, Arm, Arm]:
        """The cell, the first arm and the second."""
        return self.cell, self.arm, self.against


@dataclass(frozen=True)
class ArmClaim:
    """One comparison of two arms in one cell, and what may be said of it.

    Attributes:
        differences: what it rests on.
        at: the cell in words.
        measure: what is compared.
        verdict: by the rule.
        comparison: the figures.
        sentence: the claim, to be read as it is.
        caveat: masking checks that failed, of either arm; empty where none did, and where nothing was attacked.
        doubtful: whether they failed in so many seeds that the claim is not to be built on.
    """

    differences: Differences
    at: str
    measure: Measure
    verdict: Verdict
    comparison: Comparison
    sentence: str
    caveat: str = ""
    doubtful: bool = False

    @property
    def told(self) -> str:
        """Whether the arms differ: ``yes, better``, ``no, equivalent within 0.50 points``, ``not shown``."""
        if self.verdict == "equivalent" and self.comparison.margin is not None:
            return f"no, equivalent within {self.measure.amount(self.comparison.margin)}"
        return _TOLD.get(self.verdict, "not shown")


def pairings(arms: Sequence[Arm], reference: str) -> list[Pair]:
    """Which arms are compared: each with the reference; further those that the questions are about.

    Learned and stochastic ones with uniform and random ones; stochastic ones as the mean over draws with the same
    frozen, and both with the noise controls.

    Args:
        arms: all of the run.
        reference: name of an arm of the run; where it is stochastic, frozen.
    """
    base = next((arm for arm in arms if arm.arm == reference and arm.kind != DRAWN), None)
    found: list[Pair] = [] if base is None else [(arm, base) for arm in arms if arm.arm != reference]
    found += _between(arms, (LEARNED,), EQUAL_COST) + _between(arms, (STOCHASTIC, DRAWN), ("uniform",))
    found += [(arm, other) for arm, other in _between(arms, (DRAWN,), (STOCHASTIC,)) if arm.arm == other.arm]
    found += _between(arms, (STOCHASTIC, DRAWN), CONTROLS)
    return list(dict.fromkeys(found))


def paired_arms(networks: Sequence[Network], pairs: Iterable[Pair], metric: str) -> list[Differences]:
    """The differences of every pair of arms in every cell in which a seed has both."""
    by_arm: dict[tuple[int, Arm], dict[int, Network]] = {}
    for network in networks:
        by_arm.setdefault((network.cell, network.arm), {})[network.index] = network
    cells, wanted, found = cells_of(networks), list(pairs), []
    for cell in cells:
        for arm, against in wanted:
            own, other = by_arm.get((cell, arm), {}), by_arm.get((cell, against), {})
            both = {
                index: own[index].values[metric] - other[index].values[metric]
                for index in sorted(own.keys() & other.keys())
                if metric in own[index].values and metric in other[index].values
            }
            failed = {index for each in (own, other) for index, network in each.items() if network.failed}
            if both:
                found.append(Differences(cell, arm, against, both, len(failed)))
    return found


def arm_claims(
    networks: Sequence[Network], pairs: Iterable[Pair], told: Measure, places: Mapping[int, str]
) -> list[ArmClaim]:
    """What the seeds say of every pair of arms in `told`, as one family.

    Args:
        networks: of all arms.
        pairs: from `pairings`.
        told: the metric, with its margin of equivalence.
        places: cell -> the cell in words; empty where there is one.

    Returns:
        Claims by cell, then in the order of the pairs.
    """
    found = paired_arms(networks, pairs, told.metric)
    samples = {str(number): list(each.by_seed.values()) for number, each in enumerate(found)}
    claims = []
    for each, comparison in zip(found, compare(samples, told.margin), strict=True):
        verdict, at = judge(comparison, told), places.get(each.cell, "")
        names = each.arm.name, each.against.name
        sentence = arms_sentence(at, names, told, comparison, verdict, each.left_out)
        claims.append(ArmClaim(each, at, told, verdict, comparison, sentence))
    return claims


def _between(arms: Sequence[Arm], kinds: Sequence[str], others: Sequence[str]) -> list[Pair]:
    return [(arm, other) for arm in arms if arm.kind in kinds for other in arms if other.kind in others]
