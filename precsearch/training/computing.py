"""How a stage's forward is computed: plainly, compiled whole, in half precision where autocast allows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn

from precsearch.errors import ConfigurationError
from precsearch.experiment.outer import ExecutorSettings
from precsearch.quantization.kernels import compiler_problem

Forward = Callable[[Tensor], Tensor]
Computing = Callable[[nn.Module], Forward]

_TYPES: Final = {"bfloat16": torch.bfloat16}


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """A context in which torch computes with so many threads; with as many as it did where None."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def plainly(model: nn.Module) -> Forward:
    """The model's own forward."""
    return model


def computing(settings: ExecutorSettings) -> Computing:
    """How training computes a model's forward, as `settings` say.

    Raises:
        ConfigurationError: when the whole model is to be compiled, and no compiler works here.
    """
    if settings.compile and (problem := compiler_problem()) is not None:
        raise ConfigurationError(
            f"`executor.compile: true` needs torch.compile with a C++ compiler, but it failed here: {problem}; "
            "install one (g++), or leave the key out"
        )
    if not settings.compile and settings.autocast is None:
        return plainly
    if settings.compile:
        torch.compiler.reset()  # what was compiled for the trials before counts against a limit of its own

    def compute(model: nn.Module) -> Forward:
        compiled: Any = torch.compile(model) if settings.compile else model
        return compiled if settings.autocast is None else partial(_autocast, compiled, _TYPES[settings.autocast])

    return compute


def _autocast(forward: Forward, dtype: torch.dtype, inputs: Tensor) -> Tensor:
    """What `forward` returns, in single precision again: losses need it."""
    with torch.autocast(inputs.device.type, dtype=dtype):
        return forward(inputs).float()
