"""Every random stream of a study, from the study's seed: the same on every machine and after every resume."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_FRESH: Final = 2**31
PLACE: Final = "place"  # user attribute: which of the study's trials this is


def derive_seed(study_seed: int, number: int, label: str) -> int:
    """A seed below 2**31 for one use (`label`) in one trial. Python's own `hash` differs by process."""
    digest = hashlib.sha256(f"{study_seed}:{number}:{label}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def trial_seed(study_seed: int, number: int) -> int:
    """The seed of a trial's training, and of the baselines beside it."""
    return derive_seed(study_seed, number, "trial")


def confirm_seeds(study_seed: int, count: int) -> list[int]:
    """Distinct seeds for trainings that confirm; the first ones stay the same however many are asked for.

    No trial of any study has one of them: trials' seeds lie below 2**31, these at or above it.
    """
    return _distinct(study_seed, count, "confirm", _FRESH)


def arm_seeds(study_seed: int, count: int) -> list[int]:
    """Distinct seeds for the arms of an experiment; the first ones stay the same however many are asked for."""
    return _distinct(study_seed, count, "arms", _FRESH)


def tuning_seeds(study_seed: int, count: int) -> list[int]:
    """Likewise for what is tuned before; no arm has one of them: these lie below 2**31, those at or above it."""
    return _distinct(study_seed, count, "tuning", 0)


def _distinct(study_seed: int, count: int, label: str, least: int) -> list[int]:
    seeds: dict[int, None] = {}
    number = 0
    while len(seeds) < count:
        seeds[least + derive_seed(study_seed, number, label)] = None
        number += 1
    return list(seeds)


def place_of(trial: FrozenTrial) -> int:
    """Which of the study's trials this is: its number, but where it stands in for one that was lost."""
    return int(trial.user_attrs.get(PLACE, trial.number))
