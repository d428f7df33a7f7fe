"""The trained network of a run, from the files of its training."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from safetensors import SafetensorError
from safetensors.torch import load_file

from precsearch.conversion import apply_allocation
from precsearch.data import load_data
from precsearch.data.batches import Batches
from precsearch.errors import ConfigurationError, RunDirectoryError
from precsearch.experiment import Experiment
from precsearch.exports.choice import Choice
from precsearch.exports.network.network import Network
from precsearch.exports.resolved import experiment_of_choice
from precsearch.models import build_model

WEIGHTS: Final = "weights.safetensors"


def restore(choice: Choice, images: int) -> Network:
    """The trained network that was chosen, with the first images of its test split.

    Args:
        choice: of a run whose data is at hand.
        images: how many images, >= 1.

    Raises:
        ConfigurationError: when nothing was trained with the chosen allocation.
        DataError: when the data is not at hand.
        RunDirectoryError: when the weights were not copied, or cannot be read.
    """
    path, experiment = weights_of_choice(choice), experiment_of_choice(choice)
    data = load_data(experiment.data)
    model = build_model(_untrained(experiment).model, data.input_shape, data.classes)
    apply_allocation(model, choice.allocation)
    try:
        model.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise RunDirectoryError(f"cannot read the weights {path}: {first}; was the file copied whole?") from None
    inputs, targets = next(iter(Batches(data.test.first(images), images)))
    return Network(experiment.model.name, model.eval(), choice.allocation, inputs, targets)


def weights_of_choice(choice: Choice) -> Path:
    """The file with the trained weights.

    Raises:
        ConfigurationError: when nothing was trained with the chosen allocation.
        RunDirectoryError: when the file is not there.
    """
    if choice.folder is None:
        raise ConfigurationError(
            "a network is exported with the bits it was trained with, but what a search over a range answers at a "
            "budget was not trained yet; train it (docs/any-budget.md), then export that training; or export its "
            "allocation alone, --format json"
        )
    path = choice.folder / WEIGHTS
    if not path.is_file():
        raise RunDirectoryError(f"a network is exported from its weights, but {path} is missing; copy it too")
    return path


def _untrained(experiment: Experiment) -> Experiment:
    """Without the weights it started from, which may be gone: those that were trained come instead."""
    given = experiment.model.model_dump(exclude={"checkpoint"})
    if ":" not in experiment.model.name:  # a function of one's own may need its own argument of that name
        given.pop("weights", None)
    return experiment.model_copy(update={"model": type(experiment.model).model_validate(given)})
