"""What a trial begins with: the network that its experiment names, laid out in memory, and made searchable."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn

from precsearch.allocation import Allocation
from precsearch.conversion import Conversion, Grids, Wishes
from precsearch.data import Batches, DataSet
from precsearch.errors import ModelError
from precsearch.experiment import BudgetSettings, Experiment
from precsearch.layers import take_inventory
from precsearch.layers.example import run_example
from precsearch.models import build_model
from precsearch.precision.budgets import Budget
from precsearch.searchable import SearchableModel
from precsearch.training.floating import FloatNetwork

_EXAMPLE: Final = 2
FLOAT: Final = "float"  # the one sampler that draws nothing: no layer is ever quantized


def make_searchable(experiment: Experiment, data: DataSet, seed: int) -> SearchableModel:
    """The network of a trial, converted as `inner:` says, its draws seeded."""
    inner = experiment.inner
    budgets: list[tuple[str | None, BudgetSettings]] = [(None, inner.budget), *inner.budgets.items()]
    model, example = build_network(experiment, data)
    return SearchableModel(
        model,
        [Budget(each.kind, each.limit, each.layers, each.table, name, each.range) for name, each in budgets],
        example,
        bits=inner.bits,
        targets=inner.targets,
        quantizer=inner.quantizer,
        scale=inner.scale,
        granularity=inner.granularity,
        sampler=inner.sampler,
        preferences=inner.logits.form if inner.sampler in ("perturb-and-map", "gumbel-softmax") else None,
        pin=inner.pin,
        candidates=inner.candidates,
        groups={
            name: group if isinstance(group, tuple) else group.model_dump() for name, group in inner.groups.items()
        },
        share=inner.share,
        allocation=_given(inner.allocation),
        temperature=inner.temperature.start,
        seed=seed,
        kernels=experiment.executor.kernels,
    )


def make_network(experiment: Experiment, data: DataSet, seed: int) -> SearchableModel | FloatNetwork:
    """The network of a trial as it begins: searchable, or left in float32 where its sampler says so."""
    if experiment.inner.sampler != FLOAT:
        return make_searchable(experiment, data, seed)
    inner = experiment.inner
    model, example = build_network(experiment, data)
    wishes = Wishes(inner.bits, inner.targets, pin={"*": "float"})
    return FloatNetwork(model, Conversion.make(take_inventory(model, example), wishes, Grids(), None))


def build_network(experiment: Experiment, data: DataSet) -> tuple[nn.Module, Tensor]:
    """The float network, and two images to run it on."""
    example = next(iter(Batches(data.train.first(_EXAMPLE), _EXAMPLE)))[0]
    model = build_model(experiment.model, data.input_shape, data.classes)
    return in_memory_format(model, example, experiment.executor.memory_format), example


def _given(allocation: str | tuple[int, ...] | None) -> Allocation | tuple[int, ...] | None:
    return Allocation.from_json(allocation) if isinstance(allocation, str) else allocation


def in_memory_format(model: nn.Module, example: Tensor, wanted: str) -> nn.Module:
    """Lay the weights of two-dimensional convolutions out as wanted, in place -> `model`.

    With channels last, convolutions take less time on processors, and quantizing keeps what they return as it is.

    Args:
        model: not yet converted.
        example: a batch, [B, ...].
        wanted: ``contiguous``; ``channels_last``; or ``auto``: channels last where at least a quarter of the
            convolutions and linear layers are such convolutions (it made a vision transformer slower), and the
            model runs so (a ``view`` of what a convolution returned does not).

    Raises:
        ModelError: when it does not run as wanted.
    """
    convolutions = sum(isinstance(module, nn.Conv2d) for module in model.modules())
    linear = sum(isinstance(module, nn.Linear) for module in model.modules())
    if wanted == "contiguous" or (wanted == "auto" and 4 * convolutions < max(1, convolutions + linear)):
        return model
    to_format: Any = model.to  # its stubs know no memory formats
    to_format(memory_format=torch.channels_last)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            run_example(model, example)
    except ModelError:
        if wanted != "auto":
            raise
        to_format(memory_format=torch.contiguous_format)
    return model
