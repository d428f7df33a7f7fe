"""Quantized inputs that are not kept for the backward pass, but rounded again in it.

A layer keeps what it reads for the gradient of its weight. Unquantized, that is the very tensor that the operation
before it keeps as well; its quantized copy would be one tensor more for every layer. Rounding again takes one pass
over it, and gives the same values to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from precsearch.quantization.kernels import Ranges, quantize
from precsearch.quantization.layouts import as_rows, like


@dataclass(frozen=True, eq=False)
class Recipe:
    """How to make a quantized input again.

    Attributes:
        x: the input as it came, dense.
        ranges: that it was rounded with.
        kernels: likewise.
        address: where the quantized input lies in memory, while the layer reads it.
        version: of `x`, which must not change until it is rounded again.
        made: the quantized input made again, for who needs it next; at most one.
    """

    x: Tensor
    ranges: Ranges
    kernels: str
    address: int
    version: int
    made: list[Tensor] = field(default_factory=list)

    def stands_for(self, saved: Tensor) -> bool:
        """Whether `saved` is the quantized input, in whatever shape."""
        return saved.data_ptr() == self.address and saved.numel() == self.x.numel() and saved.dtype == self.x.dtype

    @torch.no_grad()
    def make(self) -> Tensor:
        """The quantized input in the layout of `x`.

        Raises:
            RuntimeError: when `x` was changed in place since.
        """
        if self.x._version != self.version:
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified by an inplace operation: "
                f"a layer's input of shape {tuple(self.x.shape)}; change a copy of it instead"
            )
        rows = as_rows(self.x, self.ranges.reach)
        return like(quantize(rows, self.ranges, self.kernels).to(self.x.dtype), self.x)


def rounds_again() -> bool:
    """Whether a backward pass may come, and nobody else, such as activation checkpointing, says what it keeps."""
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return False
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is None


def rounding_again(recipes: list[Recipe]) -> AbstractContextManager[Any]:
    """A context in which the operations that keep these quantized inputs keep their recipes instead."""

    def pack(saved: Tensor) -> Tensor | Callable[[], Tensor]:
        for recipe in recipes:
            if recipe.stands_for(saved):
                return _Unpack(recipe, tuple(saved.shape), saved.stride())
        return saved.detach()  # its own node's output would keep that node, and so itself, for ever

    def unpack(kept: Tensor | Callable[[], Tensor]) -> Tensor:
        return kept if isinstance(kept, Tensor) else kept()

    return torch.autograd.graph.saved_tensors_hooks(pack, unpack)


@dataclass(frozen=True, eq=False)
class _Unpack:
    recipe: Recipe
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def __call__(self) -> Tensor:
        made = self.recipe.make()
        self.recipe.made[:] = [made]
        return made.as_strided(self.shape, self.stride)
