"""The questions that a run answers, by kind: what stands at the top of its page and at the end of its `run`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from precsearch.analysis.answers import Answer
    from precsearch.report.arms.reading import ArmsData

# kind -> what answers its questions from one run, by question, then by cell
ANSWERS: Final[dict[str, Callable[[ArmsData], list[Answer]]]] = {
    "compare": lambda data: data.compared.answers,
    "grid": lambda data: data.gridded.answers,
}


def answers_of(data: ArmsData) -> list[Answer]:
    """Every answer that one run gives by now."""
    return ANSWERS[data.kind](data) if data.kind in ANSWERS else []
