"""torchao's `FqnToConfig`, as `torchao.core.config.config_to_dict` writes it and `config_from_dict` reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from precsearch.allocation import Allocation, LayerPrecision, Target
from precsearch.errors import AllocationError
from precsearch.exports.dialects.base import (
    FLOAT,
    Entry,
    Given,
    Held,
    Holding,
    Limits,
    Part,
    Types,
    channel_note,
    grid_note,
    holding,
    written,
)  # fmt: skip
from precsearch.exports.dialects.source import Source
from precsearch.exports.report import WrittenText

_LIMITS: Final = Limits("torchao", ("weight", "activation"), ("Linear",), least=2, most=8)
_FIXED: Final[dict[str, tuple[int, int | None]]] = {  # configurations whose bits are in their names: weight, activation
    "Int8WeightOnlyConfig": (8, None),
    "Int4WeightOnlyConfig": (4, None),
    "Int8DynamicActivationInt8WeightConfig": (8, 8),
    "Int8DynamicActivationInt4WeightConfig": (4, 8),
}
_WEIGHT: Final = "IntxWeightOnlyConfig"
_BOTH: Final = "Int8DynamicActivationIntxWeightConfig"
_DYNAMIC: Final = 8  # bits that torchao's activations have
_WHY: Final = "torchao quantizes what a layer reads to 8 bits, beside a quantized weight, or not at all"


class TorchAO:
    """A configuration for each linear layer's name; null leaves one in float32."""

    what = "torchao's FqnToConfig, as its config_from_dict reads it"
    carries: tuple[Target, ...] = ("weight", "activation")

    def write(self, allocation: Allocation) -> WrittenText:
        """The configuration of every linear layer."""
        held = holding(_LIMITS, allocation)
        for (layer, target), each in held.items():
            if target == "activation" and each.written:
                held[layer, target] = _activation(held.get((layer, "weight")), allocation.bits(target)[layer])
        linear = [layer for layer in allocation.layers if layer.type == "Linear" and "weight" in layer.targets]
        configs = {layer.name: _config(layer, held) for layer in linear}
        # both keys, as torchao itself writes them
        data = {"fqn_to_config": configs, "module_fqn_to_config": configs}
        document = {"_type": "FqnToConfig", "_version": 1, "_data": data}
        notes = grid_note(allocation, "torchao"), channel_note(allocation, "torchao")
        return written(allocation, document, held, *notes)

    def speaks(self, data: Any) -> bool:
        """Whether it says so itself."""
        return isinstance(data, dict) and data.get("_type") in ("FqnToConfig", "ModuleFqnToConfig")

    def read(self, source: Source, types: Types) -> Given:
        """The bits of every layer that a name, a pattern or `_default` gives a configuration."""
        data = source.mapping(source.data.get("_data"), "_data", "_data")
        configs = data.get("fqn_to_config") or data.get("module_fqn_to_config") or {}
        entries: dict[Part, Entry] = {}
        found = source.mapping(configs, "fqn_to_config", "fqn_to_config")
        for key in sorted(found, key=_precedence):
            parts = _parts(source, key, found[key])
            for layer in _layers(key, types):
                for target, bits in parts.items():
                    entries.setdefault((layer, target), Entry(bits, source.at(key)))
        return Given(entries)


def _activation(weight: Held | None, bits: int | None) -> Held:
    """How what a linear layer reads is held beside its weight."""
    if bits == _DYNAMIC and weight is not None and weight.bits is not None:
        return Held(_DYNAMIC, "8 bits, with ranges of each input's own")
    return Held(None, FLOAT, None if bits is None else _WHY)


def _config(layer: LayerPrecision, held: Holding) -> dict[str, Any] | None:
    weight, activation = held[layer.name, "weight"], held.get((layer.name, "activation"))
    if weight.bits is None:
        return None
    dtype = {"_type": "torch.dtype", "_data": f"int{weight.bits}"}
    axis = {"_type": "PerAxis", "_version": 1, "_data": {"axis": 0}}
    symmetric = {"_type": "MappingType", "_data": "SYMMETRIC"}
    common = {
        "intx_packing_format": {"_type": "IntxPackingFormat", "_data": "UNPACKED_TO_INT8"},
        "intx_choose_qparams_algorithm": {"_type": "IntxChooseQParamsAlgorithm", "_data": "AFFINE"},
    }
    if activation is None or activation.bits is None:
        data = {"weight_dtype": dtype, "granularity": axis, "mapping_type": symmetric, "scale_dtype": None, **common}
        return {"_type": _WEIGHT, "_version": 2, "_data": data}
    data = {
        "weight_dtype": dtype,
        "weight_granularity": axis,
        "weight_mapping_type": symmetric,
        "weight_scale_dtype": None,
        "act_mapping_type": {"_type": "MappingType", "_data": "ASYMMETRIC"},
        **common,
    }
    return {"_type": _BOTH, "_version": 2, "_data": data}


def _precedence(key: str) -> int:
    """Names hold before patterns, and these before the default; each in the order of the file."""
    return 2 if key == "_default" else int(key.startswith("re:"))


def _layers(key: str, types: Types) -> Iterator[str]:
    if key == "_default":
        yield from (layer for layer, kind in types.items() if kind == "Linear")
    elif key.startswith("re:"):
        pattern = key.removeprefix("re:")
        yield from (
            layer for layer in types if re.fullmatch(pattern, layer) or re.fullmatch(pattern, f"{layer}.weight")
        )
    else:
        name = key.removesuffix(".weight")
        yield key if key in types else name


def _parts(source: Source, key: str, config: object) -> dict[Target, int | None]:
    if config is None:
        return {"weight": None, "activation": None}
    found = source.mapping(config, key, key)
    kind = str(found.get("_type"))
    if kind in _FIXED:
        weight, activation = _FIXED[kind]
    elif kind in (_WEIGHT, _BOTH):
        dtype = source.mapping(found.get("_data"), key, key).get("weight_dtype", {"_data": "int8"})
        digits = re.fullmatch(r"int(\d+)", str(source.mapping(dtype, key, key).get("_data")))
        if digits is None:
            raise AllocationError(f"{source.at(key)}: {key}: weight_dtype must be int1 to int8, but got {dtype}")
        weight, activation = int(digits[1]), _DYNAMIC if kind == _BOTH else None
    else:
        raise AllocationError(
            f"{source.at(key)}: {key}: a configuration of integer weights must be given "
            f"({', '.join((_WEIGHT, _BOTH, *_FIXED))}), but got {kind!r}"
        )
    return {"weight": source.bits(weight, key, key), "activation": activation}
