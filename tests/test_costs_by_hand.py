"""What allocations are said to cost, against counts written out by hand, and against QONNX's own count."""

from collections import OrderedDict

import pytest
import torch
from nets import Recurrent, Transformer, numbers, words
from qonnx_costs import CONVOLUTIONS, LINEAR, SIDE, costs
from test_any_model import convert
from torch import nn

ALL = ["weight", "activation", "gradient"]
TOLD = pytest.mark.filterwarnings("ignore:.*stays in float32:precsearch.PrecsearchWarning")


def cost_of(model, example, given, targets=ALL[:2], **options):
    """The cost where every layer has exactly these bits (None: float): name -> weight, activation, gradient."""
    candidates, pin = {}, {}
    for name, bits in given.items():
        named = dict(zip(ALL, bits, strict=False))
        candidates[name] = {target: [b] for target, b in named.items() if b is not None}
        pin[name] = {target: "float" for target, b in named.items() if b is None}
    candidates, pin = ({name: own for name, own in each.items() if own} for each in (candidates, pin))
    allocation = convert(model, example, targets=targets, candidates=candidates, pin=pin, limit=16.0, **options)
    return allocation.allocation().cost


class Convolutions(nn.Sequential):
    def __init__(self):
        super().__init__(
            OrderedDict(
                conv1=nn.Conv2d(3, 8, 3, padding=1, bias=False),
                norm=nn.BatchNorm2d(8),
                act=nn.ReLU(),
                conv2=nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=4),
                up=nn.ConvTranspose2d(8, 6, 2, stride=2, groups=2),
                out=nn.Conv2d(6, 2, 1),
            )
        )


class TestConvolutions:
    """An image of 3 x 8 x 8. What is left float of `out` is what it reads."""

    BITS = (("conv1", (3, 8, 8)), ("conv2", (5, 4, 4)), ("up", (2, 6, 2)), ("out", (7, None, 6)))

    def cost(self, **options):
        return cost_of(Convolutions(), numbers(2, 3, 8, 8), dict(self.BITS), ALL, **options)

    def test_average_bits(self):
        found = self.cost().average_bits
        # kernels: 8 of 3 x 3 x 3; 8 of 2 x 3 x 3; 8 inputs to 3 outputs a group over 2 x 2; 2 of 6 x 1 x 1
        assert found["weight"] == (3 * 216 + 5 * 144 + 2 * 96 + 7 * 12) / (216 + 144 + 96 + 12)
        # 3 x 8 x 8, 8 x 8 x 8, 8 x 4 x 4
        assert found["activation"] == (8 * 192 + 4 * 512 + 6 * 128) / (192 + 512 + 128)
        # 8 x 8 x 8, 8 x 4 x 4, 6 x 8 x 8, 2 x 8 x 8
        assert found["gradient"] == (8 * 512 + 4 * 128 + 2 * 384 + 6 * 128) / (512 + 128 + 384 + 128)

    def test_model_size(self):
        # bits to whole bytes: 3 x 216, 5 x 144, 2 x 96, 7 x 12 (84 bits: 10.5 bytes)
        weights = 81 + 90 + 24 + 11
        floats = (8 + 6 + 2) + (8 + 8) + (8 + 8)  # biases; BatchNorm's weight and bias; its mean and variance
        assert self.cost().model_size == weights + 4 * 4 + 3 * 4 + 4 * floats
        assert self.cost(granularity="channel").model_size == weights + (8 + 8 + 6 + 2) * 4 + 3 * 4 + 4 * floats

    def test_bitops(self):
        macs = {"conv1": 64 * 8 * 27, "conv2": 16 * 8 * 18, "up": 16 * 8 * 3 * 4, "out": 64 * 2 * 6}
        assert self.cost().bitops == macs["conv1"] * 24 + macs["conv2"] * 20 + macs["up"] * 12 + macs["out"] * 7 * 32

    def test_activation_memory(self):
        """While `up` runs: what it reads, 128 elements of 6 bits, and what it makes, 384 left float for `out`."""
        assert self.cost().activation_memory == 128 * 6 // 8 + 384 * 4
        quantized = dict(self.BITS) | {"out": (7, 2, 6)}
        # now while `conv1` runs: the image at 8 bits, and what `conv2` reads at 4
        found = cost_of(Convolutions(), numbers(2, 3, 8, 8), quantized, ALL)
        assert found.activation_memory == 192 + 512 * 4 // 8


