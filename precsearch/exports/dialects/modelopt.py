"""ModelOpt's `quant_cfg`, the list of quantizers by name that `modelopt.torch.quantization.quantize` takes."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from glob import escape
from typing import Any, Final

from precsearch.allocation import Allocation, LayerPrecision, Target
from precsearch.errors import AllocationError
from precsearch.exports.dialects.base import (
    QUANTIZED,
    Entry,
    Given,
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

_LIMITS: Final = Limits("ModelOpt", ("weight", "activation"), QUANTIZED, least=2)
_QUANTIZERS: Final[dict[str, Target]] = {"weight_quantizer": "weight", "input_quantizer": "activation"}
_OTHERS: Final = "output_quantizer"


class ModelOpt:
    """All quantizers off, then an entry for each that is on; later entries hold."""

    what = "ModelOpt's quant_cfg"
    carries: tuple[Target, ...] = ("weight", "activation")

    def write(self, allocation: Allocation) -> WrittenText:
        """The configuration of every layer that ModelOpt quantizes."""
        held = holding(_LIMITS, allocation)
        entries = [entry for layer in allocation.layers for entry in _entries(layer, held)]
        document = {"quant_cfg": [{"quantizer_name": "*", "enable": False}, *entries], "algorithm": "max"}
        return written(allocation, document, held, grid_note(allocation, "ModelOpt"))

    def speaks(self, data: Any) -> bool:
        """Whether it has a `quant_cfg`."""
        return isinstance(data, dict) and isinstance(data.get("quant_cfg"), list | dict)

    def read(self, source: Source, types: Types) -> Given:
        """What the entries, one after the other, leave each quantizer at."""
        entries: dict[Part, Entry] = {}
        left = []
        for entry in _listed(source):
            pattern = entry["quantizer_name"]
            matched = list(_matched(pattern, entry.get("parent_class"), types))
            if not matched and not any(letter in pattern for letter in "*?["):
                layer, _, quantizer = pattern.rpartition(".")
                if quantizer in _QUANTIZERS:
                    matched = [(layer, _QUANTIZERS[quantizer])]  # of no layer of this model, which is told
                elif entry.get("enable", True):
                    left.append(pattern)
            for part in matched:
                bits = _bits(source, entry, part, entries.get(part))
                entries[part] = Entry(bits, source.at(pattern))
        return Given(entries, (f"not taken, since no layer reads or owns it: {', '.join(left)}",) if left else ())


def _entries(layer: LayerPrecision, held: Holding) -> Iterator[dict[str, Any]]:
    for quantizer, target in _QUANTIZERS.items():
        own = held.get((layer.name, target))
        if own is None or not own.written:
            continue
        entry: dict[str, Any] = {"quantizer_name": f"{escape(layer.name)}.{quantizer}"}
        if own.bits is None:
            yield {**entry, "enable": False}
            continue
        precision, transposed = layer.targets[target], layer.type.startswith("ConvTranspose")
        config: dict[str, Any] = {"num_bits": own.bits, "axis": None}
        if precision.granularity == "channel":
            config["axis"] = 1 if transposed else 0
        if not precision.signed:
            config["unsigned"] = True
        yield {**entry, "cfg": config, "enable": True}


def _listed(source: Source) -> Iterator[dict[str, Any]]:
    """The entries, checked; the flat objects of older releases as well."""
    listed = source.data["quant_cfg"]
    if isinstance(listed, dict):
        listed = [_entry_of_old(source, name, value) for name, value in listed.items()]
    for entry in listed:
        found = source.mapping(entry, "quant_cfg", "quant_cfg")
        if not isinstance(found.get("quantizer_name"), str):
            raise AllocationError(
                f"{source.at('quant_cfg')}: quant_cfg: an entry needs a quantizer_name, but got {found}"
            )
        yield found


def _entry_of_old(source: Source, name: str, value: object) -> dict[str, Any]:
    found = source.mapping(value, name, name)
    config = {key: given for key, given in found.items() if key != "enable"}
    enabled = {"enable": found["enable"]} if "enable" in found else {}
    return {"quantizer_name": "*" if name == "default" else name, **({"cfg": config} if config else {}), **enabled}


def _matched(pattern: str, parent: str | None, types: Types) -> Iterator[Part]:
    for layer, kind in types.items():
        if kind not in QUANTIZED:
            continue
        for quantizer, target in _QUANTIZERS.items():
            if fnmatch(f"{layer}.{quantizer}", pattern) and parent in (None, f"nn.{kind}"):
                yield layer, target


def _bits(source: Source, entry: dict[str, Any], part: Part, before: Entry | None) -> int | None:
    name, what = entry["quantizer_name"], f"{part[0]} ({part[1]})"
    if not entry.get("enable", True):
        return None
    config = entry.get("cfg")
    if config is None:
        if before is None or before.bits is None:
            raise AllocationError(f"{source.at(name)}: {what}: an entry that enables a quantizer needs `cfg` here")
        return before.bits
    if not isinstance(config, dict) or "num_bits" not in config or not isinstance(config["num_bits"], int):
        raise AllocationError(
            f"{source.at(name)}: {what}: `cfg` must have whole `num_bits`, since a layer has one integer bit-width "
            f"here, but got {config}"
        )
    return source.bits(config["num_bits"], f"{what}: num_bits", name)
