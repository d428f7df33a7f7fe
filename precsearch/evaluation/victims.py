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
    modes = [(module, module.training) for module in model.modules()]
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    stochastic = isinstance(model, SearchableModel) and model.training
    model.eval()
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        if stochastic:
            assert isinstance(model, SearchableModel)
            with _drawn(model, draws, seed) as victim:
                yield victim
        else:
            with parametrize.cached():  # weights stay as they are: they are quantized once
                yield model
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
        for module, mode in modes:
            module.training = mode


@contextmanager
def _drawn(searchable: SearchableModel, draws: int, seed: int) -> Iterator[Victim]:
    before = [(quantizer, quantizer.bits.index(quantizer.chosen_bits)) for quantizer in searchable.quantizers]
    state = searchable.generator.get_state()
    searchable.generator.manual_seed(seed)
    with torch.no_grad():
        drawn = [searchable.sampler.draw(searchable.temperature).candidates for _ in range(draws)]
    searchable.generator.set_state(state)
    try:
        yield _Mean(searchable, drawn)
    finally:
        for quantizer, candidate in before:
            quantizer.choose(candidate)


class _Mean:
    """The mean probability over allocations."""

    def __init__(self, searchable: SearchableModel, drawn: Sequence[Ints]) -> None:
        self.searchable = searchable
        self.drawn = drawn

    def __call__(self, inputs: Tensor) -> Tensor:
        answers = []
        for candidates in self.drawn:
            self.searchable.dials.set(candidates)
            answers.append(self.searchable.model(inputs).log_softmax(1))
        return torch.stack(answers).logsumexp(0) - math.log(len(answers))


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
