"""Networks: a registry of names, and the user's own by import path."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from precsearch.errors import ModelError
from precsearch.experiment import ModelSettings
from precsearch.imports import call_own, is_import_path, load_object, registered
from precsearch.models.lenet5 import lenet5 as lenet5
from precsearch.models.mlp import mlp as mlp

MODELS: dict[str, Callable[..., nn.Module]] = {"mlp": mlp, "lenet5": lenet5}


def build_model(settings: ModelSettings, input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """Build what ``model:`` asks for.

    Args:
        settings: every key but `name` goes to the builder. The user's own builder also gets `input_shape` and
            `classes` where its signature names them.
        input_shape: of one input, such as (1, 28, 28).
        classes: how many there are.

    Returns:
        The network, in training mode, on torch's default device, initialized from torch's global generator.

    Raises:
        ConfigurationError: the name is unknown or the user's function cannot be imported.
        ModelError: an argument is unknown, missing or out of range, or what was built is no module.
    """
    name = settings.name
    builder = load_object(name) if is_import_path(name) else MODELS[registered(name, MODELS, "model.name")]
    offered = {"input_shape": tuple(input_shape), "classes": classes}
    model = call_own(builder, name, settings.arguments, offered, section="model", refused=ModelError, raised=ModelError)
    if not isinstance(model, nn.Module):
        raise ModelError(f"`model.name` {name!r} must return an nn.Module, but got a {type(model).__name__}")
    return model
