"""Small networks of every kind that people bring: what a conversion must not break on.

Each entry makes a model and an example of what it takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

WORDS = 40


def words(batch: int = 4, length: int = 7) -> Tensor:
    return torch.randint(1, WORDS, (batch, length), generator=torch.Generator().manual_seed(1))


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


class Recurrent(nn.Module):
    """An embedding, a recurrent net of two layers and both directions, and a classifier."""

    def __init__(self, kind: Callable[..., nn.RNNBase], packed: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, 12)
        self.net = kind(12, 16, num_layers=2, bidirectional=True, batch_first=True)
        self.out = nn.Linear(32, 5)
        self.packed = packed

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        if not self.packed:
            return self.out(self.net(h)[0][:, -1])
        lengths = torch.full((len(x),), x.shape[1])
        outputs, _ = self.net(pack_padded_sequence(h, lengths, batch_first=True))
        return self.out(nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True)[0][:, -1])


class Cells(nn.Module):
    """A recurrent cell in a Python loop."""

    def __init__(self, kind: Callable[..., nn.RNNCellBase]) -> None:
        super().__init__()
        self.cell, self.out = kind(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.out(state[0] if isinstance(state, tuple) else state)


class Attention(nn.Module):
    """Queries of one width look at keys and values of others."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, kdim=6, vdim=4, batch_first=True)
        self.out = nn.Linear(8, 3)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return self.out(self.attention(query, key=key, value=value)[0].mean(1))


class Transformer(nn.Module):
    """torch's own transformer encoder with a positional table."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, 16)
        self.places = nn.Parameter(torch.randn(1, 7, 16) * 0.1)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.out = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.encoder(self.embed(x) + self.places).mean(1))


class UNet(nn.Module):
    """Down and up again, with grouped transposed convolutions and a skip by concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(12, 8, 2, stride=2, groups=2)
        self.out = nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.down1(x).relu()
        return self.out(torch.cat([first, self.up(self.down2(first).relu()).relu()], 1))


class Tied(nn.Module):
    """A language model whose decoder is its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, 12)
        self.middle = nn.Linear(12, 12)
        self.decode = nn.Linear(12, WORDS, bias=False)
        self.decode.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.middle(self.embed(x)).tanh())


class Twice(nn.Module):
    """A layer called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again, self.out = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.again(self.again(self.first(x).relu()).relu()).relu())


class Branching(nn.Module):
    """Control flow that depends on the numbers, a layer by keyword, and a weight without a module."""

    def __init__(self) -> None:
        super().__init__()
        self.small, self.large, self.out = nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(8, 3)
        self.mix = nn.Parameter(torch.randn(8, 8) / 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.small(input=x) if float(x.abs().mean()) < 100 else self.large(x)
        for _ in range(int(x.shape[0] > 1) + 1):
            h = (h @ self.mix).relu()
        return self.out(h)


class Residual(nn.Module):
    """Two residual blocks and a shortcut with a layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.a1, self.a2 = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.b1, self.b2 = nn.Conv2d(8, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.short = nn.Conv2d(8, 6, 1)
        self.out = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = (x + self.a2(self.a1(x).relu())).relu()
        x = (self.short(x) + self.b2(self.b1(x).relu())).relu()
        return self.out(x.mean((2, 3)))


def conv1d() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(3, 8, 5), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 8, 3, groups=8), nn.Flatten(), nn.Linear(80, 3)
    )


def conv3d() -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(1, 4, 3), nn.ReLU(), nn.ConvTranspose3d(4, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(250, 3)
    )


class Bilinear(nn.Module):
    """Two inputs by name, a bilinear layer and a bag of embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(WORDS, 6)
        self.pair, self.out = nn.Bilinear(6, 5, 8), nn.Linear(8, 3)

    def forward(self, words: Tensor, extra: Tensor) -> Tensor:
        return self.out(self.pair(self.bag(words), extra).relu())


NETS: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "lstm": (lambda: Recurrent(nn.LSTM), words()),
    "packed lstm": (lambda: Recurrent(nn.LSTM, packed=True), words()),
    "gru": (lambda: Recurrent(nn.GRU), words()),
    "rnn": (lambda: Recurrent(nn.RNN), words()),
    "lstm cell": (lambda: Cells(nn.LSTMCell), numbers(4, 5, 6)),
    "gru cell": (lambda: Cells(nn.GRUCell), numbers(4, 5, 6)),
    "attention": (Attention, (numbers(4, 3, 8), numbers(4, 5, 6), numbers(4, 5, 4))),
    "transformer": (Transformer, words()),
    "u-net": (UNet, numbers(4, 3, 8, 8)),
    "tied": (Tied, words()),
    "twice": (Twice, numbers(4, 6)),
    "branching": (Branching, numbers(4, 6)),
    "residual": (Residual, numbers(4, 3, 8, 8)),
    "conv1d": (conv1d, numbers(4, 3, 16)),
    "conv3d": (conv3d, numbers(4, 1, 6, 6, 6)),
    "bilinear": (Bilinear, {"words": words(), "extra": numbers(4, 5)}),
}
