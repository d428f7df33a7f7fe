"""Bit flips: codes by hand, rates 0 and 0.5, and a network that is left as it was."""

import copy
import itertools
import math
from collections import OrderedDict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from precsearch import Budget, SearchableModel, calibrate
from precsearch.evaluation.bit_flips import decode, encode, flip_bits, flipped, measure_bit_flips
from precsearch.evaluation.images import Images, InputRange
from precsearch.evaluation.randomness import stream
from precsearch.quantization.grids import EVEN, SYMMETRIC, UNSIGNED

X = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(200) % 4


def network(quantizer="dorefa", granularity="tensor", bits=3):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
    searchable = SearchableModel(
        model, Budget("average_bits", bits), X[:2], bits=[bits], quantizer=quantizer, granularity=granularity
    )
    calibrate(searchable, X)
    return searchable.freeze().eval()


@pytest.mark.parametrize(
    ("grid", "bits", "codes", "stored"),
    [
        (SYMMETRIC, 2, [-1, 0, 1], [0b11, 0b00, 0b01]),
        (SYMMETRIC, 3, [-3, -1, 0, 3], [0b101, 0b111, 0b000, 0b011]),
        (SYMMETRIC, 8, [-127, -1, 127], [0x81, 0xFF, 0x7F]),
        (EVEN, 1, [-0.5, 0.5], [0, 1]),
        (EVEN, 2, [-1.5, -0.5, 0.5, 1.5], [0, 1, 2, 3]),
        (EVEN, 3, [-3.5, 3.5], [0, 7]),
        (EVEN, 8, [-127.5, 127.5], [0, 255]),
        (UNSIGNED, 1, [0, 1], [0, 1]),
        (UNSIGNED, 3, [0, 5, 7], [0, 5, 7]),
        (UNSIGNED, 8, [0, 255], [0, 255]),
    ],
)
def test_codes_are_stored_as_by_hand(grid, bits, codes, stored):
    given = torch.tensor(codes, dtype=torch.float64)
    assert encode(given, grid, bits).tolist() == stored
    assert decode(torch.tensor(stored), grid, bits).tolist() == codes


@pytest.mark.parametrize(
    ("grid", "bits", "code", "bit", "after"),
    [
        (EVEN, 1, 0.5, 0, -0.5),  # +-mean|w| changes its sign
        (EVEN, 2, -1.5, 1, 0.5),  # 00 -> 10
        (EVEN, 8, -127.5, 7, 0.5),
        (SYMMETRIC, 2, 1, 1, -1),  # 01 -> 11
        (SYMMETRIC, 3, 0, 2, -4),  # 000 -> 100, a code that no weight is rounded to
        (SYMMETRIC, 8, 1, 7, -127),
        (SYMMETRIC, 8, -1, 0, -2),
        (UNSIGNED, 8, 255, 7, 127),
    ],
)
def test_one_flipped_bit_decodes_as_by_hand(grid, bits, code, bit, after):
    stored = encode(torch.tensor([code], dtype=torch.float64), grid, bits) ^ (1 << bit)
    assert decode(stored, grid, bits).tolist() == [after]


@given(bits=st.integers(1, 16), seed=st.integers(0, 2**31), grid=st.sampled_from([SYMMETRIC, EVEN, UNSIGNED]))
def test_every_pattern_of_bits_has_a_code_of_its_own(bits, seed, grid):
    if grid is SYMMETRIC and bits == 1:
        return  # one bit is +-mean|w| on the even grid
    patterns = torch.from_numpy(np.random.default_rng(seed).integers(0, 2**bits, 50))
    assert torch.equal(encode(decode(patterns, grid, bits), grid, bits), patterns)


def test_bits_flip_independently_at_their_rate():
    count, bits, rate = 20_000, 8, 0.1
    after = flip_bits(torch.zeros(count, dtype=torch.int64), bits, rate, stream(0))
    hits = np.array([((after >> bit) & 1).sum() for bit in range(bits)])
    assert np.abs(hits - count * rate).max() < 4.5 * math.sqrt(count * rate * (1 - rate))
    assert int(after.max()) < 2**bits
    both = int(((after & 3) == 3).sum())
    assert abs(both - count * rate**2) < 4.5 * math.sqrt(count * rate**2)


