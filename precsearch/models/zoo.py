"""torchvision's classification models, each by its own name; torchvision is imported when one is asked for."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import torch
from torch import nn

from precsearch.errors import ModelError
from precsearch.imports import call_own, nearest
from precsearch.models.pretrained import load_weights, weights_entry
from precsearch.torchvision_import import import_torchvision

_COLOURS: Final = 3
_DIMENSIONS: Final = 3  # channels, height, width
_USUAL: Final = 224  # pixels a side that torchvision's models are made for
_PLAIN: Final = (int, float, bool)
_SIZES: Final = ("image_size", "input_size")
_OURS: Final = {"num_classes": "comes from the data", "progress": "is not needed"}
# Arguments that go with pretrained weights, and what of the weights' description they are.
_IMPLIED: Final[dict[str, Callable[[Mapping[str, Any]], Any]]] = {
    "transform_input": lambda meta: True,
    "image_size": lambda meta: meta["min_size"][0] if "min_size" in meta else None,
    "input_size": lambda meta: meta.get("min_size"),
}


def torchvision_names() -> list[str]:
    """Names of torchvision's classification models, sorted."""
    models = import_torchvision().models
    names: list[str] = models.list_models(module=models)
    return names


def build_torchvision(name: str, arguments: Mapping[str, Any], input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """Build a model of torchvision's.

    googlenet and inception_v3 are built without their auxiliary classifiers, so that every model has one output.

    Args:
        name: one of `torchvision_names`.
        arguments: `weights`, and keyword arguments of torchvision's builder.
        input_shape: of one input; the model is run once on such a one.
        classes: width of the output.

    Returns:
        The network, in training mode; without `weights` initialized from torch's global generator.

    Raises:
        ModelError: an argument is unknown, the model does not take such inputs, or the weights cannot be loaded.
    """
    given = dict(arguments)
    weights = given.pop("weights", None)
    models = import_torchvision().models
    builder = models.get_model_builder(name)
    known = _known_keys(builder)
    _check_keys(name, given, known)
    entry = weights_entry(models, name, weights) if weights is not None else None
    if weights is not None:
        meta = entry.meta if entry is not None else {}
        implied = {key: value(meta) for key, value in _IMPLIED.items() if key in known}
        given = {key: value for key, value in implied.items() if value is not None} | given
    if "aux_logits" in known:
        given["aux_logits"] = False
        given.setdefault("init_weights", weights is None)  # torchvision warns where nothing is said
    every = {**given, "num_classes": classes, "weights": None}
    model: nn.Module = call_own(builder, name, every, {}, section="model", refused=ModelError, raised=ModelError)
    _check_runs(model, name, input_shape, known)
    if weights is not None:
        load_weights(model, name, weights, entry, classes)
    return model


def _known_keys(builder: Any) -> dict[str, inspect.Parameter]:
    """What the builder hands on: to its class, and to its module's helpers that make the class's arguments."""
    module = sys.modules[builder.__module__]
    helpers = [each for key, each in vars(module).items() if key.startswith("_") and inspect.isfunction(each)]
    of_helpers = [
        parameter
        for helper in helpers
        if helper.__module__ == module.__name__ and helper.__name__.endswith("_conf")
        for parameter in inspect.signature(helper).parameters.values()
        if parameter.default is not parameter.empty
    ]
    cls = typing.get_type_hints(builder)["return"]
    every = [*inspect.signature(cls).parameters.values(), *of_helpers]
    return {each.name: each for each in every if each.kind is not each.VAR_KEYWORD and each.name not in _OURS}


def _check_keys(name: str, given: Mapping[str, Any], known: Mapping[str, inspect.Parameter]) -> None:
    if given.get("aux_logits"):
        raise ModelError(
            f"`model.aux_logits` of {name} must be false, but got {given['aux_logits']!r}: training takes the "
            "cross-entropy of the main output alone, so auxiliary classifiers would learn nothing; leave it out"
        )
    for key in given:
        if key in _OURS:
            raise ModelError(f"`model.{key}` cannot be given for {name}: it {_OURS[key]}; leave it out")
        if key not in known:
            plain = [each for each, parameter in known.items() if _is_plain(parameter)]
            raise ModelError(
                f"`model.{key}` is not an argument of {name}, which accepts {', '.join(['weights', *plain])}"
                f"{nearest(key, ['weights', *known])}"
            )


def _is_plain(parameter: inspect.Parameter) -> bool:
    return (parameter.default is not parameter.empty and parameter.annotation in _PLAIN) or parameter.name in _SIZES


def _check_runs(model: nn.Module, name: str, input_shape: tuple[int, ...], known: Mapping[str, Any]) -> None:
    """Run the model once, and where that fails, find out what it does run on."""
    if len(input_shape) != _DIMENSIONS:
        raise ModelError(
            f"{name} needs inputs of the shape [channels, height, width], but got {list(input_shape)}; "
            "`model.name: mlp` takes any shape"
        )
    problem = _attempt(model, input_shape)
    if problem is None:
        return
    channels, height, width = input_shape
    got = f"but the data's are [{channels}, {height}, {width}]"
    if channels != _COLOURS and _attempt(model, (_COLOURS, height, width)) is None:
        raise ModelError(
            f"{name} needs images of {_COLOURS} channels, {got}; repeat or convert them in a data function of your "
            "own, or use one of our own models, which take any number"
        )
    sizes = next(_sizes(model), None)
    if sizes is None:
        raise ModelError(f"{name} must run on images of {list(input_shape)}, but it raised {problem}")
    settable = next((key for key in _SIZES if key in known), None)
    size = f" (or another `model.{settable}`)" if settable else ""
    raise ModelError(
        f"{name} needs images of {_COLOURS} channels and {sizes} pixels{size}, {got}; resize them in a data function "
        f"of your own, or use a smaller model ({problem})"
    )


def _sizes(model: nn.Module) -> Iterator[str]:
    """The square sizes that a model runs on: one, or the least."""

    def runs(side: int) -> bool:
        return _attempt(model, (_COLOURS, side, side)) is None

    usual = next((side for side in (_USUAL, 256, 384, 512) if runs(side)), None)
    if usual is None:
        return
    if not runs(usual + 32):
        yield f"{usual} x {usual}"
        return
    low, high = 0, usual  # fails, runs
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if runs(middle) else (middle, high)
    yield f"at least {high} x {high}"


def _attempt(model: nn.Module, shape: tuple[int, ...]) -> str | None:
    """What running one image raises; None where it runs. Leaves model and random generator as they were."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            model(torch.zeros(1, *shape))
    except Exception as problem:  # whatever the model meets on its way
        return f"{type(problem).__name__}: {' '.join(str(problem).split())}"
    finally:
        for module, mode in training.items():
            module.training = mode
    return None
