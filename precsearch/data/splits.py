"""Holding images out: stratified by class, the same for every trial; or at random, as a trial draws."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import torch

from precsearch.data.dataset import BaseSplit
from precsearch.errors import DataError

S = TypeVar("S", bound=BaseSplit)

SPLIT_SEED = 0
"""Of every built-in split: fixed, so that trials of any seed are compared on the same images."""

_SMALLEST_CLASS = 2  # one image for each side


def hold_out(split: S, amount: float | int, seed: int = SPLIT_SEED) -> tuple[S, S]:
    """Part a split in two, each class in proportion, both parts in random order.

    Args:
        split: what to part.
        amount: to hold out: a fraction in (0, 1), rounded up, or a count of images.
        seed: the parts depend on nothing else.

    Returns:
        (what remains, what is held out), copies of what is in memory.

    Raises:
        DataError: a part would be empty or smaller than the number of classes, or a class has one image only.
    """
    total = len(split)
    held = math.ceil(amount * total) if isinstance(amount, float) and amount < 1 else int(amount)
    labels, counts = np.unique(split.targets.cpu().numpy(), return_counts=True)
    fewest = len(labels)
    if not fewest <= held <= total - fewest:
        enough = f"set `data.validation` to a count from {fewest} to {total - fewest}, or to a fraction"
        raise DataError(
            f"cannot hold out {amount:g} of {total} training images for validation ({held} images): "
            f"each part needs one image for each of {fewest} classes; "
            + (enough if total >= 2 * fewest else f"at least {2 * fewest} images are needed")
        )
    if counts.min() < _SMALLEST_CLASS:
        raise DataError(
            f"cannot hold out validation images: class {labels[counts.argmin()]} has only 1 training image, "
            f"and at least {_SMALLEST_CLASS} are needed, one for each part"
        )
    from sklearn.model_selection import train_test_split  # over a second: not where the data is mapped from a file

    rest, out = train_test_split(
        np.arange(total), test_size=held, random_state=seed, stratify=split.targets.cpu().numpy()
    )
    return split.select(torch.from_numpy(rest)), split.select(torch.from_numpy(out))


def hold_out_at_random(split: S, fraction: float, generator: torch.Generator) -> tuple[S, S]:
    """Part a split by one permutation drawn from `generator` -> the rest, and the held-out fraction."""
    order = torch.randperm(len(split), generator=generator)
    count = min(max(1, round(fraction * len(split))), len(split) - 1)
    return split.select(order[count:]), split.select(order[:count])
