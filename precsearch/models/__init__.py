"""Networks by name: our own, torchvision's, and the user's by import path; fresh, or with weights learned before."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from torch import nn

from precsearch.errors import ConfigurationError, DataError, ModelError
from precsearch.experiment import ModelSettings
from precsearch.imports import call_own, is_import_path, load_object
from precsearch.models.convnet import convnet as convnet
from precsearch.models.lenet5 import lenet5 as lenet5
from precsearch.models.mlp import mlp as mlp
from precsearch.models.resnet20 import resnet20 as resnet20
from precsearch.models.starts import load_start
from precsearch.models.starts import weights_used as weights_used
from precsearch.models.state_file import read_state_file
from precsearch.models.vgg_small import vgg_small as vgg_small
from precsearch.models.zoo import build_torchvision, torchvision_names

MODELS: dict[str, Callable[..., nn.Module]] = {
    "mlp": mlp,
    "lenet5": lenet5,
    "convnet": convnet,
    "vgg_small": vgg_small,
    "resnet20": resnet20,
}
_CHECKPOINT = "model.checkpoint"
_NEAREST = 3


def build_model(settings: ModelSettings, input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """Build what ``model:`` asks for.

    Args:
        settings: every key but `name` and `checkpoint` goes to the builder. The user's own builder also gets
            `input_shape` and `classes` where its signature names them.
        input_shape: of one input, such as (1, 28, 28).
        classes: how many there are.

    Returns:
        The network, in training mode, on torch's default device; initialized from torch's global generator, or with
        the weights of `checkpoint`.

    Raises:
        ConfigurationError: the name is unknown or the user's function cannot be imported.
        ModelError: an argument is unknown, missing or out of range, what was built is no module, or the weights
            to start from cannot be read or do not fit.
    """
    model = _built(settings, tuple(input_shape), classes)
    if settings.checkpoint is not None:
        if weights_used(model):
            raise ModelError(
                f"`{_CHECKPOINT}` or `model.weights` must be given, not both, but got {settings.checkpoint!r} and "
                f"{settings.arguments['weights']!r}; drop one"
            )
        load_start(model, read_state_file(settings.checkpoint, _CHECKPOINT), classes, _CHECKPOINT)
    return model


def _built(settings: ModelSettings, input_shape: tuple[int, ...], classes: int) -> nn.Module:
    name, arguments = settings.name, settings.arguments
    own = MODELS.get(name) or (load_object(name) if is_import_path(name) else None)
    if own is None:
        _check_torchvision(name)
        return build_torchvision(name, arguments, input_shape, classes)
    offered = {"input_shape": input_shape, "classes": classes}
    model = call_own(own, name, arguments, offered, section="model", refused=ModelError, raised=ModelError)
    if not isinstance(model, nn.Module):
        raise ModelError(f"`model.name` {name!r} must return an nn.Module, but got a {type(model).__name__}")
    return model


def _check_torchvision(name: str) -> None:
    try:
        theirs = torchvision_names()
        also = "a classification model of torchvision such as resnet18"
    except DataError as problem:
        theirs, also = [], f"a classification model of torchvision ({problem})"
    if name in theirs:
        return
    near = difflib.get_close_matches(name, [*MODELS, *theirs], n=_NEAREST)
    if "." in name:
        hint = f"; did you mean {':'.join(name.rsplit('.', 1))!r}?"
    else:
        hint = f"; nearest: {', '.join(map(repr, near))}" if near else ""
    raise ConfigurationError(
        f"`model.name` must be one of {', '.join(sorted(MODELS))}, {also}, or an import path "
        f"`package.module:function`, but got {name!r}{hint}"
    )