class TestRecurrent:
    """Seven words of 40, 12 numbers each; two layers and both directions of an LSTM of 16; five classes."""

    def cost(self, **options):
        layers = {"embed": (4,), "net.weight_ih*": (2,), "net.weight_hh*": (3,), "out": (8, 5)}
        return cost_of(Recurrent(nn.LSTM), words(4, 7), layers | {"net.weight_ih_l0": (2, 6)}, **options)

    INPUT = 64 * 12 + 64 * 12 + 64 * 32 + 64 * 32  # four gates of 16; the second layer reads both directions
    HIDDEN = 4 * 64 * 16

    def test_average_bits(self):
        found = self.cost().average_bits
        assert found["weight"] == (4 * 480 + 2 * self.INPUT + 3 * self.HIDDEN + 8 * 160) / (
            480 + self.INPUT + self.HIDDEN + 160
        )
        assert found["activation"] == (6 * 7 * 12 + 5 * 32) / (7 * 12 + 32)

    def test_model_size(self):
        weights = 480 * 4 // 8 + self.INPUT * 2 // 8 + self.HIDDEN * 3 // 8 + 160
        biases = 4 * (64 + 64) + 5
        assert self.cost().model_size == weights + 10 * 4 + 2 * 4 + 4 * biases
        rows = 40 + 8 * 64 + 5
        assert self.cost(granularity="channel").model_size == weights + rows * 4 + 2 * 4 + 4 * biases

    def test_bitops(self):
        """What is made inside the LSTM is float; so is priced what its other direction reads."""
        first, other = 7 * 64 * 12 * 2 * 6, 7 * 64 * 12 * 2 * 32
        second, hidden = 7 * 2 * 64 * 32 * 2 * 32, 7 * self.HIDDEN * 3 * 32
        assert self.cost().bitops == first + other + second + hidden + 160 * 8 * 5

    def test_activation_memory(self):
        """While the words are looked up: seven indices of 4 bytes, and 7 x 12 numbers at the LSTM's 6 bits."""
        assert self.cost().activation_memory == 7 * 4 + 7 * 12 * 6 // 8


@TOLD
class TestTransformer:
    """Seven words of 16 numbers, two layers of two heads, 32 within, five classes; a table of places left float."""

    BITS = (("embed", (4,)), ("*.in_proj_weight", (3, 5)), ("*.out_proj", (2,)), ("*.linear1", (4, 6)),
            ("*.linear2", (6, 4)), ("out", (8, 8)))  # fmt: skip

    def cost(self, **options):
        return cost_of(Transformer(), words(4, 7), dict(self.BITS), **options)

    def test_average_bits(self):
        found = self.cost().average_bits
        bits = 4 * 640 + 2 * (3 * 768 + 2 * 256 + 4 * 512 + 6 * 512) + 8 * 80
        assert found["weight"] == bits / (640 + 2 * (768 + 256 + 512 + 512) + 80)
        bits = 2 * (5 * 7 * 16 + 6 * 7 * 16 + 4 * 7 * 32) + 8 * 16
        assert found["activation"] == bits / (2 * (7 * 16 + 7 * 16 + 7 * 32) + 16)

    def test_model_size(self):
        weights = 640 * 4 // 8 + 2 * (768 * 3 // 8 + 256 * 2 // 8 + 512 * 4 // 8 + 512 * 6 // 8) + 80
        floats = 7 * 16 + 2 * (48 + 16 + 32 + 16 + 2 * (16 + 16)) + 5  # places; biases and two norms a layer
        assert self.cost().model_size == weights + 10 * 4 + 7 * 4 + 4 * floats

    def test_bitops(self):
        """Of products of weights; the attention's own products of activations have no bits to search."""
        layer = 7 * (768 * 3 * 5 + 256 * 2 * 32 + 512 * 4 * 6 + 512 * 6 * 4)
        assert self.cost().bitops == 2 * layer + 80 * 8 * 8


# What `pip install qonnx && python tests/qonnx_costs.py` printed with qonnx 1.0.0.
QONNX = {"total_macs": 20352.0, "total_bops": 532224.0, "total_mem_w_elems": 2424.0, "total_mem_w_bits": 13032.0}


class TestAgainstQonnx:
    def test_costs_are_those_that_qonnx_counts(self):
        layers, given = OrderedDict(), {}
        for name, inputs, outputs, kernel, stride, groups, *bits in CONVOLUTIONS:
            layers[name] = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
            layers[f"{name}_act"], given[name] = nn.ReLU(), bits
        name, inputs, outputs, *bits = LINEAR
        layers["flat"], layers[name], given[name] = nn.Flatten(), nn.Linear(inputs, outputs, bias=False), bits
        model, x = nn.Sequential(layers), torch.randn(2, CONVOLUTIONS[0][1], SIDE, SIDE)
        offered = {name: {"weight": [weight], "activation": [read]} for name, (weight, read) in given.items()}
        allocation = convert(model, x, candidates=offered, limit=16.0).allocation()
        assert allocation.cost.bitops == QONNX["total_bops"]
        assert sum(layer.macs for layer in allocation.layers) == QONNX["total_macs"]
        assert sum(layer.numel for layer in allocation.layers) == QONNX["total_mem_w_elems"]
        mean = allocation.cost.average_bits["weight"]
        assert mean == QONNX["total_mem_w_bits"] / QONNX["total_mem_w_elems"]
        # packed bytes a layer, a scale each for weights and inputs
        assert allocation.cost.model_size == QONNX["total_mem_w_bits"] / 8 + 4 * (4 + 4)

    def test_the_figures_are_those_of_qonnx(self):
        pytest.importorskip("qonnx")
        assert costs() == QONNX
