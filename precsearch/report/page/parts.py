"""What pages of comparisons and grids have beside that of a study: questions that are answered, and tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class AnswerPart:
    """One answer: the word, its class in the page (``yes``, ``same``, ``open``), and the sentence."""

    told: str
    mark: str
    sentence: str


@dataclass(frozen=True)
class QuestionPart:
    """A question with its answers."""

    question: str
    answers: tuple[AnswerPart, ...]


@dataclass(frozen=True)
class CellPart:
    """One cell of a table: its text, and its classes in the page."""

    text: str
    css: str = ""


@dataclass(frozen=True)
class TablePart:
    """One table under the heading of its group.

    Attributes:
        title: of the table.
        headers: of its columns.
        rows: a cell for each column.
        sentences: what belongs to the rows and is longer than a cell; folded away.
        folded: whether the table itself is.
    """

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[CellPart, ...], ...]
    sentences: tuple[str, ...] = ()
    folded: bool = False


@dataclass(frozen=True)
class TablesPart:
    """Tables under one heading.

    Attributes:
        id: of the section.
        title: the heading.
        notes: what holds for all of them.
        tables: at least one.
        told: the same for machines: one plain object a row.
    """

    id: str
    title: str
    notes: tuple[str, ...]
    tables: tuple[TablePart, ...]
    told: tuple[dict[str, Any], ...] = ()
