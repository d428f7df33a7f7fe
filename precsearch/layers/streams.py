"""Which tensors of a forward pass hold the same numbers, which are added up, who reads them, how long they live.

Legend: a value is a tensor's content, which views, copies and clipping (ReLU) carry along; a stream is all values
that sums of equal shapes join, such as the residual stream of a stage.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from precsearch.layers.example import tensors_in

_aten = torch.ops.aten
# What leaves numbers on their grid, or only clips them.
_KEEPS = {
    _aten.relu, _aten.relu_, _aten.hardtanh, _aten.hardtanh_, _aten.clamp, _aten.clamp_, _aten.clamp_min,
    _aten.clamp_min_, _aten.clone, _aten._to_copy, _aten.detach, _aten._unsafe_view, _aten.threshold,
    _aten.contiguous, _aten.alias, _aten.lift_fresh,
}  # fmt: skip
_SUMS = {_aten.add, _aten.add_, _aten.sub, _aten.sub_}


@dataclass
class Value:
    """One tensor's content.

    Attributes:
        elements: of the whole batch.
        born: index of the layer call it came from, -1 for the model's input.
        used: index of the last layer call before or during which something read it.
        readers: modules that read it, by id.
    """

    elements: int
    born: int
    used: int
    readers: list[int] = field(default_factory=list)


class Streams:
    """Follows the tensors that are made from the model's inputs.

    Args:
        inputs: the model's input tensors.
    """

    def __init__(self, inputs: Iterable[Tensor]) -> None:
        self.values: list[Value] = []
        self.calls: list[int] = []
        self._of: MutableMapping[Tensor, int] = WeakTensorKeyDictionary()
        self._parent: list[int] = []
        self._summed: set[int] = set()
        for tensor in inputs:
            self._new(tensor)

    def value_of(self, tensor: Tensor) -> int | None:
        """The value that a tensor holds, by number; None where it was not made from the inputs."""
        return self._of.get(tensor)

    def layer_begins(self, module: int, read: Tensor | None) -> None:
        """A module with weights is called, and reads `read` (None: nothing that could be quantized)."""
        self.calls.append(module)
        value = self._of.get(read) if read is not None else None
        if value is not None:
            self.values[value].used = len(self.calls) - 1
            self.values[value].readers.append(module)

    def follow(self, packet: Any, args: tuple[Any, ...], given: list[Tensor], out: Any) -> None:
        """An operation was computed."""
        tracked = [tensor for tensor in given if tensor in self._of]
        if not tracked:
            return
        for tensor in tracked:
            self.values[self._of[tensor]].used = max(self.values[self._of[tensor]].used, len(self.calls) - 1)
        outputs = list(tensors_in(out))  # whole numbers as well: an embedding looks them up
        first = self._of[tracked[0]]
        same = len(outputs) == 1 and outputs[0].numel() == tracked[0].numel() and len(tracked) == 1
        if same and (packet in _KEEPS or _is_view(outputs[0], tracked[0])):
            self._of[outputs[0]] = first
            return
        for tensor in outputs:
            self._new(tensor)
        if packet in _SUMS and _adds_alike(args, tracked, outputs):
            self._join(*(self._of[tensor] for tensor in (*tracked, *outputs)), first)

    def streams(self) -> list[tuple[bool, set[int]]]:
        """Every stream: whether sums join it, and the modules that read it."""
        readers: dict[int, set[int]] = {}
        for value, content in enumerate(self.values):
            readers.setdefault(self._root(value), set()).update(content.readers)
        summed = {self._root(value) for value in self._summed}
        return [(root in summed, modules) for root, modules in readers.items()]

    def live(self) -> list[tuple[int, list[tuple[list[int], int]]]]:
        """For each call the module, and what is in memory meanwhile: (who reads it, elements of the batch)."""
        kept = [value for value in self.values if value.readers or value.used > value.born]
        return [
            (
                module,
                [
                    (list(dict.fromkeys(value.readers)), value.elements)
                    for value in kept
                    if value.born <= now <= value.used
                ],
            )
            for now, module in enumerate(self.calls)
        ]

    def _new(self, tensor: Tensor) -> None:
        now = len(self.calls) - 1
        self._of[tensor] = len(self.values)
        self._parent.append(len(self.values))
        self.values.append(Value(tensor.numel(), now, now))

    def _join(self, *values: int) -> None:
        root = self._root(values[0])
        for value in values[1:]:
            self._parent[self._root(value)] = root
        self._summed.add(values[0])

    def _root(self, value: int) -> int:
        while self._parent[value] != value:
            value = self._parent[value]
        return value


def _is_view(out: Tensor, source: Tensor) -> bool:
    return out.untyped_storage().data_ptr() == source.untyped_storage().data_ptr()


def _adds_alike(args: tuple[Any, ...], tracked: list[Tensor], outputs: list[Tensor]) -> bool:
    """Whether two followed tensors of one shape are added, so that their numbers must be on one grid."""
    both = [arg for arg in args[:2] if isinstance(arg, Tensor)]
    return len(both) == 2 and len(tracked) == 2 and len(outputs) == 1 and both[0].shape == both[1].shape  # noqa: PLR2004
