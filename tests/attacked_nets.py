"""Small nets on digits, trained once: plain, quantized, and made to hide their gradients."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from precsearch import Budget, SearchableModel
from precsearch.data import Batches, DataSet, load_data
from precsearch.evaluation.images import Images, input_range
from precsearch.experiment import DataSettings, EvaluateSettings


@functools.cache
def digits() -> DataSet:
    return load_data(DataSettings(name="digits"))


@functools.cache
def images(count: int = 150) -> Images:
    return Images.of(digits().validation, count, input_range(digits()))


def asked(**settings: object) -> EvaluateSettings:
    return EvaluateSettings.model_validate({"attacks": ["fgsm", "pgd"], **settings})


def fresh() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 24), nn.ReLU(),
        nn.Linear(24, 10),
    )  # fmt: skip


def searchable(sampler: str = "fixed", bits: tuple[int, ...] = (3,)) -> SearchableModel:
    chosen = {"allocation": [bits[0]] * 3} if sampler == "fixed" else {}
    return SearchableModel(
        fresh(), Budget("average_bits", sum(bits) / len(bits)), digits().train.inputs[:2], bits=bits, sampler=sampler,
        **chosen,
    )  # fmt: skip


def trained(model: nn.Module, epochs: int = 8) -> nn.Module:
    order = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), 4e-3)
    model.train()
    for _ in range(epochs):
        for inputs, targets in Batches(digits().train, 64, order):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
    return model.eval()


@functools.cache
def plain() -> nn.Module:
    return trained(fresh())


@functools.cache
def quantized() -> nn.Module:
    return trained(searchable().freeze())


NETS = {"float": plain, "quantized": quantized}


class Loud(nn.Module):
    """Logits so far apart that the probabilities, and with them the gradients, are 0 and 1."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) * 1e4


class Rounded(nn.Module):
    """Inputs rounded without a gradient passed straight through."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model((x * 16).round() / 16)


HIDING = {"loud": Loud, "rounded": Rounded}
