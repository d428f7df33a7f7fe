"""What is known of a model's layers, as data. No tensor is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch

from precsearch.precision.kinds import Moment

SharedKind = Literal["residual", "shared_input"]


@dataclass(frozen=True)
class Layer:
    """One weight whose precision can be searched, and what its module reads.

    Attributes:
        name: of the module; followed by the parameter's where that is not ``weight``.
        module: name of the module.
        type: class name of the module.
        shape: of the weight.
        channels: output channels; what a scale for each of them counts.
        inputs: elements that the product reads, for one sample, all calls together.
        outputs: elements that the module returns, for one sample, all calls together; 0 where it is never called.
        macs: multiply-accumulates for one sample.
        signed_input: whether the example made a negative input.
        uncovered_input: why the input cannot be quantized; empty where it can.
        tied_to: name of the layer whose weight this is as well, or None.
    """

    name: str
    module: str
    type: str
    shape: tuple[int, ...]
    channels: int
    inputs: int
    outputs: int
    macs: int
    signed_input: bool
    uncovered_input: str = ""
    tied_to: str | None = None

    @property
    def numel(self) -> int:
        """Weight elements."""
        return torch.Size(self.shape).numel()


@dataclass(frozen=True)
class SharedTensor:
    """A tensor, or several that are added up, that more than one layer reads.

    Attributes:
        kind: ``residual`` where sums of equal shapes join the tensors, else ``shared_input``.
        readers: names of the layers that read them, in the model's order.
    """

    kind: SharedKind
    readers: tuple[str, ...]


@dataclass(frozen=True)
class Inventory:
    """The layers of a model, and what is not one of them.

    Attributes:
        layers: in the order of the model's modules.
        left_float: module or parameter name -> reason why it stays in float32.
        float_elements: elements of every parameter and float buffer that is no layer's weight.
        fingerprint: of layer names, types and weight shapes.
        shared: tensors that several layers read.
        moments: what lies in memory while each layer runs, in the order of the calls; a tensor that several layers
            read is there once for each.
    """

    layers: tuple[Layer, ...]
    left_float: dict[str, str]
    float_elements: int
    fingerprint: str
    shared: tuple[SharedTensor, ...] = ()
    moments: tuple[Moment, ...] = ()

    def layer(self, name: str) -> Layer:
        """The layer of that name."""
        return next(layer for layer in self.layers if layer.name == name)


def fingerprint(layers: Iterable[tuple[str, str, tuple[int, ...]]]) -> str:
    """First 16 hex digits of the SHA-256 over names, types and weight shapes."""
    text = ";".join(f"{name}:{kind}:{'x'.join(map(str, shape))}" for name, kind, shape in layers)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
