"""HAWQ's tables: layer -> weight bits, flat."""

from __future__ import annotations

from typing import Any, Final

from precsearch.allocation import Allocation, Target
from precsearch.exports.dialects.base import LEFT_OUT, Entry, Given, Held, Limits, Types, holding, written
from precsearch.exports.dialects.source import Source
from precsearch.exports.report import WrittenText

_WHY_FLOAT: Final = "a table has bits only: what it does not name stays in float32"


class Hawq:
    """One number a layer, the bits of its weight; HAWQ's own tables name modules of its quantized networks."""

    what = "a flat table of weight bits, as HAWQ's"
    carries: tuple[Target, ...] = ("weight",)

    def write(self, allocation: Allocation) -> WrittenText:
        """Layer -> bits; every type of layer has a name."""
        limits = Limits("a HAWQ table", self.carries, {layer.type for layer in allocation.layers})
        held = {
            part: Held(None, LEFT_OUT, _WHY_FLOAT) if each.written and each.bits is None else each
            for part, each in holding(limits, allocation).items()
        }
        table = {layer: each.bits for (layer, _), each in held.items() if each.written}
        return written(allocation, table, held)

    def speaks(self, data: Any) -> bool:
        """Whether it is an object of numbers alone."""
        return (
            isinstance(data, dict)
            and bool(data)
            and all(isinstance(value, int | float) and not isinstance(value, bool) for value in data.values())
        )

    def read(self, source: Source, types: Types) -> Given:
        """The weight bits of every layer that it names."""
        return Given(
            {
                (layer, "weight"): Entry(source.bits(bits, layer, layer), source.at(layer))
                for layer, bits in source.data.items()
            }
        )
