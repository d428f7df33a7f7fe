"""The questions that a run answers, by kind: what stands at the top of its page and at the end of its `run`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from precsearch.report.arms.reading import ArmsData

Told = Literal["yes", "no", "mixed", "not shown"]


@dataclass(frozen=True)
class Answer:
    """One answer to one question, in one cell.

    Attributes:
        question: such as ``Are learned allocations near-uniform?``
        at: the cell in words, such as ``budget.limit 2.5``; empty where there is one cell, or it is about all.
        told: the answer in a word.
        sentence: the answer with the figures that it follows from, to be read as it is.
    """

    question: str
    at: str
    told: Told
    sentence: str


# kind -> what answers its questions from one run, by question, then by cell
ANSWERS: Final[dict[str, Callable[[ArmsData], list[Answer]]]] = {}
