"""The verdicts as the page shows them: what the search bought, and whether the seeds carry it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from precsearch.report.reading import RunData


@dataclass(frozen=True)
class VerdictRow:
    """One question of the table: its cells, and whether the answer is sure."""

    cells: tuple[str, ...]
    mark: Literal["yes", "no", "open"]


@dataclass(frozen=True)
class VerdictPart:
    """All of them.

    Attributes:
        lead: the verdict in plain words, a few sentences.
        notes: what holds for the whole table.
        headers: of its columns.
        rows: none where nothing can be compared yet.
    """

    lead: tuple[str, ...]
    notes: tuple[str, ...]
    headers: tuple[str, ...]
    rows: tuple[VerdictRow, ...]

    def to_dicts(self) -> list[dict[str, str]]:
        """Header -> cell, a row each."""
        return [dict(zip(self.headers, row.cells, strict=True)) for row in self.rows]


def verdict_part(runs: Sequence[RunData]) -> VerdictPart:
    """What can be said of the runs."""
    return VerdictPart((), (), (), ())
