"""The allocation as it is: JSON format 1. Read back, only its bits are taken: for a model whose layers it names."""

from __future__ import annotations

from typing import Any

from precsearch.allocation import FORMAT, Allocation, Target
from precsearch.exports.dialects.base import Entry, Given, Types
from precsearch.exports.dialects.source import Source
from precsearch.exports.report import WrittenText


class Native:
    """Everything that an allocation says."""

    what = "the allocation, JSON format 1"
    carries: tuple[Target, ...] = ("weight", "activation", "gradient")

    def write(self, allocation: Allocation) -> WrittenText:
        """`Allocation.to_json`."""
        return WrittenText(text=allocation.to_json())

    def speaks(self, data: Any) -> bool:
        """Whether it says so itself."""
        return isinstance(data, dict) and data.get("format") == FORMAT

    def read(self, source: Source, types: Types) -> Given:
        """The bits of every target that it names."""
        allocation = Allocation.from_json(source.path)
        return Given(
            {
                (layer.name, target): Entry(precision.bits, source.at(layer.name))
                for layer in allocation.layers
                for target, precision in layer.targets.items()
            }
        )
