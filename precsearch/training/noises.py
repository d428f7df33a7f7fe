"""The kinds of noise that `inner.noise` can ask for, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import nn

from precsearch.conversion import Conversion
from precsearch.data import DataSet
from precsearch.experiment import Experiment
from precsearch.training.building import make_searchable
from precsearch.training.noise import Dropout, Noise, WeightNoise

STAND_IN: Final = "perturb-and-map"
"""The sampler whose first draws weight noise has the power of: every draw keeps the budget."""

NoiseOn = Callable[[nn.Module], Noise]
Making = Callable[[Experiment, DataSet, Conversion, int], NoiseOn]


def _none(experiment: Experiment, data: DataSet, conversion: Conversion, seed: int) -> NoiseOn:
    return lambda model: Noise()


def _dropout(experiment: Experiment, data: DataSet, conversion: Conversion, seed: int) -> NoiseOn:
    inventory, rate = conversion.inventory, experiment.inner.noise.rate
    layers = [layer.name for layer in inventory.layers]
    first = inventory.moments[0].layer if inventory.moments else layers[0]
    return lambda model: Dropout(model, layers, first, rate)


def _weight(experiment: Experiment, data: DataSet, conversion: Conversion, seed: int) -> NoiseOn:
    inner = experiment.inner.model_copy(update={"sampler": STAND_IN})
    start = experiment.model.model_copy(update={"checkpoint": None})
    with torch.random.fork_rng(devices=[]):  # the network itself must not depend on its shadow
        shadow = make_searchable(experiment.model_copy(update={"inner": inner, "model": start}), data, seed)
    return lambda model: WeightNoise(model, shadow)


NOISES: Final[dict[str, Making]] = {"none": _none, "dropout": _dropout, "weight": _weight}


def noise_of(experiment: Experiment, data: DataSet, conversion: Conversion, seed: int) -> NoiseOn:
    """What `inner.noise` asks for, to be put on a network of the experiment.

    Args:
        experiment: of the trial.
        data: that it learns from.
        conversion: of its network, with the layers.
        seed: of the noise.

    Raises:
        ConfigurationError: when the network cannot have it.
        BudgetError: when weights are to have the noise of draws under a budget that cannot be kept.
    """
    return NOISES[experiment.inner.noise.kind](experiment, data, conversion, seed)
