"""Starting from weights learned elsewhere: fitted to a model by name and shape, or refused with what differs."""

from __future__ import annotations

import re
import warnings
from collections import OrderedDict
from functools import cache
from typing import Any, Final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from precsearch.errors import ModelError, PrecsearchWarning
from precsearch.models.state_file import StateFile, some

_PREFIXES: Final = ("module.", "_orig_mod.", "model.", "network.", "net.")  # of DataParallel, compile, Lightning, ...
_OLD_DENSENET: Final = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)$")
_COUNTER: Final = "num_batches_tracked"  # which files of before 2018 lack; it counts, and nothing reads it
_starts: WeakKeyDictionary[nn.Module, dict[str, str]] = WeakKeyDictionary()


def load_start(model: nn.Module, state: StateFile, classes: int, key: str, source: str | None = None) -> None:
    """Give `model` the weights of a file, in place.

    Where the file's classifier has another number of classes and everything else fits, the model keeps its fresh
    one, and a `PrecsearchWarning` says so, once.

    Args:
        model: as built, before it is made searchable.
        state: what was read.
        classes: width of the model's output.
        key: where the user named the file, such as ``model.checkpoint``.
        source: what the provenance calls it; the file's name where None.

    Raises:
        ModelError: names are missing or unexpected, shapes differ, or values are no finite real numbers.
    """
    own = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    given = {
        name: tensor
        for name, tensor in _named_alike(state.tensors, own).items()
        if name in own or not _switched_off(model, name)
    }
    fresh = _check_fit(type(model).__name__, own, given, classes, key, state)
    _check_values(own, given, key, state)
    merged = OrderedDict(model.state_dict())
    merged.update({name: tensor.to_dense() for name, tensor in given.items() if name not in fresh})
    merged._metadata = getattr(model.state_dict(), "_metadata", {})  # type: ignore[attr-defined]
    try:
        model.load_state_dict(merged)
    except RuntimeError as problem:  # a module with a loading of its own
        raise ModelError(f"`{key}`: {state.path} cannot be loaded: {' '.join(str(problem).split())}") from problem
    _starts[model] = {"source": source or state.path.name, "sha256": state.sha256}
    if state.quantized:
        _tell(
            f"`{key}`: {state.path} holds a quantized network of precsearch; its float weights are taken, its "
            "bit-widths and ranges are not"
        )
    if fresh:
        layers = list(dict.fromkeys(name.rpartition(".")[0] or name for name in fresh))
        before = next(iter(given[name].shape[0] for name in fresh))
        _tell(
            f"`{key}`: {state.path} was trained for {before} classes and the data has {classes}; {', '.join(layers)} "
            "starts fresh, everything else is loaded"
        )


def weights_used(model: nn.Module) -> dict[str, Any]:
    """What an allocation's provenance says of the model's start: nothing where it was random."""
    return {"weights": _starts[model]} if model in _starts else {}


@cache
def _tell(message: str) -> None:
    """Warn once a process: every trial of a study loads the same file."""
    warnings.warn(message, PrecsearchWarning, stacklevel=4)


def _named_alike(tensors: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without the prefixes that wrappers leave, where that makes them fit."""
    for _ in _PREFIXES:
        if own.keys() & tensors.keys():
            break
        prefix = next((each for each in _PREFIXES if any(name.startswith(each) for name in tensors)), None)
        if prefix is None:
            break
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return {name if name in own else _OLD_DENSENET.sub(r"\1\2", name): tensor for name, tensor in tensors.items()}


def _switched_off(model: nn.Module, name: str) -> bool:
    """Whether a tensor belongs to a part that the model can have and has not, such as an auxiliary classifier."""
    part = name.partition(".")[0]
    return hasattr(model, part) and getattr(model, part) is None


def _check_fit(
    model: str, own: dict[str, Tensor], given: dict[str, Tensor], classes: int, key: str, state: StateFile
) -> list[str]:
    """Check names and shapes -> the tensors of a classifier for another number of classes."""
    missing = [name for name in own if name not in given and not name.endswith(_COUNTER)]
    unexpected = [name for name in given if name not in own]
    differing = [name for name in own if name in given and own[name].shape != given[name].shape]
    if not missing and not unexpected and _is_other_head(own, given, differing, classes):
        return differing
    shapes = [f"{name} {list(given[name].shape)} in the file and {list(own[name].shape)} here" for name in differing]
    told = [
        f"{len(names)} {what} ({some(names)})"
        for names, what in ((missing, "missing"), (unexpected, "unexpected"), (shapes, "of another shape"))
        if names
    ]
    if told:
        raise ModelError(
            f"`{key}`: the weights must be those of this {model}, but of {len(own)} tensors in the model, "
            f"{state.path} has {'; '.join(told)}; build the model with the `model` keys and the data that the file "
            f"was trained with, or leave `{key}` out"
        )
    return []


def _is_other_head(own: dict[str, Tensor], given: dict[str, Tensor], differing: list[str], classes: int) -> bool:
    """Whether tensors differ in the number of classes alone, and all in the same."""
    heads = [(own[name].shape, given[name].shape) for name in differing]
    alike = all(len(a) == len(b) > 0 and a[0] == classes and a[1:] == b[1:] for a, b in heads)
    return alike and len({b[0] for _, b in heads if b}) == 1


def _check_values(own: dict[str, Tensor], given: dict[str, Tensor], key: str, state: StateFile) -> None:
    for name, tensor in given.items():
        if not own[name].is_floating_point():
            continue
        if tensor.is_quantized or not tensor.is_floating_point():
            raise ModelError(
                f"`{key}`: floating-point weights must be given, but {name} in {state.path} is {tensor.dtype}; give "
                "the float weights that it was quantized from"
            )
        if not torch.isfinite(tensor.to_dense().to(own[name].dtype)).all():
            raise ModelError(
                f"`{key}`: finite weights must be given, but {name} in {state.path} has infinities or NaN; "
                "give a checkpoint from before its training diverged"
            )
