"""What to type next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from precsearch.report.page.overview import unfinished

if TYPE_CHECKING:
    from precsearch.report.reading import RunData


@dataclass(frozen=True)
class Command:
    """A command line, and what it does."""

    text: str
    what: str


def commands(runs: Sequence[RunData]) -> tuple[Command, ...]:
    """What can be done with each run as it stands."""
    return tuple(command for run in runs for command in _commands(run))


def _commands(run: RunData) -> list[Command]:
    path = shlex.quote(str(run.view.run.path))
    found = []
    if unfinished(run):
        found.append(Command(f"precsearch resume {path}", "Continue the search where it stopped"))
    if run.view.front:
        found.append(Command(f"precsearch export {path} -o best.json", "The best allocation as JSON"))
        if not unfinished(run):
            what = "Retrain the front and its baselines on fresh seeds, and say which differences stand"
            found.append(Command(f"precsearch confirm {path} --seeds 5", what))
    return [*found, Command(f"precsearch list {path}", "Every trial, in the terminal")]
