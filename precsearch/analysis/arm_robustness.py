"""Accuracy of arms under attack, noise, corruption and flipped bits over seeds, with the masking checks beside it.

A network that was not trained to withstand attacks is never called robust here. Where a masking check fails, accuracy
under attack may be that of an attack that fails: every row and claim about attacks says how often one did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from precsearch.analysis.arm_claims import ArmClaim, Pair, arm_claims
from precsearch.analysis.arms import DRAWN, Arm, Network, cells_of
from precsearch.analysis.intervals import Interval, mean_interval
from precsearch.analysis.measures import Measure

if TYPE_CHECKING:
    from precsearch.measured import Evaluation
    from precsearch.results import TrainingRecord

ATTACK: Final = "attack"
CORRUPTION: Final = "corruption"
FLIPS: Final = "bit flips"
PERTURBATION: Final = "perturbation"
MEAN: Final = "mean"
NOISE: Final = "noise"
_MARGIN: Final = 0.002
_BY_CHANCE: Final = 0.1
_NORMS: Final = {"linf": "L∞", "l2": "L2"}

# training, what was measured of it frozen, and as the mean over draws
Measured = Iterable[tuple["TrainingRecord", "Evaluation | None", "Evaluation | None"]]


@dataclass(frozen=True)
class Condition:
    """What is done to images or weights.

    Attributes:
        group: ``attack``, ``corruption``, ``bit flips`` or ``perturbation``.
        name: the attack and its norm (``pgd linf``), the corruption, empty for flips, the norm of a perturbation.
        size: epsilon or rate; None for the mean over sizes (severities, rates, corruptions), and where there is none.
    """

    group: str
    name: str = ""
    size: float | None = None

    @property
    def metric(self) -> str:
        """A name for it: ``attack pgd linf 0.1``, ``corruption blur``."""
        over = MEAN if self.group in {ATTACK, FLIPS} else ""
        return " ".join(filter(None, (self.group, self.name, over if self.size is None else f"{self.size:g}")))

    @property
    def words(self) -> str:
        """For people: ``PGD, ε 0.1 (L∞)``."""
        if self.group == ATTACK:
            attack, norm = self.name.split(" ")
            size = "mean over ε" if self.size is None else f"ε {self.size:g}"
            return f"{attack.upper()}, {size} ({_NORMS[norm]})"
        if self.group == FLIPS:
            return "weight bits flipped, mean" if self.size is None else f"weight bits flipped at {self.size:g}"
        if self.group == PERTURBATION:
            return f"median smallest perturbation ({_NORMS[self.name]})"
        named = {MEAN: "corruptions, mean", NOISE: "noise, mean"}
        return named.get(self.name, self.name.replace("_", " "))

    def measure(self, margin: float | None = None) -> Measure:
        """How it is told; `margin` is of accuracies, a fraction of 1."""
        if self.group == PERTURBATION:
            return Measure(self.metric, self.words, "", 1.0, "maximize", None)
        words = f"accuracy under {self.words}" if self.group == ATTACK else f"accuracy with {self.words}"
        words = words if self.group != CORRUPTION else f"accuracy under {self.words}"
        return Measure(self.metric, words, "points", 100.0, "maximize", _MARGIN if margin is None else margin)

    @property
    def overall(self) -> bool:
        """Whether it is a mean over sizes, over noises or over all corruptions: what is compared."""
        return self.size is None and (self.group != CORRUPTION or self.name in {MEAN, NOISE})


@dataclass(frozen=True)
class DisturbedRow:
    """One arm in one cell under one condition.

    Attributes:
        cell: its number.
        arm: likewise.
        condition: what was done.
        interval: accuracy, a fraction of 1 (of a perturbation its size), the mean over seeds.
        checks: masking check -> seeds in which it failed; of attacks and perturbations, which attacks find.
        checked: seeds in which masking was checked.
    """

    cell: int
    arm: Arm
    condition: Condition
    interval: Interval
    checks: Mapping[str, int]
    checked: int

    @property
    def caveat(self) -> str:
        """``transfer failed in 3 of 30``; empty where no check failed, or this is no attack."""
        return ", ".join(f"{check} failed in {seeds} of {self.checked}" for check, seeds in self.checks.items())

    @property
    def doubtful(self) -> bool:
        """Whether a check failed in more than one seed of ten: by chance one does now and then."""
        return any(seeds > _BY_CHANCE * self.checked for seeds in self.checks.values())


def disturbances(found: Evaluation) -> dict[Condition, float]:
    """Everything that was measured under disturbance; accuracies are fractions of 1."""
    values: dict[Condition, float] = {}
    for curve in found.attacks:
        name = f"{curve.attack} {curve.norm}"
        at = dict(zip(curve.epsilons, curve.accuracies, strict=True))
        values |= {Condition(ATTACK, name, epsilon): accuracy for epsilon, accuracy in at.items()}
        values[Condition(ATTACK, name)] = float(np.mean([accuracy for epsilon, accuracy in at.items() if epsilon > 0]))
    means = {each.corruption: float(np.mean(each.accuracies)) for each in found.corruptions}
    values |= {Condition(CORRUPTION, name): mean for name, mean in means.items()}
    for name, chosen in ((NOISE, [m for n, m in means.items() if n.endswith("_noise")]), (MEAN, [*means.values()])):
        if chosen:
            values[Condition(CORRUPTION, name)] = float(np.mean(chosen))
    values |= {Condition(FLIPS, "", each.rate): float(np.mean(each.accuracies)) for each in found.bit_flips}
    if found.bit_flips:
        values[Condition(FLIPS)] = float(np.mean([np.mean(each.accuracies) for each in found.bit_flips]))
    for each in found.perturbations:
        median = each.quartiles[1]
        values[Condition(PERTURBATION, each.norm)] = each.largest if median is None else median
    return values


def disturbed_networks(measured: Measured, arms: Sequence[Arm]) -> tuple[list[Network], list[Condition]]:
    """One network for each training and way of measuring it, its values by `Condition.metric`; every condition.

    A training that nothing was asked of is left out: that is no failure.
    """
    found, conditions, networks = list(measured), dict[Condition, None](), []
    for arm in arms:
        for record, frozen, drawn in found:
            evaluation = drawn if arm.kind == DRAWN else frozen
            values = disturbances(evaluation) if evaluation is not None else {}
            if arm.arm == record.arm and (values or record.state != "complete"):
                conditions |= dict.fromkeys(values)
                networks.append(_network(arm, record, values, evaluation))
    return networks, list(conditions)


def disturbed_rows(networks: Sequence[Network], conditions: Sequence[Condition]) -> Iterator[DisturbedRow]:
    """One row for each cell, condition and arm that was measured, in that order."""
    for cell in cells_of(networks):
        own = [network for network in networks if network.cell == cell and not network.failed]
        for condition in conditions:
            for arm in dict.fromkeys(network.arm for network in own):
                mine = [each for each in own if each.arm == arm and condition.metric in each.values]
                if mine:
                    checked = (
                        [each for each in mine if each.checked] if condition.group in {ATTACK, PERTURBATION} else []
                    )
                    failed = Counter(check for each in checked for check in sorted(each.suspect))
                    interval = mean_interval([each.values[condition.metric] for each in mine])
                    yield DisturbedRow(cell, arm, condition, interval, dict(failed), len(checked))


def disturbed_claims(
    networks: Sequence[Network],
    conditions: Sequence[Condition],
    pairs: Iterable[Pair],
    places: Mapping[int, str],
    margin: float | None = None,
) -> list[ArmClaim]:
    """What the seeds say of every pair of arms under each overall condition; a family each.

    Args:
        networks: from `disturbed_networks`.
        conditions: likewise.
        pairs: from `precsearch.analysis.arm_claims.pairings`.
        places: cell -> the cell in words.
        margin: of equivalence for accuracies, a fraction of 1.
    """
    rows = {(row.cell, row.arm, row.condition): row for row in disturbed_rows(networks, conditions)}
    wanted, found = list(pairs), []
    for condition in conditions:
        if condition.overall:
            for claim in arm_claims(networks, wanted, condition.measure(margin), places):
                each = claim.differences
                own = [rows[each.cell, arm, condition] for arm in (each.arm, each.against)]
                caveat = "; ".join(f"{row.arm.name}: {row.caveat}" for row in own if row.caveat)
                said = f" Masking checks: {caveat}; attacks that fail look the same." if caveat else ""
                doubtful = any(row.doubtful for row in own)
                found.append(replace(claim, sentence=claim.sentence + said, caveat=caveat, doubtful=doubtful))
    return found


def _network(
    arm: Arm, record: TrainingRecord, values: Mapping[Condition, float], evaluation: Evaluation | None
) -> Network:
    checks = evaluation.masking if evaluation is not None else ()
    return Network(
        arm=arm,
        cell=record.number,
        index=record.index,
        values={condition.metric: value for condition, value in values.items()},
        suspect=frozenset(check.check for check in checks if not check.passed),
        checked=frozenset(check.check for check in checks),
    )
