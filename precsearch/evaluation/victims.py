"""A network as attacks see it: something that answers for inputs, and whose answers have gradients."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from precsearch.precision.problem import Ints
from precsearch.searchable import SearchableModel

_BATCH = 250  # of images, where nothing is kept for a backward pass


class Victim(Protocol):
    """What is attacked."""

    def __call__(self, inputs: Tensor) -> Tensor:
        """Logits or log-probabilities [B, classes] of inputs [B, ...], differentiable."""


@contextmanager
def answering(model: nn.Module, draws: int, seed: int) -> Iterator[Victim]:
    """A context in which `model` answers in evaluation mode, and neither learns nor changes; then it is as it was.

    Args:
        model: a searchable one in training mode is still stochastic: its answer is the mean probability over
            allocations that it draws now, and the gradient is that of the mean (Athalye et al. 2018,
            arXiv:1802.00420, expectation over transformation). Every other one is settled.
        draws: how many a stochastic one draws; the same ones answer everything.
        seed: of them.
    """
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        with evaluating(model, draws, seed) as network:
            if isinstance(network, MeanOverDraws):
                yield network
            else:
                with parametrize.cached():  # weights stay as they are: they are quantized once
                    yield network
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


@contextmanager
def evaluating(model: nn.Module, draws: int, seed: int) -> Iterator[nn.Module]:
    """A context in which `model` is a network in evaluation mode, the mean over draws where it is still stochastic.

    Args:
        model: see `answering`.
        draws: likewise.
        seed: likewise.
    """
    modes = [(module, module.training) for module in model.modules()]
    stochastic = isinstance(model, SearchableModel) and model.training
    model.eval()
    try:
        if stochastic:
            assert isinstance(model, SearchableModel)
            with _drawn(model, draws, seed) as mean:
                yield mean
        else:
            yield model
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _drawn(searchable: SearchableModel, draws: int, seed: int) -> Iterator[MeanOverDraws]:
    before = [(quantizer, quantizer.bits.index(quantizer.chosen_bits)) for quantizer in searchable.quantizers]
    state = searchable.generator.get_state()
    searchable.generator.manual_seed(seed)
    with torch.no_grad():
        drawn = [searchable.sampler.draw(searchable.temperature).candidates for _ in range(draws)]
    searchable.generator.set_state(state)
    try:
        yield MeanOverDraws(searchable, drawn)
    finally:
        for quantizer, candidate in before:
            quantizer.choose(candidate)


class MeanOverDraws(nn.Module):
    """The mean probability over allocations of a network that is still stochastic, in evaluation mode.

    Its weights must not be cached (`parametrize.cached`): they are rounded anew for each allocation.

    Args:
        searchable: whose weights all of them share.
        drawn: the allocations, each [S] candidates.
    """

    def __init__(self, searchable: SearchableModel, drawn: Sequence[Ints]) -> None:
        super().__init__()
        self.searchable = searchable
        self.drawn = tuple(drawn)
        self.eval()

    def forward(self, inputs: Tensor) -> Tensor:
        """Logarithms of the mean probabilities [B, classes] of inputs [B, ...]."""
        return mean_of([network(inputs).log_softmax(1) for network in self.each()])

    def each(self) -> Iterator[nn.Module]:
        """The network at one allocation after the other; each is gone when the next one comes."""
        for candidates in self.drawn:
            self.searchable.dials.set(candidates)
            yield self.searchable.model


def mean_of(logs: Sequence[Tensor]) -> Tensor:
    """The logarithm of the mean of probabilities whose logarithms are given, each [B, classes]."""
    return torch.stack(list(logs)).logsumexp(0) - math.log(len(logs))


def weights_in(network: nn.Module) -> nn.Module:
    """The network with the weights, where `network` may be the mean over draws of it."""
    return network.searchable.model if isinstance(network, MeanOverDraws) else network


def slope(victim: Victim, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Answers, cross-entropies [B], and their gradients for the inputs [B, ...]; zeros where there are none.

    In double precision from the logits on: a sure network's probabilities would leave no gradient in single.
    """
    with torch.enable_grad():
        inputs = inputs.detach().requires_grad_()
        answers = victim(inputs)
        losses = nn.functional.cross_entropy(answers.double(), targets, reduction="none")
        if not losses.requires_grad:
            return answers, losses, torch.zeros_like(inputs)
        (gradient,) = torch.autograd.grad(losses.sum(), inputs, materialize_grads=True)
    return answers.detach(), losses.detach(), gradient


@torch.no_grad()
def right(victim: Victim, inputs: Tensor, targets: Tensor) -> Tensor:
    """Which inputs [N, ...] are answered right, [N] bool."""
    parts = [slice(start, start + _BATCH) for start in range(0, len(targets), _BATCH)]
    return torch.cat([targets[:0].bool(), *(victim(inputs[part]).argmax(1) == targets[part] for part in parts)])