@pytest.mark.parametrize(
    ("quantizer", "granularity", "bits"),
    list(itertools.product(["dorefa", "symmetric"], ["tensor", "channel"], [1, 2, 3, 8, 16])),
)
def test_rate_0_changes_nothing_and_the_network_is_left_as_it_was(quantizer, granularity, bits):
    model = network(quantizer, granularity, bits)
    before, state = model(X), copy.deepcopy(model.state_dict())
    with flipped(model, 0.0, stream(0)):
        assert torch.equal(model(X), before)
    with flipped(model, 0.3, stream(0)):
        faulty = model(X)
        assert torch.equal(model(X), faulty)  # the same faults at every look
    assert not torch.equal(faulty, before)
    assert torch.equal(model(X), before)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("quantizer", ["dorefa", "symmetric"])
def test_rate_1_flips_every_bit_of_every_row(quantizer):
    """All bits of a code counted from the lowest level: its mirror. In two's complement: -1 less the code."""
    model = network(quantizer, "channel", 3)
    (weight, step) = model[0].weight.detach(), model[0].parametrizations.weight[0].ranges().step.unsqueeze(1)
    with flipped(model, 1.0, stream(0)):
        expected = -weight if quantizer == "dorefa" else -weight - step
        assert torch.allclose(model[0].weight, expected, atol=1e-6)


def test_rate_one_half_gives_chance_accuracy():
    """Every code is then a fair draw, whatever was learned: 40 networks that know nothing, on 4 classes."""
    model = network()
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.bias.zero_()  # which stays as it is, and is the only thing learned that is left
        answers = model(X).argmax(1)
    images = Images(X, answers, InputRange(X.amin(), X.amax()))  # right in every case without flips
    clean, half = measure_bit_flips(model, images, (0.0, 0.5), 40, seed=1)
    assert set(clean.accuracies) == {1.0}
    draws = np.array(half.accuracies)
    assert abs(draws.mean() - 0.25) < 4 * draws.std(ddof=1) / math.sqrt(len(draws))
    assert len(set(half.accuracies)) > 10
    assert measure_bit_flips(model, images, (0.5,), 40, seed=1) == (half,)


def words(weight: torch.Tensor) -> torch.Tensor:
    return weight.detach().view(torch.int32)


def test_float32_weights_are_flipped_as_they_are_stored():
    torch.manual_seed(0)
    plain = nn.Sequential(OrderedDict(first=nn.Linear(6, 8), tied=nn.Linear(8, 8), again=nn.Linear(8, 8)))
    plain.again.weight = plain.tied.weight
    kept, before = dict(plain.named_parameters()), {name: value.clone() for name, value in plain.named_parameters()}
    with flipped(plain, 0.0, stream(0)):
        assert torch.equal(words(plain.first.weight), words(before["first.weight"]))
    with flipped(plain, 1.0, stream(0)):
        assert torch.equal(words(plain.first.weight), ~words(before["first.weight"]))
        assert plain.again.weight is plain.tied.weight
        assert torch.equal(plain.first.bias, before["first.bias"])
    with flipped(plain, 0.1, stream(0)):
        changed = words(plain.first.weight) ^ words(before["first.weight"])
        flips = sum(int(((changed >> bit) & 1).sum()) for bit in range(32))
    assert abs(flips / (32 * 48) - 0.1) < 4 * math.sqrt(0.09 / (32 * 48))
    assert all(value is kept[name] and torch.equal(value, before[name]) for name, value in plain.named_parameters())


def test_answers_that_are_not_finite_are_wrong():
    images = Images(torch.ones(4, 1), torch.zeros(4, dtype=torch.int64), InputRange(torch.zeros(()), torch.ones(())))
    model = nn.Sequential(nn.Linear(1, 3, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[3.0], [2.0], [1.0]]))
        assert measure_bit_flips(model, images, (0.0,), 1, seed=0)[0].accuracies == (1.0,)
        model[0].weight[0] = math.inf  # the largest, of the right class
        assert measure_bit_flips(model, images, (0.0,), 1, seed=0)[0].accuracies == (0.0,)
