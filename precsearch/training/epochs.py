"""What every stage does with an epoch's batches and its losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator

from torch import Tensor

from precsearch.data.batches import Batches
from precsearch.errors import DivergedError


def check_finite(name: str, value: float) -> float:
    """`value`, which is a loss or a metric.

    Raises:
        DivergedError: when it is no longer finite.
    """
    if not math.isfinite(value):
        raise DivergedError(f"{name} became {value}; lower inner.optimizer.lr or inner.logits.lr")
    return value


def check_metrics(metrics: dict[str, float]) -> dict[str, float]:
    """`metrics`, every one of them finite.

    Raises:
        DivergedError: when one is not.
    """
    for name, value in metrics.items():
        check_finite(name, value)
    return metrics


def forever(batches: Batches) -> Generator[tuple[Tensor, Tensor], None, None]:
    """Epoch after epoch."""
    while True:
        yield from batches


def mean_loss(step: Callable[[Tensor, Tensor], float], batches: Batches) -> float:
    """One epoch of steps -> their mean loss."""
    # a plain loop: an error leaves it, and no one holds the batches' reader and its processes any more
    collected = []
    for inputs, targets in batches:
        collected.append(step(inputs, targets))
    return sum(collected) / len(collected)
