"""Brevitas: layer -> what its `brevitas.nn` layer takes as keyword arguments. Brevitas reads no file; this is JSON."""

from __future__ import annotations

from typing import Any, Final

from precsearch.allocation import Allocation, LayerPrecision, Target
from precsearch.errors import AllocationError
from precsearch.exports.dialects.base import (
    QUANTIZED,
    Entry,
    Given,
    Held,
    Holding,
    Limits,
    Part,
    Types,
    grid_note,
    holding,
    written,
)  # fmt: skip
from precsearch.exports.dialects.source import Source
from precsearch.exports.report import WrittenText

_LIMITS: Final = Limits("Brevitas", ("weight", "activation"), QUANTIZED, least=2)
_PREFIXES: Final[dict[str, Target]] = {"weight": "weight", "input": "activation"}
_DEFAULT: Final = 8  # bits of the quantizers named Int8..., where no width is given
_INTEGERS: Final = ("Int8", "Uint8", "ShiftedUint8")


class Brevitas:
    """A `layer` of `brevitas.nn`, with quantizers of `brevitas.quant` by name, and bit-widths."""

    what = "keyword arguments of Brevitas' layers, JSON"
    carries: tuple[Target, ...] = ("weight", "activation")

    def write(self, allocation: Allocation) -> WrittenText:
        """The arguments of every layer that Brevitas has."""
        held = holding(_LIMITS, allocation)
        document = {layer.name: _arguments(layer, held) for layer in allocation.layers if layer.type in QUANTIZED}
        return written(allocation, document, held, grid_note(allocation, "Brevitas"))

    def speaks(self, data: Any) -> bool:
        """Whether it is an object of layers with Brevitas' arguments."""
        known = {f"{prefix}_{what}" for prefix in _PREFIXES for what in ("quant", "bit_width")}
        return (
            isinstance(data, dict)
            and all(isinstance(value, dict) for value in data.values())
            and any(known & value.keys() for value in data.values())
        )

    def read(self, source: Source, types: Types) -> Given:
        """The bit-widths of every layer."""
        entries: dict[Part, Entry] = {}
        for name, arguments in source.data.items():
            for prefix, target in _PREFIXES.items():
                if f"{prefix}_quant" in arguments or f"{prefix}_bit_width" in arguments:
                    entries[name, target] = Entry(_bits(source, name, prefix, arguments), source.at(name))
        return Given(entries)


def _arguments(layer: LayerPrecision, held: Holding) -> dict[str, Any]:
    found: dict[str, Any] = {"layer": f"Quant{layer.type}"}
    weight, activation = held.get((layer.name, "weight")), held.get((layer.name, "activation"))
    if weight is None or weight.bits is None:
        found["weight_quant"] = None  # said, since a layer of Brevitas has 8 bits else
    else:
        found |= _quantizer("weight", "Int8WeightPerTensorFloat", weight)
        found["weight_scaling_per_output_channel"] = layer.targets["weight"].granularity == "channel"
    if activation is not None:
        kind = "Int8" if layer.targets["activation"].signed else "Uint8"
        found |= _quantizer("input", f"{kind}ActPerTensorFloat", activation)
    return found


def _quantizer(prefix: str, name: str, held: Held) -> dict[str, Any]:
    if held.bits is None:
        return {f"{prefix}_quant": None}
    return {f"{prefix}_quant": name, f"{prefix}_bit_width": held.bits}


def _bits(source: Source, name: str, prefix: str, arguments: dict[str, Any]) -> int | None:
    quantizer = arguments.get(f"{prefix}_quant", "Int8")
    if quantizer is None:
        return None
    if not isinstance(quantizer, str) or not quantizer.startswith(_INTEGERS):
        raise AllocationError(
            f"{source.at(name)}: {name}: {prefix}_quant must be null or an integer quantizer of brevitas.quant "
            f"({', '.join(f'{each}...' for each in _INTEGERS)}), but got {quantizer!r}"
        )
    return source.bits(arguments.get(f"{prefix}_bit_width", _DEFAULT), f"{name}: {prefix}_bit_width", name)
