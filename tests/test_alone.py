"""One layer quantized alone: against doing it by hand, and a network that is left as it was."""

import copy

import pytest
import torch
from torch import nn

from precsearch import Budget, SearchableModel, calibrate
from precsearch.evaluation.alone import candidates_in, measure_alone
from precsearch.evaluation.images import Images, InputRange
from precsearch.quantization.quantizers import ActivationQuantizer, WeightQuantizer

X = torch.randn(120, 6, generator=torch.Generator().manual_seed(0))
Y = torch.randint(3, (120,), generator=torch.Generator().manual_seed(1))
IMAGES = Images(X, Y, InputRange(X.amin(), X.amax()))


def make(model, bits=(1, 2, 4, 16), **settings):
    searchable = SearchableModel(model, Budget("average_bits", 3), X[:2], bits=bits, **settings)
    calibrate(searchable, X)
    return searchable


def layers():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


@torch.no_grad()
def loss_and_accuracy(outputs):
    return float(nn.functional.cross_entropy(outputs.detach(), Y)), float((outputs.argmax(1) == Y).float().mean())


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
@pytest.mark.parametrize("quantizer", ["dorefa", "symmetric"])
def test_rows_equal_quantizing_by_hand(quantizer, granularity):
    plain = copy.deepcopy(layers())
    searchable = make(layers(), quantizer=quantizer, granularity=granularity)
    candidates = candidates_in(searchable.conversion)
    rows, float_loss = measure_alone(searchable.freeze(), IMAGES, X, candidates)
    assert float_loss == pytest.approx(loss_and_accuracy(plain(X))[0], abs=1e-6)
    assert [(row.layer, row.target, row.bits) for row in rows] == [
        (layer, target, bits) for layer in ("0", "2") for target in ("weight", "activation") for bits in (1, 2, 4, 16)
    ]
    for row in rows:
        changed = copy.deepcopy(plain)
        layer = changed[int(row.layer)]
        with torch.no_grad():
            if row.target == "weight":
                own = WeightQuantizer([row.bits], "l2", granularity, layer.out_features, quantizer)
                layer.weight.copy_(own(layer.weight))
            else:
                own = ActivationQuantizer([row.bits], "l2", row.layer == "0", row.layer)
                own.train()
                layer.register_forward_pre_hook(lambda module, args, own=own: own(args[0]))
            loss, accuracy = loss_and_accuracy(changed(X))
        assert row.loss == pytest.approx(loss, abs=1e-6)
        assert row.accuracy == pytest.approx(accuracy, abs=1e-6)


def test_many_bits_cost_nothing_and_few_bits_something():
    searchable = make(layers(), quantizer="symmetric")
    candidates = candidates_in(searchable.conversion)
    rows, float_loss = measure_alone(searchable.freeze(), IMAGES, X, candidates)
    distance = {bits: sum(abs(row.loss - float_loss) for row in rows if row.bits == bits) for bits in (1, 2, 4, 16)}
    assert distance[16] < 1e-3
    assert distance[16] < distance[4] < distance[2]


def test_the_network_is_left_as_it_was():
    searchable = make(layers())
    candidates = candidates_in(searchable.conversion)
    model = searchable.freeze().eval()
    before, state, random = model(X), copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    measure_alone(model, IMAGES, X, candidates)
    assert torch.equal(model(X), before)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), random)
    assert not model.training


def test_pins_single_targets_and_tied_weights():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.out = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
            self.second.weight = self.first.weight

        def forward(self, x):
            return self.out(self.second(self.first(x).relu()))

    torch.manual_seed(0)
    searchable = make(Tied(), bits=(2, 4), targets=["weight"], pin={"out": "float"})
    candidates = candidates_in(searchable.conversion)
    assert set(candidates) == {("first", "weight"), ("second", "weight")}
    rows, _ = measure_alone(searchable.freeze(), IMAGES, X, candidates)
    by_layer = {name: [(row.bits, row.loss) for row in rows if row.layer == name] for name in ("first", "second")}
    assert by_layer["first"] == by_layer["second"]
