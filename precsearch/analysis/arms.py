"""Arms that were trained on the same seeds: what was measured of each network, and the mean of each arm.

An arm whose network stays stochastic is measured twice, frozen and as the mean over draws, and is two arms here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from precsearch.analysis.intervals import Interval, mean_interval
from precsearch.analysis.measures import Measure, measure

if TYPE_CHECKING:
    from precsearch.results import TrainingRecord

ERROR: Final = "test_error"
GAP: Final = "test_generalization_gap"
LOSS_GAP: Final = "test_loss_gap"
NLL: Final = "test_loss"
METRICS: Final = (ERROR, GAP, NLL, LOSS_GAP, "test_brier", "test_ece")
COSTS: Final = ("model_size", "bitops")
DRAWN: Final = "drawn"
FLOAT: Final = "float"
STOCHASTIC: Final = "stochastic"
LEARNED: Final = "learned"
EQUAL_COST: Final = ("uniform", "random")  # deterministic allocations that keep the same budget
CONTROLS: Final = ("dropout", "weight-noise")
_PREFIX: Final = "drawn_"
_WORDS: Final = {GAP: "train-test gap", NLL: "test NLL", LOSS_GAP: "train-test gap of the NLL"}


@dataclass(frozen=True)
class Arm:
    """One arm as it is measured in one way.

    Attributes:
        name: for people; that of the run's arm, with ``, frozen`` or ``, drawn`` where it is measured in both ways.
        arm: of the run.
        kind: ``float``, ``uniform``, ``learned`` and so on; ``drawn`` for a stochastic one as the mean over draws.
    """

    name: str
    arm: str
    kind: str


@dataclass(frozen=True)
class Network:
    """What was measured of one training, in one way.

    Attributes:
        arm: in which way.
        cell: number of its cell.
        index: of its seed; the same index is the same seed in every arm.
        values: metric -> value; empty where the training failed.
        suspect: masking checks that failed.
        checked: masking checks that were made.
    """

    arm: Arm
    cell: int
    index: int
    values: Mapping[str, float]
    suspect: frozenset[str] = frozenset()
    checked: frozenset[str] = frozenset()

    @property
    def failed(self) -> bool:
        """Whether nothing was measured of it."""
        return not self.values


@dataclass(frozen=True)
class MeanRow:
    """One arm in one cell.

    Attributes:
        cell: its number.
        arm: likewise.
        metric: what the mean is of.
        interval: the mean over seeds with its 95 % interval, in the metric's own unit.
        failed: trainings without a result.
    """

    cell: int
    arm: Arm
    metric: str
    interval: Interval
    failed: int


def arms_of(kinds: Mapping[str, str], records: Iterable[TrainingRecord]) -> list[Arm]:
    """The arms in the order of `kinds`; a stochastic one is two where it has anything as the mean over draws.

    Args:
        kinds: name -> kind of each arm of the run.
        records: all of them.
    """
    twice = {record.arm for record in records if any(name.startswith(_PREFIX) for name in record.metrics)}
    found = []
    for name, kind in kinds.items():
        if name in twice:
            found += [Arm(f"{name}, frozen", name, kind), Arm(f"{name}, drawn", name, DRAWN)]
        else:
            found.append(Arm(name, name, kind))
    return found


def networks_of(records: Sequence[TrainingRecord], arms: Sequence[Arm]) -> list[Network]:
    """One for each record and way of measuring it, by arm, then in the order of the records."""
    return [
        Network(arm, record.number, record.index, values_of(record.metrics, arm.kind == DRAWN))
        for arm in arms
        for record in records
        if arm.arm == record.arm
    ]


def values_of(metrics: Mapping[str, float], drawn: bool = False) -> dict[str, float]:
    """The metrics of one way of measuring, with the test error and the gaps between training and test images.

    Args:
        metrics: of a record; names of what is the mean over draws begin with ``drawn_``.
        drawn: whether to take these.
    """
    own = {
        name.removeprefix(_PREFIX) if drawn else name: value
        for name, value in metrics.items()
        if name.startswith(_PREFIX) == drawn
    }
    found = dict(own)
    if "test_accuracy" in own:
        found[ERROR] = 1 - own["test_accuracy"]
        if "train_accuracy" in own:
            found[GAP] = own["train_accuracy"] - own["test_accuracy"]
    if "test_loss" in own and "train_loss" in own:
        found[LOSS_GAP] = own["test_loss"] - own["train_loss"]
    return found


def arm_measure(metric: str, margin: float | None = None) -> Measure:
    """How a metric of an arm is told.

    Args:
        metric: its name.
        margin: of equivalence for errors, accuracies and gaps between accuracies, a fraction of 1; the usual one where
            None.
    """
    told = measure(metric)
    told = replace(told, words=_WORDS.get(metric, told.words))
    counted = metric in {ERROR, GAP} or metric.endswith("accuracy")
    return replace(told, margin=margin) if counted and margin is not None else told


def cells_of(networks: Iterable[Network]) -> list[int]:
    """Every cell that has ended a training."""
    return sorted({network.cell for network in networks})


def mean_rows(networks: Sequence[Network], metrics: Collection[str] = METRICS) -> Iterator[MeanRow]:
    """One row for each cell, arm and metric that was measured there, in that order."""
    for cell in cells_of(networks):
        own = [network for network in networks if network.cell == cell]
        for arm in dict.fromkeys(network.arm for network in own):
            mine = [network for network in own if network.arm == arm]
            failed = sum(network.failed for network in mine)
            for metric in metrics:
                samples = [network.values[metric] for network in mine if metric in network.values]
                if samples:
                    yield MeanRow(cell, arm, metric, mean_interval(samples), failed)
