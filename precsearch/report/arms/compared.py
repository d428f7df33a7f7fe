"""What the arms of a `compare` come to, worked out once for the page, its figures and the terminal."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

from precsearch.analysis.arm_answers import beats, near_uniform, regularizes, withstands
from precsearch.analysis.arm_bits import LayerRow, UniformityRow, layer_rows, spent_rows, uniformity_rows
from precsearch.analysis.arm_claims import ArmClaim, Pair, arm_claims, pairings
from precsearch.analysis.arm_robustness import (
    Condition,
    DisturbedRow,
    disturbed_claims,
    disturbed_networks,
    disturbed_rows,
)
from precsearch.analysis.arms import COSTS, METRICS, Arm, MeanRow, Network, arm_measure, arms_of, mean_rows, networks_of
from precsearch.analysis.sentences import budget_text

if TYPE_CHECKING:
    from precsearch.allocation import Allocation
    from precsearch.analysis.answers import Answer
    from precsearch.experiment import CompareSettings
    from precsearch.report.arms.reading import ArmsData
    from precsearch.results import TrainingRecord

_DIGITS: Final = 3  # of a mean of what is spent


class Compared:
    """What the arms of one run come to; each part is worked out when it is first asked for.

    Args:
        data: of kind `compare`.
    """

    def __init__(self, data: ArmsData) -> None:
        self._data = data

    @property
    def settings(self) -> CompareSettings:
        """Of the comparison."""
        found = self._data.experiment.compare
        assert found is not None, "the loader gives every compare its block"
        return found

    @property
    def kinds(self) -> dict[str, str]:
        """Arm of the run -> its kind, in the order of the experiment."""
        return {name: arm.kind for name, arm in self.settings.arms.items()}

    @cached_property
    def arms(self) -> list[Arm]:
        """Every arm, a stochastic one twice."""
        return arms_of(self.kinds, self._records)

    @cached_property
    def networks(self) -> list[Network]:
        """What was measured of every training."""
        return networks_of(self._records, self.arms)

    @cached_property
    def pairs(self) -> list[Pair]:
        """Arms that are compared."""
        return pairings(self.arms, self.settings.against)

    @cached_property
    def means(self) -> list[MeanRow]:
        """The mean of every arm in every cell."""
        return list(mean_rows(self.networks, (*METRICS, *COSTS)))

    @cached_property
    def claims(self) -> dict[str, list[ArmClaim]]:
        """Metric -> every comparison of it."""
        margin, places = self.settings.margin, self._data.places
        return {
            metric: arm_claims(self.networks, self.pairs, arm_measure(metric, margin), places) for metric in METRICS
        }

    @cached_property
    def disturbed(self) -> tuple[list[Network], list[Condition]]:
        """What was measured of every training under attack, corruption and flipped bits."""
        found = ((each.record, each.evaluation, each.drawn) for each in self._data.trainings)
        return disturbed_networks(found, self.arms)

    @cached_property
    def disturbed_means(self) -> list[DisturbedRow]:
        """The mean of every arm, cell and condition."""
        return list(disturbed_rows(*self.disturbed))

    @cached_property
    def disturbed_claims(self) -> list[ArmClaim]:
        """Every comparison of them."""
        return disturbed_claims(*self.disturbed, self.pairs, self._data.places, self.settings.margin)

    @cached_property
    def bits(self) -> list[LayerRow]:
        """Bits of every layer over seeds."""
        return layer_rows(self._allocated)

    @cached_property
    def uniformity(self) -> list[UniformityRow]:
        """How far from uniform every arm lies."""
        return list(uniformity_rows(self._allocated))

    @cached_property
    def spent(self) -> dict[tuple[int, str], str]:
        """(cell, arm of the run) -> what it spends of its budget, in words."""
        kind = self._data.experiment.inner.budget.kind
        found = {}
        for key, spent in spent_rows(self._allocated).items():
            rounded = (
                {target: round(each, _DIGITS) for target, each in spent.items()}
                if isinstance(spent, dict)
                else round(spent, _DIGITS)
            )
            found[key] = budget_text(rounded, kind)
        return found

    @cached_property
    def answers(self) -> list[Answer]:
        """The questions of a comparison, answered in each cell."""
        claims = [claim for found in self.claims.values() for claim in found]
        return [
            *regularizes(claims, self.settings.against),
            *near_uniform(self.uniformity, self.kinds, self._data.places),
            *beats(claims, self.spent),
            *withstands(self.disturbed_claims, self.settings.against),
        ]

    @property
    def _records(self) -> list[TrainingRecord]:
        return [training.record for training in self._data.trainings]

    @cached_property
    def _allocated(self) -> list[tuple[TrainingRecord, Allocation | None]]:
        return [(training.record, training.allocation) for training in self._data.complete]
