"""What a dialect is: it writes an allocation as a tool's own configuration, and reads one for the layers of a model."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from precsearch.allocation import Allocation, LayerPrecision, Target
from precsearch.exports.dialects.source import Source
from precsearch.exports.report import Kept, WrittenText

Part = tuple[str, Target]  # one target of one layer
Types = Mapping[str, str]  # layer name -> class name of its module
FLOAT: Final = "float32"
LEFT_OUT: Final = "left out"
DIMENSIONS: Final = ("1d", "2d", "3d")
CONVOLUTIONS: Final = (*(f"Conv{d}" for d in DIMENSIONS), *(f"ConvTranspose{d}" for d in DIMENSIONS))
QUANTIZED: Final = ("Linear", "Embedding", *CONVOLUTIONS)  # what most tools quantize


@dataclass(frozen=True)
class Entry:
    """What a file gives to one target of one layer.

    Attributes:
        bits: bit-width; None where the file says that it stays in float32.
        at: where it says so, ``file:line:column``.
    """

    bits: int | None
    at: str


@dataclass(frozen=True)
class Given:
    """What a file gives.

    Attributes:
        entries: of every target of a layer that it speaks of, known to the model or not.
        notes: what it says beyond bits and is not taken, a sentence each.
    """

    entries: dict[Part, Entry]
    notes: tuple[str, ...] = ()


class Dialect(Protocol):
    """The allocation as one tool's configuration.

    Attributes:
        what: it is, in a few words.
        carries: targets whose bits it can hold.
    """

    what: str
    carries: tuple[Target, ...]

    def write(self, allocation: Allocation) -> WrittenText:
        """The configuration, and how it holds each target."""

    def speaks(self, data: Any) -> bool:
        """Whether a JSON document is of this dialect."""

    def read(self, source: Source, types: Types) -> Given:
        """What a document that it speaks gives to the layers of `types`, which patterns are matched against.

        Raises:
            AllocationError: when something in it cannot be an allocation; it says where.
        """


@dataclass(frozen=True)
class Held:
    """How one target is written.

    Attributes:
        bits: that are written; None where it is written as float, or not at all.
        held_as: in the tool's words, `FLOAT` or `LEFT_OUT`.
        why: it is held otherwise than it was searched; None where it is not.
    """

    bits: int | None
    held_as: str
    why: str | None = None

    @property
    def written(self) -> bool:
        """Whether the file says anything of it."""
        return self.held_as != LEFT_OUT


@dataclass(frozen=True)
class Limits:
    """What a tool can hold.

    Attributes:
        tool: its name.
        targets: that it quantizes.
        types: of modules that it quantizes, by class name.
        least: bit-width of a signed target; an unsigned one may have one bit less.
        most: bit-width.
    """

    tool: str
    targets: Collection[Target]
    types: Collection[str]
    least: int = 1
    most: int = 16

    def held(self, layer: LayerPrecision, target: Target) -> Held:
        """How a target of a layer is held."""
        bits = layer.bits(target)
        if target not in self.targets:
            return Held(None, LEFT_OUT, f"{self.tool} holds no bits of the {target}")
        if layer.type not in self.types:
            return Held(None, LEFT_OUT, f"no {layer.type} is written for {self.tool}")
        if bits is None:
            return Held(None, FLOAT)
        least = self.least if layer.targets[target].signed else max(1, self.least - 1)
        if bits < least:
            return Held(least, f"{least} bits", f"{self.tool}'s signed integers begin at {least} bits")
        if bits > self.most:
            return Held(None, FLOAT, f"{self.tool}'s integers end at {self.most} bits")
        return Held(bits, "1 bit" if bits == 1 else f"{bits} bits")


Holding = dict[Part, Held]


def holding(limits: Limits, allocation: Allocation) -> Holding:
    """How every target of an allocation is held, in the order of the layers."""
    return {(layer.name, target): limits.held(layer, target) for layer in allocation.layers for target in layer.targets}


def written(allocation: Allocation, document: Any, held: Holding, *notes: str | None) -> WrittenText:
    """A JSON document with how it holds the allocation's targets."""
    bits = {(layer.name, target): layer.bits(target) for layer in allocation.layers for target in layer.targets}
    return WrittenText(
        text=json.dumps(document, indent=2) + "\n",
        kept=tuple(
            Kept(layer=part[0], target=part[1], bits=bits[part], held_as=each.held_as, why=each.why)
            for part, each in held.items()
        ),
        notes=tuple(note for note in notes if note),
    )


def grid_note(allocation: Allocation, tool: str) -> str | None:
    """That `tool` has other levels than the search's own grid; None where they are the same."""
    grids = {layer.targets["weight"].quantizer for layer in allocation.layers if layer.bits() is not None}
    if "dorefa" not in grids:
        return None
    return (
        f"the bits are carried, not the levels: dorefa's weights have 2^b levels and no zero, {tool}'s have "
        "one at zero; calibrate and fine-tune after converting, or search with `inner.quantizer: symmetric`"
    )


def channel_note(allocation: Allocation, tool: str) -> str | None:
    """That `tool` has one scale an output channel whatever was searched; None where that was searched."""
    if all(layer.targets["weight"].granularity == "channel" for layer in allocation.layers if layer.bits() is not None):
        return None
    return f"{tool} scales each output channel on its own; the search had one scale a tensor"
