"""The allocation that bits from a file come to for a model: how targets are quantized, and what everything costs."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from glob import escape
from typing import Any, Final

import torch
from torch import nn

from precsearch import __version__
from precsearch.allocation import Allocation, ModelIdentity
from precsearch.conversion import Conversion, Grids, Wishes, install, refuse_converted
from precsearch.conversion.decisions import uncovered
from precsearch.conversion.describe import describe_layers
from precsearch.data import load_data
from precsearch.errors import AllocationError, ConfigurationError, PrecsearchError
from precsearch.experiment import Experiment
from precsearch.experiment.loading import apply_point
from precsearch.exports.importing import SEARCHED, Reading
from precsearch.layers import Example, Inventory, layer_type, take_inventory
from precsearch.precision.budgets import cost_of
from precsearch.study.feasibility import lowest
from precsearch.training.building import build_network

_SETTINGS: Final[dict[str, Any]] = {"targets": ("weight", "activation"), "pin": {}, "groups": {}, "share": ()}
_GRIDS: Final = {"quantizer": "dorefa", "scale": "l2", "granularity": "tensor"}
_BITS: Final = (8,)  # as candidates of a search; nothing is searched


def describe_for_experiment(reading: Reading, experiment: Experiment) -> Allocation:
    """The allocation of a file for the model of an experiment, at the lowest end of its space.

    Raises:
        AllocationError: when the file does not fit the model.
    """
    at, model, inventory = _network(experiment)
    inner = at.inner
    groups = {name: group if isinstance(group, tuple) else group.model_dump() for name, group in inner.groups.items()}
    wishes = Wishes(inner.bits, inner.targets, inner.pin, {}, groups, inner.share)
    return _describe(reading, model, inventory, wishes, Grids(inner.quantizer, inner.scale, inner.granularity))


def describe_for_model(reading: Reading, model: nn.Module, example: Example, settings: Mapping[str, Any]) -> Allocation:
    """The allocation of a file for a model of one's own.

    Args:
        reading: of the file.
        model: not yet converted; not changed.
        example: a batch as it takes it.
        settings: as `precsearch.exports.import_allocation` takes them.

    Raises:
        ConfigurationError: when a setting is unknown.
        AllocationError: when the file does not fit the model.
    """
    known = {**_SETTINGS, **_GRIDS}
    for key in settings:
        if key not in known:
            raise ConfigurationError(f"a setting must be one of {', '.join(known)}, but got {key!r}")
    chosen = {**known, **settings}
    wishes = Wishes(_BITS, chosen["targets"], chosen["pin"], {}, chosen["groups"], chosen["share"])
    grids = Grids(**{key: chosen[key] for key in _GRIDS})
    refuse_converted(model)
    own = copy.deepcopy(model)
    return _describe(reading, own, take_inventory(own, example), wishes, grids)


def _network(experiment: Experiment) -> tuple[Experiment, nn.Module, Inventory]:
    """The network at the first point of the space that makes one; points that differ in limits alone make the same."""
    refused: list[PrecsearchError] = []
    for point in lowest(experiment):
        try:
            at = apply_point(experiment, point)
            with torch.random.fork_rng(devices=[]):
                model, example = build_network(at, load_data(at.data))
                return at, model, take_inventory(model, example)
        except ConfigurationError as error:  # `ModelError` as well
            refused.append(error)
    raise refused[0]


def _describe(reading: Reading, model: nn.Module, inventory: Inventory, wishes: Wishes, grids: Grids) -> Allocation:
    asked = Conversion.make(inventory, wishes, grids, None)
    choices = asked.decisions.choices
    bits = reading.give(
        {layer.name: layer.type for layer in asked.layers},
        {
            (layer.name, target): why
            for layer in asked.layers
            for target in asked.targets
            if (why := uncovered(layer, target, asked.layers))
        },
        {part: SEARCHED if isinstance(choice, tuple) else choice for part, choice in choices.items()},
    )
    pin: dict[str, dict[str, Any]] = {}
    for (layer, target), given in bits.items():
        pin.setdefault(escape(layer), {})[target] = "float" if given is None else given
    try:
        settled = Wishes(wishes.bits, wishes.targets, pin, {}, wishes.groups, wishes.share)
        conversion = Conversion.make(inventory, settled, grids, None)
    except ConfigurationError as error:
        raise AllocationError(f"{reading.source.path}: {error}") from None
    layers = describe_layers(install(model, conversion, "eager"), conversion)
    return Allocation(
        model=ModelIdentity(name=layer_type(model), fingerprint=inventory.fingerprint),
        layers=layers,
        cost=cost_of(conversion.priced(layers), inventory.float_elements, inventory.moments),
        provenance={"imported_from": reading.format, "file": reading.source.path.name, "precsearch": __version__},
    )
