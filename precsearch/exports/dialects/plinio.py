"""PLiNIO's `MPS.summary()`: layer -> in_precision, out_precision, w_precision, type. It is a dict; here it is JSON."""

from __future__ import annotations

from typing import Any, Final

from precsearch.allocation import FLOAT_BITS, Allocation, LayerPrecision, Target
from precsearch.errors import AllocationError
from precsearch.exports.dialects.base import (
    LEFT_OUT,
    Entry,
    Given,
    Held,
    Holding,
    Limits,
    Part,
    Types,
    holding,
    written,
)  # fmt: skip
from precsearch.exports.dialects.source import Source
from precsearch.exports.report import WrittenText

_TYPES: Final = {name: f"MPS{name}" for name in ("Linear", "Conv1d", "Conv2d", "Conv3d")}
_KEYS: Final[dict[str, Target]] = {"w_precision": "weight", "in_precision": "activation"}
_WHY_FLOAT: Final = "a summary has searched layers only: a weight that it does not name stays in float32"


class Plinio:
    """A layer's own precisions; what it returns is not an allocation's to say, so `out_precision` is not written."""

    what = "the dict of PLiNIO's MPS.summary()"
    carries: tuple[Target, ...] = ("weight", "activation")

    def write(self, allocation: Allocation) -> WrittenText:
        """The summary of every layer whose weight has bits."""
        held = holding(Limits("PLiNIO", self.carries, _TYPES), allocation)
        held |= self._unnamed(allocation, held)
        document = {layer.name: self._layer(layer, held) for layer in allocation.layers if self._named(layer, held)}
        return written(
            allocation, document, held, "`out_precision` is left out: an allocation says what layers read, not return"
        )

    @staticmethod
    def _named(layer: LayerPrecision, held: Holding) -> bool:
        weight = held.get((layer.name, "weight"))
        return weight is not None and weight.written

    def _unnamed(self, allocation: Allocation, held: Holding) -> Holding:
        """What goes with the weights that have no bits."""
        left = {layer.name for layer in allocation.layers if layer.bits() is None}
        return {
            part: Held(None, LEFT_OUT, _WHY_FLOAT) for part, each in held.items() if part[0] in left and each.written
        }

    @staticmethod
    def _layer(layer: LayerPrecision, held: Holding) -> dict[str, Any]:
        parts = {key: held.get((layer.name, target)) for key, target in reversed(_KEYS.items())}
        found = {key: part.bits or FLOAT_BITS for key, part in parts.items() if part is not None and part.written}
        return {**found, "type": _TYPES[layer.type]}

    def speaks(self, data: Any) -> bool:
        """Whether it is an object of layers with PLiNIO's types."""
        return (
            isinstance(data, dict)
            and any(isinstance(value, dict) and "w_precision" in value for value in data.values())
            and all(isinstance(value, dict) and "type" in value for value in data.values())
        )

    def read(self, source: Source, types: Types) -> Given:
        """The precisions of every layer that has a weight; sums and inputs have none and are told of."""
        entries: dict[Part, Entry] = {}
        skipped = []
        for name, summary in source.data.items():
            if "w_precision" not in summary:
                skipped.append(name)
                continue
            for key, target in _KEYS.items():
                if key in summary:
                    bits = source.bits(_one(source, summary[key], name), f"{name}: {key}", name)
                    entries[name, target] = Entry(bits, source.at(name))
        return Given(entries, (f"not taken, since they have no weight: {', '.join(skipped)}",) if skipped else ())


def _one(source: Source, value: Any, name: str) -> Any:
    """One precision, or that of channels which all have the same."""
    if not isinstance(value, list) or not value:
        return value
    if any(each != value[0] for each in value):
        raise AllocationError(
            f"{source.at(name)}: {name}: a layer has one bit-width here, but its channels have "
            f"{', '.join(map(str, sorted(set(value))))}; search per layer (MPSType.PER_LAYER)"
        )
    return value[0]
