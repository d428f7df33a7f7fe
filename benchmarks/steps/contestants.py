"""Whoever takes a training step: a name -> from a network and a batch, the function that takes one step."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

import precsearch
from benchmarks.steps.rivals import RIVALS
from benchmarks.steps.training import Make, Step, training
from precsearch.errors import ConfigurationError

CANDIDATES = {2: (2, 8), 5: (2, 3, 4, 6, 8), 16: tuple(range(1, 17))}
KERNELS = ("eager", "compiled", "auto")
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
BOTH = ("weight", "activation")


def float32(layout: str, whole: bool = False) -> Make:
    """Plain training, eager, or with its whole forward compiled."""

    def make(net: nn.Module, inputs: Tensor, labels: Tensor) -> Step:
        model = copy.deepcopy(net).to(memory_format=LAYOUTS[layout]).train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        forward = compiled_whole(model) if whole else model
        return training(forward, optimizer, inputs.contiguous(memory_format=LAYOUTS[layout]), labels)

    return make


def search(
    layout: str,
    kernels: str = "auto",
    count: int = 5,
    targets: Sequence[str] = BOTH,
    sampler: str = "perturb-and-map",
    whole: bool = False,
) -> Make:
    """The inner search, through the public names only; its step draws, and moves the logits too."""

    def make(net: nn.Module, inputs: Tensor, labels: Tensor) -> Step:
        if kernels != "eager":
            with contextlib.nullcontext() if kernels == "compiled" else contextlib.suppress(ConfigurationError):
                compile_first()
        model = copy.deepcopy(net).to(memory_format=LAYOUTS[layout])
        inputs = inputs.contiguous(memory_format=LAYOUTS[layout])
        searchable = precsearch.SearchableModel(
            model,
            precsearch.Budget("average_bits", 4.5),
            inputs,
            bits=CANDIDATES[count],
            targets=targets,
            sampler=sampler,
            kernels=kernels,
        ).train()
        optimizer = torch.optim.SGD(searchable.parameter_groups(lr=0.01))
        return training(compiled_whole(searchable) if whole else searchable, optimizer, inputs, labels)

    return make


def compiled_whole(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """The model's forward, compiled when it is first called."""
    made: Callable[[Tensor], Tensor] = torch.compile(model)
    return made


def compile_first() -> None:
    """What the compiler itself takes, once a process and in memory too, is no part of a step.

    Raises:
        ConfigurationError: no compiler works here.
    """
    budget = precsearch.Budget("average_bits", 4.5)
    precsearch.SearchableModel(nn.Sequential(nn.Linear(2, 2)), budget, torch.rand(2, 2), kernels="compiled")


PLAIN = "float32, contiguous"
CONTESTANTS: dict[str, Make] = {
    **{f"float32, {layout}": float32(layout) for layout in LAYOUTS},
    **{f"search, {kernels}, {layout}": search(layout, kernels) for kernels in KERNELS for layout in LAYOUTS},
    **{f"search weights only, {layout}": search(layout, targets=("weight",)) for layout in LAYOUTS},
    **{f"search, {count} candidates, channels_last": search("channels_last", count=count) for count in (2, 16)},
    "uniform, channels_last": search("channels_last", sampler="uniform"),
    **RIVALS,
}
# Compiling takes minutes for each of them, so they are measured where asked for.
WHOLE: dict[str, Make] = {
    "compiled whole, float32, channels_last": float32("channels_last", whole=True),
    "compiled whole, search, channels_last": search("channels_last", "eager", whole=True),
    "compiled whole, search weights only, channels_last": search(
        "channels_last", "eager", targets=("weight",), whole=True
    ),
}
FEW = [
    name
    for name in CONTESTANTS
    if name.startswith(("float32", "search, auto")) or name == "search, eager, channels_last"
]


def layout_of(name: str) -> str:
    """The layout that a contestant's net is in."""
    return next((layout for layout in LAYOUTS if layout in name), "contiguous")
