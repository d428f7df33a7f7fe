"""What a figure of the report is: a drawing, the numbers in it, and what it says."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass

Cell = str | float | int | None


@dataclass(frozen=True)
class Table:
    """The numbers of a figure, as they were measured.

    Attributes:
        columns: a name for each column.
        rows: a cell for each column; None where nothing was measured.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def to_csv(self) -> str:
        """CSV text: a line of names, then the rows; an empty cell for None."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        return text.getvalue()

    def to_json(self) -> str:
        """JSON text: a list with one object for each row, column -> cell; a line each."""
        rows = (dict(zip(self.columns, row, strict=True)) for row in self.rows)
        return "[" + ",".join(f"\n{json.dumps(row, ensure_ascii=False, allow_nan=False)}" for row in rows) + "\n]\n"


@dataclass(frozen=True)
class Figure:
    """One figure of the report.

    Attributes:
        name: stem of its files, and prefix of every id in `svg`.
        section: heading that it stands under; figures of one section follow each other.
        title: a short heading of its own.
        caption: one to three plain sentences: what is drawn, and what the data shows.
        table: its numbers.
        svg: one ``<svg>`` element without XML declaration, to be opened alone or put into a page. Its colours are
            CSS variables (`precsearch.report.figures.palette.COLORS`) that a page may set; alone it sets them itself,
            for light and for dark.
    """

    name: str
    section: str
    title: str
    caption: str
    table: Table
    svg: str
