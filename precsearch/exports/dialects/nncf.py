"""NNCF's `bitwidth_per_scope`, as its configuration had it up to 2.19: [[bits, scope], ...] under `compression`.

NNCF 3 has no map of layers to bits any more.
"""

from __future__ import annotations

import re
from typing import Any, Final

from precsearch.allocation import Allocation, LayerPrecision, Target
from precsearch.errors import AllocationError
from precsearch.exports.dialects.base import (
    LEFT_OUT,
    QUANTIZED,
    Entry,
    Given,
    Held,
    Limits,
    Part,
    Types,
    holding,
    written,
)  # fmt: skip
from precsearch.exports.dialects.source import Source
from precsearch.exports.report import WrittenText

_KEY: Final = "bitwidth_per_scope"
_OPERATIONS: Final = {name: re.sub(r"(?<=v)Transpose", "_transpose", name).lower() for name in QUANTIZED}
_LEAST: Final = 2
_UNKNOWN: Final = "*"  # a class that an allocation does not know
_WHY_FLOAT: Final = "the list has bits only: what it does not name has the configuration's own"
_WHY_ACTIVATION: Final = "NNCF gives activations the bits of the weight they meet, and its list names weights"


class Nncf:
    """Bits a scope; a scope is the path of a weight through its model's modules, with their classes."""

    what = "NNCF's bitwidth_per_scope (up to NNCF 2.19)"
    carries: tuple[Target, ...] = ("weight",)

    def write(self, allocation: Allocation) -> WrittenText:
        """The `compression` part of a configuration."""
        limits = Limits("NNCF", self.carries, QUANTIZED, least=_LEAST)
        held = holding(limits, allocation)
        for part, each in held.items():
            if part[1] == "activation":
                held[part] = Held(None, LEFT_OUT, _WHY_ACTIVATION)
            elif each.written and each.bits is None:
                held[part] = Held(None, LEFT_OUT, _WHY_FLOAT)
        scopes = [
            [held[layer.name, "weight"].bits, _scope(allocation.model.name, layer)]
            for layer in allocation.layers
            if (layer.name, "weight") in held and held[layer.name, "weight"].written
        ]
        document = {"compression": {"algorithm": "quantization", "initializer": {"precision": {_KEY: scopes}}}}
        nested = any(f"{_UNKNOWN}[" in str(scope) for _, scope in scopes)
        return written(
            allocation,
            document,
            held,
            "NNCF 3 has no map of layers to bits any more; this is what NNCF read up to 2.19",
            f"`{_UNKNOWN}` stands for classes of outer modules, which an allocation does not know: fill them in"
            if nested
            else None,
        )

    def speaks(self, data: Any) -> bool:
        """Whether the list is anywhere in it."""
        return _found(data) is not None

    def read(self, source: Source, types: Types) -> Given:
        """The weight bits of every scope that names a weight."""
        entries: dict[Part, Entry] = {}
        left = []
        for pair in _found(source.data) or ():
            if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[1], str):  # noqa: PLR2004 -- a pair
                raise AllocationError(f"{source.at(_KEY)}: {_KEY} takes pairs of bits and scope, but got {pair!r}")
            bits, scope = pair
            if not scope.endswith("|WEIGHT"):
                left.append(scope)
                continue
            layer = ".".join(re.findall(r"\[([^\]]+)\]", scope))
            entries[layer, "weight"] = Entry(source.bits(bits, layer, scope), source.at(scope))
        return Given(entries, (f"not taken, since they are no weights: {', '.join(left)}",) if left else ())


def _scope(model: str, layer: LayerPrecision) -> str:
    *outer, own = layer.name.split(".")
    path = [model, *(f"{_UNKNOWN}[{name}]" for name in outer), f"NNCF{layer.type}[{own}]"]
    return f"{'/'.join(path)}/{_OPERATIONS[layer.type]}_0|WEIGHT"


def _found(data: Any) -> list[Any] | None:
    """The list, wherever in the configuration it is."""
    if isinstance(data, dict) and isinstance(data.get(_KEY), list):
        found: list[Any] = data[_KEY]
        return found
    inside = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return next((deep for each in inside if (deep := _found(each)) is not None), None)
