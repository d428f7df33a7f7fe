"""An example of what a model takes, and running the model on it as it would be used."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import PackedSequence

from precsearch.errors import ModelError

Example = Tensor | tuple[Any, ...] | Mapping[str, Any]
"""One batch: a tensor, the positional arguments of the model's forward, or its keyword arguments."""


def call(model: nn.Module, example: Example) -> Any:
    """`model` on `example`."""
    if isinstance(example, Mapping):
        return model(**example)
    return model(*example) if isinstance(example, tuple) else model(example)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in a value, in nested tuples, lists and mappings as well."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, PackedSequence):
        yield value.data
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from tensors_in(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from tensors_in(part)


def batch_of(example: Example) -> int:
    """Samples of an example: the first entry of its first tensor's shape.

    Raises:
        ModelError: when it has no tensor with a dimension.
    """
    first = next(tensors_in(example), None)
    if first is None or not first.dim() or not len(first):
        shown = f"the shape {list(first.shape)}" if first is not None else f"a {type(example).__name__}"
        raise ModelError(
            "the example input must be a batch of at least one sample (a tensor, a tuple of the forward's arguments, "
            f"or a dict of them by name), but got {shown}"
        )
    return len(first)


def run_example(model: nn.Module, example: Example) -> None:
    """Run `model` once, in evaluation mode and without gradients; its modes are restored.

    Raises:
        ModelError: when it does not run.
    """
    training = {module: module.training for module in model.modules()}
    try:
        model.eval()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a model warns of without gradients need not hold in training
            call(model, example)
    except Exception as error:
        shapes = " and ".join(str(list(tensor.shape)) for tensor in tensors_in(example))
        raise ModelError(
            f"the model must run on the example input of shape {shapes}, "
            f"but {type(model).__name__} raised {type(error).__name__}: {error}"
        ) from error
    finally:
        for module, mode in training.items():
            module.training = mode


@contextmanager
def plain_operations() -> Iterator[None]:
    """Take no shortcuts that hide products: fused attention, recurrent kernels; and parametrize weights once."""
    fast = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the flags warn of hardware that is not asked for
            flags = torch.backends.mkldnn.flags(enabled=False)
            flags.__enter__()
        stack.callback(_leave_quietly, flags)
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
        torch.backends.mha.set_fastpath_enabled(False)
        stack.enter_context(parametrize.cached())
        stack.enter_context(torch.no_grad())
        yield


def _leave_quietly(flags: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flags.__exit__(None, None, None)
