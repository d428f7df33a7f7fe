"""Whoever takes a training step: a name -> from a network and an input, the function that takes one step."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import precsearch

Step = Callable[[], None]
Make = Callable[[nn.Module, Tensor, Tensor], Step]
CANDIDATES = {2: (2, 8), 5: (2, 3, 4, 6, 8), 16: tuple(range(1, 17))}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def kernels(name: str | None) -> dict[str, Any]:
    """The one place where a backend is selected: settings of `SearchableModel`; None is its default.

    Raises:
        ImportError: this precsearch cannot choose.
    """
    if name is None:
        return {}
    if "kernels" not in inspect.signature(precsearch.SearchableModel).parameters:
        raise ImportError("this precsearch has no choice of kernels; only its default is measured")
    return {"kernels": name}


def training(forward: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, labels: Tensor) -> Step:
    """One step: zero_grad, forward, cross-entropy, backward, optimizer."""

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(forward(inputs), labels).backward()
        optimizer.step()

    return step


def float32(layout: str) -> Make:
    """Plain training, eager."""

    def make(net: nn.Module, inputs: Tensor, labels: Tensor) -> Step:
        model = copy.deepcopy(net).to(memory_format=LAYOUTS[layout]).train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        return training(model, optimizer, inputs.contiguous(memory_format=LAYOUTS[layout]), labels)

    return make


def search(targets: Sequence[str], count: int, layout: str, backend: str | None = None) -> Make:
    """The inner search, through the public names only; its step draws, and moves the logits too."""

    def make(net: nn.Module, inputs: Tensor, labels: Tensor) -> Step:
        model = copy.deepcopy(net).to(memory_format=LAYOUTS[layout])
        inputs = inputs.contiguous(memory_format=LAYOUTS[layout])
        budget = precsearch.Budget("average_bits", 4.5)
        searchable = precsearch.SearchableModel(
            model, budget, inputs, bits=CANDIDATES[count], targets=targets, **kernels(backend)
        ).train()
        optimizer = torch.optim.SGD(searchable.parameter_groups(lr=0.01))
        return training(searchable, optimizer, inputs, labels)

    return make


BOTH = ("weight", "activation")
CONTESTANTS: dict[str, Make] = {
    **{f"float32, {layout}": float32(layout) for layout in LAYOUTS},
    **{f"search W+A, 5, {layout}": search(BOTH, 5, layout) for layout in LAYOUTS},
    **{f"search W, 5, {layout}": search(("weight",), 5, layout) for layout in LAYOUTS},
    **{f"search W+A, {count}, channels_last": search(BOTH, count, "channels_last") for count in (2, 16)},
    **{
        f"search W+A, 5, {layout}, {backend}": search(BOTH, 5, layout, backend)
        for backend in ("eager", "compiled")
        for layout in LAYOUTS
    },
}
