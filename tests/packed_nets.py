"""Networks with bits as given, as a search leaves them, for exports."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from nets import WORDS
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

import precsearch
from precsearch.exports.network.network import Network
from precsearch.layers.example import call


class Every(nn.Module):
    """An embedding that is tied to the decoder, a convolution, one in groups, a transposed one, and BatchNorm."""

    def __init__(self, groups: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, 6)
        self.conv = nn.Conv1d(6, 8, 3, padding=1)
        self.norm = nn.BatchNorm1d(8)
        self.split = nn.Conv1d(8, 8, 3, padding=1, groups=4)
        self.up = nn.ConvTranspose1d(8, 6, 2, stride=2, groups=groups)
        self.middle = nn.Linear(6, 6)
        self.decode = nn.Linear(6, WORDS, bias=False)
        self.decode.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        h = self.split(self.norm(self.conv(self.embed(x).mT)).relu()).relu()
        return self.decode(self.middle(self.up(h).mean(2)).tanh())


class Own(nn.Module):
    """What is seldom: buffers that are not saved, of 16 bits, a parametrized bias, a layer held twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = weight_norm(nn.Linear(6, 8))
        self.scale = weight_norm(nn.Linear(8, 8), "bias", dim=None)
        self.register_buffer("unsaved", torch.ones(8), persistent=False)
        self.register_buffer("small", torch.ones(8, dtype=torch.float16))
        self.register_buffer("flag", torch.tensor(True))
        self.alias = self.first
        self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.scale(self.alias(x).relu()).relu() * self.unsaved * self.small)


EVERY = ("embed", "conv", "split", "up", "middle")  # decode has the embedding's bits


def searched(
    make: Callable[[], nn.Module],
    example: Any,
    bits: Mapping[str, tuple[int | None, int | None]] | None = None,
    **options: Any,
) -> Network:
    """A network after its search; `bits` are layer -> weight bits, activation bits, None: float."""
    torch.manual_seed(0)
    candidates: dict[str, dict[str, list[int]]] = {}
    pin: dict[str, dict[str, str]] = {}
    for name, pair in (bits or {}).items():
        for target, given in zip(options.get("targets", ("weight", "activation")), pair, strict=False):
            if given is None:
                pin.setdefault(name, {})[target] = "float"
            else:
                candidates.setdefault(name, {})[target] = [given]
    model = make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", precsearch.PrecsearchWarning)
        search = precsearch.SearchableModel(
            model,
            precsearch.Budget("average_bits", 3.0 if bits is None else 16.0),
            example,
            candidates=candidates,
            pin=pin,
            **options,
        )
    precsearch.calibrate(search, example)
    search.eval()
    allocation = search.allocation()
    model = search.freeze().eval()
    with torch.no_grad():
        move(model)
        precsearch.calibrate(model, example)
    inputs = example if isinstance(example, Tensor) else torch.zeros(1)
    return Network("net", model, allocation, inputs)


def move(model: nn.Module) -> None:
    """Give running statistics something to say."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            module.running_mean.copy_(torch.linspace(-0.3, 0.3, module.num_features))
            module.running_var.copy_(torch.linspace(0.5, 2.0, module.num_features))
            module.num_batches_tracked.fill_(7)


@torch.no_grad()
def outputs(model: nn.Module, example: Any) -> Tensor:
    found: Tensor = call(model.eval(), example)
    return found


def picture(model: nn.Module) -> dict[str, Any]:
    """What a refusal must leave as it was."""
    state = {name: value.clone() for name, value in model.state_dict().items()}
    hooks = [len(module._forward_pre_hooks) + len(module._forward_hooks) for module in model.modules()]
    return {"state": state, "modules": [type(each) for each in model.modules()], "hooks": hooks,
            "training": [each.training for each in model.modules()]}  # fmt: skip


def same_picture(a: dict[str, Any], b: dict[str, Any]) -> bool:
    alike = list(a["state"]) == list(b["state"])
    return (
        alike
        and all(map(torch.equal, a["state"].values(), b["state"].values()))
        and all(a[key] == b[key] for key in ("modules", "hooks", "training"))
    )
