"""What a search with a range leaves behind: its answers, and the weights that fine-tuning any of them starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from precsearch.precision.front import BudgetFront, FrontPoint
from precsearch.precision.limits import Limit, along, pairs
from precsearch.searchable import SearchableModel
from precsearch.training.checkpoint import save_weights

STEPS: Final = 400
"""Limits that the front is asked at, evenly over the range: every 0.01 bits of 2 to 6."""
FRONT: Final = "front.json"
WEIGHTS: Final = "search_weights.safetensors"


def leave_front(directory: Path, searchable: SearchableModel, provenance: dict[str, Any]) -> None:
    """Write `FRONT` and `WEIGHTS` into a trial's directory, where the search answers more than one limit."""
    if searchable.plan.ranged is not None and searchable.sampler.learns:
        front = front_of(searchable)
        told = front.allocation.with_context({}, provenance)
        front.model_copy(update={"allocation": told}).write(directory / FRONT)
        save_weights(searchable.model, directory / WEIGHTS)


def front_of(searchable: SearchableModel) -> BudgetFront:
    """The answers of a search whose budget has a range, from low to high; equal ones once.

    Args:
        searchable: asked at `STEPS` limits at most; where one leaves budget unused, at none in between.
    """
    ranged = searchable.plan.ranged
    if ranged is None:
        raise ValueError("a front needs a budget with a range")
    points: list[FrontPoint] = []
    for step in range(STEPS, -1, -1):
        limit = _rounded(along(ranged.ends, step / STEPS))
        if not points or not points[-1].keeps(limit, ranged.index):
            points.append(FrontPoint.of(searchable.allocation(limit)))
    return BudgetFront.model_validate(
        {
            "ranged": ranged.index,
            "range": pairs(ranged.ends),
            "allocation": searchable.allocation(),
            "points": tuple(reversed(points)),
        }
    )


def _rounded(limit: Limit) -> Limit:
    """Without the dust of a sum of floats, so that ``--budget 2.75`` finds what 2.75 was asked."""
    if isinstance(limit, float | int):
        return float(f"{limit:.12g}")
    return {target: float(f"{value:.12g}") for target, value in limit.items()}
