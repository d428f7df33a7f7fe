"""Every export format by name, and the one function that exports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from precsearch.allocation import Allocation
from precsearch.errors import ConfigurationError
from precsearch.export.allocation_json import export_json
from precsearch.export.choice import choose
from precsearch.results import RunDirectory

FORMATS: Final[dict[str, Callable[[Allocation, Path | None], str]]] = {"json": export_json}


def export_allocation(
    run: RunDirectory,
    *,
    trial: int | None = None,
    budget: float | None = None,
    knee: bool = False,
    training: str | None = None,
    format: str = "json",
    output: str | Path | None = None,
) -> tuple[Allocation, str]:
    """Export one allocation of a run; the best one unless `trial`, `budget` or `knee` says otherwise.

    Args:
        run: a run directory, finished or not; never written to.
        trial: number of a trial; with `budget`, of one whose budget has a range.
        budget: in the budget kind's unit; what the trial answers at this limit, where its budget has a range, else
            the best trial whose limit is at most this.
        knee: the knee of the front.
        training: of a run of kind compare or grid, by its name, such as ``0003-uniform-02``.
        format: a key of `FORMATS`.
        output: file to write, whole or not at all; nothing is written where None.

    Returns:
        The allocation, and its text in the format.

    Raises:
        ConfigurationError: for an unknown format, or when no trial matches.
    """
    if format not in FORMATS:
        raise ConfigurationError(
            f"a known export format must be named, but got {format!r}; known: {', '.join(FORMATS)}"
        )
    allocation = choose(run, trial, budget, knee, training)
    return allocation, FORMATS[format](allocation, Path(output) if output is not None else None)
