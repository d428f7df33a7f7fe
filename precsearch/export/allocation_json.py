"""The allocation as its own JSON, format 1; metrics and provenance are in it already."""

from __future__ import annotations

from pathlib import Path

from precsearch.allocation import Allocation
from precsearch.files import write_text


def export_json(allocation: Allocation, output: Path | None) -> str:
    """The JSON text of `allocation`; written to `output` as well where one is given."""
    text = allocation.to_json()
    if output is not None:
        write_text(output, text)
    return text
