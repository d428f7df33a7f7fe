"""The keys of `inner:` that speak of single layers: which bits they may have, must have, or share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from precsearch.allocation import Target
from precsearch.experiment.base import Settings

Bits = int
BitsList = Annotated[tuple[Bits, ...], Field(strict=False, min_length=1)]  # a YAML list becomes a tuple
_MOST: Final = 16  # the bit-widths fake quantization is made for


# Unions say which member was meant, so that a wrong value is told once and in that member's words.
def _pin_form(value: object) -> str:
    return "by target" if isinstance(value, Mapping) else "text" if isinstance(value, str) else "other"


def _list_form(value: object) -> str:
    return "by target" if isinstance(value, Mapping) else "list"


def _group_form(value: object) -> str:
    return "group" if isinstance(value, Mapping | GroupSettings) else "list"


One = Annotated[Annotated[Literal["float"], Tag("text")] | Annotated[Bits, Tag("other")], Discriminator(_pin_form)]
Pin = Annotated[
    Annotated[Literal["float"], Tag("text")]
    | Annotated[Bits, Tag("other")]
    | Annotated[dict[Target, One], Field(min_length=1), Tag("by target")],
    Discriminator(_pin_form),
]
Candidates = Annotated[
    Annotated[BitsList, Tag("list")] | Annotated[dict[Target, BitsList], Field(min_length=1), Tag("by target")],
    Discriminator(_list_form),
]
Names = Annotated[tuple[str, ...], Field(strict=False, min_length=1)]


class GroupSettings(Settings):
    """A group of `inner.groups` that is for some targets only.

    Attributes:
        layers: names, ``*`` patterns, or ``type:`` and a class name.
        targets: that have one bit-width in all of them.
    """

    layers: Names
    targets: Annotated[tuple[Target, ...], Field(strict=False, min_length=1)]


Group = Annotated[Annotated[Names, Tag("list")] | Annotated[GroupSettings, Tag("group")], Discriminator(_group_form)]


class LayerwiseSettings(Settings):
    """What `inner:` says of single layers.

    Layers are named by name, by ``*`` pattern, or by type (``type:Conv2d``).

    Attributes:
        pin: layers -> bits that are not searched, or ``float``, or either by target.
        candidates: layers -> bit-widths that they may get instead of `bits`, or those by target.
        groups: name -> layers that have one bit-width: a list, or ``{layers: [...], targets: [...]}``.
        share: tensors that several layers read and that get one bit-width: ``residual`` (joined by sums),
            ``shared_input``.
    """

    pin: dict[str, Pin] = Field(default={})
    candidates: dict[str, Candidates] = Field(default={})
    groups: dict[str, Group] = Field(default={})
    share: tuple[Literal["residual", "shared_input"], ...] = Field(default=(), strict=False)

    @field_validator("pin")
    @classmethod
    def _pinned_bits(cls, value: dict[str, Any]) -> dict[str, Any]:
        for layer, pinned in value.items():
            for bits in pinned.values() if isinstance(pinned, Mapping) else [pinned]:
                if bits != "float" and not 1 <= bits <= _MOST:
                    raise ValueError(f"`1 <= bits <= 16` or `float` must hold for layer {layer!r}, but got {bits}")
        return value

    @field_validator("candidates")
    @classmethod
    def _candidate_bits(cls, value: dict[str, Any]) -> dict[str, Any]:
        for layer, given in value.items():
            for bits in given.values() if isinstance(given, Mapping) else [given]:
                ascending(bits, f" for layer {layer!r}")
        return value


def ascending(bits: tuple[Bits, ...], where: str = "") -> tuple[Bits, ...]:
    """Candidate bit-widths.

    Raises:
        ValueError: when they are out of range or not ascending.
    """
    for each in bits:
        if not 1 <= each <= _MOST:
            raise ValueError(f"`1 <= bits <= 16` must hold{where}, but got {each}")
    if list(bits) != sorted(set(bits)):
        raise ValueError(
            f"ascending and without doubles must hold{where}, but got {list(bits)}; write {sorted(set(bits))}"
        )
    return bits
