"""Which trainings confirm a front: trials, arms and seeds, what of it is done, and how long the rest will take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from precsearch.allocation import Allocation
from precsearch.errors import ConfigurationError, RunDirectoryError
from precsearch.experiment import Experiment, StudySettings
from precsearch.experiment.loading import apply_point
from precsearch.experiment.outer import UNQUANTIZED
from precsearch.results import RunDirectory, TrialRecord, read_record
from precsearch.selection import front, knee
from precsearch.study.alike import alike
from precsearch.study.seeds import confirm_seeds

FOUND: Final = "found"
ARMS: Final = (FOUND, "uniform", "random", UNQUANTIZED)
MOST: Final = 3  # members of a front that are confirmed unasked: each costs seeds x arms trainings


@dataclass(frozen=True)
class Training:
    """One training to do.

    Attributes:
        member: the trial that it confirms.
        arm: one of `ARMS`.
        index: of the seed.
        seed: the same in every arm.
    """

    member: TrialRecord
    arm: str
    index: int
    seed: int

    @property
    def label(self) -> str:
        """For people: `uniform, seed 2`."""
        return f"{self.arm}, seed {self.index}"


@dataclass(frozen=True)
class ConfirmPlan:
    """What confirms a front.

    Attributes:
        members: the trials, by number.
        front: how many trials the front has.
        seeds: of every arm.
        owners: trial -> the trial whose float network is its own as well, since both would be trained alike.
        trainings: all of them, seed by seed, so that whoever is interrupted has whole pairs.
        missing: those that have no result yet.
        seconds: about how long these take one after another, by how long the like took in the study.
    """

    members: tuple[TrialRecord, ...]
    front: int
    seeds: tuple[int, ...]
    owners: dict[int, int]
    trainings: tuple[Training, ...]
    missing: tuple[Training, ...]
    seconds: float

    def sharing(self, number: int) -> list[int]:
        """The other trials that share the float network of trial `number`."""
        return [each for each, owner in self.owners.items() if owner == number != each]


def plan_confirmation(
    directory: RunDirectory, experiment: Experiment, seeds: int, trials: Sequence[int] = ()
) -> ConfirmPlan:
    """Decide what to train; reads, and writes nothing.

    Args:
        directory: of the run.
        experiment: of the run.
        seeds: in all.
        trials: to confirm; where empty the whole front, or of one with more than `MOST` members the best trial and
            that which is best in each objective.

    Raises:
        ConfigurationError: when one of `trials` is not a complete trial.
        RunDirectoryError: when there is no front.
    """
    records = directory.records()
    members, size = _members(directory, records, experiment.study, trials)
    owners: dict[int, int] = {}
    first: dict[str, int] = {}
    for member in members:
        owners[member.number] = first.setdefault(_unquantized(experiment, member), member.number)
    trainings = tuple(
        Training(member, arm, index, seed)
        for index, seed in enumerate(confirm_seeds(experiment.study.seed, seeds))
        for member in members
        for arm in ARMS
        if arm != UNQUANTIZED or owners[member.number] == member.number
    )
    missing = tuple(
        each for each in trainings if read_record(directory.confirm(each.member.number, each.arm, each.index)) is None
    )
    took = {(record.number, record.baseline): record.seconds for record in directory.baselines()}
    return ConfirmPlan(
        members=tuple(members),
        front=size,
        seeds=tuple(confirm_seeds(experiment.study.seed, seeds)),
        owners=owners,
        trainings=trainings,
        missing=missing,
        seconds=sum(took.get((each.member.number, each.arm), each.member.seconds) for each in missing),
    )


def arm_experiment(directory: RunDirectory, experiment: Experiment, training: Training) -> Experiment:
    """What one training trains: the trial's point with the arm's allocation, at the one limit that it ended with.

    Raises:
        ConfigurationError: when the point is not allowed any more.
        RunDirectoryError: when the trial's allocation is not there.
    """
    arm, given = training.arm, None
    if arm == FOUND:
        found = _allocation(directory, training.member.number)
        quantized = any(precision.bits for layer in found.layers for precision in layer.targets.values())
        arm, given = ("fixed", found.to_json()) if quantized else (UNQUANTIZED, None)
    settled = {"inner.budget.range": None, **experiment.inner.settled(arm, given)}
    return apply_point(experiment, {**training.member.params, **settled})


def _members(
    directory: RunDirectory, records: Sequence[TrialRecord], study: StudySettings, trials: Sequence[int]
) -> tuple[list[TrialRecord], int]:
    members = front(records, study.objectives, study.constraints)
    if trials:
        complete = {record.number: record for record in records if record.state == "complete"}
        for number in trials:
            if number not in complete:
                told = ", ".join(map(str, complete)) or "none"
                raise ConfigurationError(f"--trial must name a complete trial, but got {number}; complete: {told}")
        return [complete[number] for number in sorted(set(trials))], len(members)
    if not members:
        kept = " that keeps the constraints" if study.constraints else ""
        raise RunDirectoryError(
            f"{directory.path} has no front to confirm: no complete trial{kept}; `precsearch list` shows the trials "
            "there are, and `--trial` names one"
        )
    if len(members) <= MOST:
        return members, len(members)
    ends = [front(members, [objective])[0] for objective in study.objectives]
    chosen = {record.number: record for record in (knee(members, study.objectives), *ends)}
    return [chosen[number] for number in sorted(chosen)], len(members)


def _unquantized(experiment: Experiment, member: TrialRecord) -> str:
    """What the float network of a trial follows from, besides the seed."""
    return alike(apply_point(experiment, {**member.params, **experiment.inner.settled(UNQUANTIZED)}))


def _allocation(directory: RunDirectory, number: int) -> Allocation:
    path = directory.trial(number) / "allocation.json"
    if not path.is_file():
        raise RunDirectoryError(f"trial {number} has no {path}; was the run directory copied whole?")
    return Allocation.from_json(path)
