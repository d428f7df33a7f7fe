"""What a question is answered with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Told = Literal["yes", "no", "mixed", "not shown"]


@dataclass(frozen=True)
class Answer:
    """One answer to one question, in one cell.

    Attributes:
        question: such as ``Are learned allocations near-uniform?``
        at: the cell in words, such as ``2.5 bits``; empty where there is one cell, or it is about all.
        told: the answer in a word.
        sentence: the answer with the figures that it follows from, to be read as it is.
    """

    question: str
    at: str
    told: Told
    sentence: str
