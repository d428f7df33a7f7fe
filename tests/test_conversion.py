"""Converting networks in place: what becomes a layer, what is left alone, and that it computes on."""

import copy
from collections import OrderedDict

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations

import precsearch
from precsearch import Budget, ModelError, SearchableModel
from precsearch.conversion import quantizers_of
from precsearch.layers import find_weight
from precsearch.quantization.base import REFRESH_EVERY
from precsearch.quantization.quantizers import ActivationQuantizer

X = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def mlp(**more):
    return nn.Sequential(
        OrderedDict(fc1=nn.Linear(6, 8), act=nn.ReLU(), fc2=nn.Linear(8, 8), out=nn.Linear(8, 3), **more)
    )


def convert(model, example=X, limit=4.0, **options):
    return SearchableModel(model, Budget("layer_bits", limit), example, **options)


def bits(searchable):
    return {layer.name: (layer.bits("weight"), layer.bits("activation")) for layer in searchable.allocation().layers}


@st.composite
def networks(draw):
    """A convolutional part in one to three dimensions, groups and all, and a fully connected part."""
    dimensions = draw(st.integers(0, 3))
    layers, macs = OrderedDict(), {}
    if dimensions == 0:
        width = draw(st.integers(1, 12))
        shape = (width,)
    else:
        channels, side = draw(st.integers(1, 3)), 6
        shape = (channels, *[side] * dimensions)
        for i in range(draw(st.integers(1, 2))):
            groups = draw(st.sampled_from([1, channels]))
            out = groups * draw(st.integers(1, 3))
            options = {
                "kernel_size": draw(st.integers(1, 3)),
                "stride": draw(st.integers(1, 2)),
                "padding": draw(st.integers(0, 1)),
                "bias": draw(st.booleans()),
            }
            layers[f"conv{i}"] = CONVOLUTIONS[dimensions](channels, out, groups=groups, **options)
            side = (side + 2 * options["padding"] - options["kernel_size"]) // options["stride"] + 1
            assume(side > 0)
            macs[f"conv{i}"] = layers[f"conv{i}"].weight.numel() * side**dimensions
            layers[f"act{i}"] = draw(st.sampled_from([nn.ReLU(), nn.Tanh(), nn.Identity()]))
            channels = out
        layers["flat"] = nn.Flatten()
        width = channels * side**dimensions
    for i in range(draw(st.integers(1, 3))):
        units = draw(st.integers(1, 12))
        layers[f"fc{i}"] = nn.Linear(width, units, bias=draw(st.booleans()))
        macs[f"fc{i}"] = width * units
        layers[f"relu{i}"] = nn.ReLU()
        width = units
    return nn.Sequential(layers), shape, macs


class TestAnyNetwork:
    @given(networks(), st.sampled_from(["dorefa", "symmetric"]), st.sampled_from(["tensor", "channel"]), st.data())
    @settings(max_examples=25, deadline=None)
    def test_converts_trains_and_freezes(self, network, quantizer, granularity, data):
        model, shape, macs = network
        plain = copy.deepcopy(model)
        batch = data.draw(st.integers(1, 4))
        searchable = convert(model, torch.rand(batch, *shape), quantizer=quantizer, granularity=granularity)
        assert {layer.name: layer.macs for layer in searchable.allocation().layers} == macs
        x = torch.randn(3, *shape)
        out = searchable(x)
        out.square().sum().backward()
        assert out.shape == plain(x).shape and bool(out.isfinite().all())
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in searchable.model.parameters())
        expected = searchable.eval()(x)
        allocation = searchable.allocation()
        applied = precsearch.apply_allocation(plain, allocation)
        applied.load_state_dict(searchable.freeze().state_dict())
        assert torch.equal(applied.eval()(x), expected)

    def test_the_example_may_be_any_batch(self):
        found = [convert(mlp(), -torch.rand(n, 6)).allocation() for n in (1, 2, 7)]
        assert found[0] == found[1] == found[2]
        tokens = nn.Sequential(nn.Embedding(5, 6), nn.Linear(6, 2))
        found = bits(convert(tokens, torch.zeros(2, 3, dtype=torch.int64)))
        assert found.keys() == {"0", "1"} and found["0"][1] is None and None not in found["1"]

    def test_inspection_leaves_the_model_as_it_was(self):
        model = mlp(norm=nn.BatchNorm1d(3), drop=nn.Dropout(0.3))
        model.norm.eval()
        state = copy.deepcopy(model.state_dict())
        convert(model)
        assert model.training and not model.norm.training and model.drop.training
        after = {key.replace("parametrizations.weight.original", "weight"): v for key, v in model.state_dict().items()}
        assert all(torch.equal(after[key], value) for key, value in state.items())
        assert type(model.norm) is nn.BatchNorm1d and type(model.drop) is nn.Dropout

    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
    def test_other_float_types(self, when, dtype):
        searchable = convert(mlp().to(dtype), X.to(dtype)) if when == "before" else convert(mlp()).to(dtype)
        for _ in range(REFRESH_EVERY + 1):
            out = searchable(X.to(dtype))
            out.sum().backward()
        assert out.dtype == searchable.eval()(X.to(dtype)).dtype == dtype

    def test_mixed_precision(self):
        searchable = convert(mlp())
        for _ in range(REFRESH_EVERY + 1):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                searchable(X).sum().backward()
        assert bool(searchable.eval()(X).isfinite().all())

    @pytest.mark.parametrize("wrap", [parametrizations.weight_norm, parametrizations.spectral_norm])
    def test_layers_that_are_parametrized_already(self, wrap):
        def model():
            torch.manual_seed(0)
            return nn.Sequential(wrap(nn.Linear(6, 8)), nn.ReLU(), nn.Linear(8, 3))

        searchable = convert(model())
        searchable(X).sum().backward()
        expected, allocation = searchable.eval()(X), searchable.allocation()
        assert allocation.layers[0].type == "Linear"
        applied = precsearch.apply_allocation(model(), allocation)
        applied.load_state_dict(searchable.freeze().state_dict())
        assert torch.equal(applied.eval()(X), expected)

    def test_inputs_by_keyword_and_a_layer_called_twice(self):
        class Twice(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(6, 6)

            def forward(self, x):
                return self.fc(input=self.fc(x))

        searchable = convert(Twice())
        (layer,) = searchable.allocation().layers
        assert (layer.macs, layer.inputs) == (72, 12)
        searchable(X)
        quantizers = quantizers_of(find_weight(searchable.model, "fc"))
        assert {target: int(own.state_dict()["age"]) for target, (own,) in quantizers.items()} == {
            "weight": 1,
            "activation": 1,
        }


class TestActivations:
    def test_negatives_that_appear_later_switch_the_grid_for_good(self):
        quantizer = ActivationQuantizer([2, 4], "l2", signed=False, layer="fc")
        quantizer.choose(1)
        for _ in range(REFRESH_EVERY):
            quantizer.tick()
            quantizer(X.abs())
        assert not quantizer.precision().signed and (quantizer(X.abs()) >= 0).all()
        for _ in range(REFRESH_EVERY):
            quantizer.tick()
            out = quantizer(X)
        assert quantizer.precision().signed
        assert (out < 0).any() and (out - X).abs().max() < 0.6
        for _ in range(REFRESH_EVERY):
            quantizer(X.abs())
        assert quantizer.precision().signed

    def test_evaluating_before_any_range_is_known(self):
        with pytest.raises(ModelError, match="activation range of layer 'fc1' is not known yet"):
            convert(mlp()).eval()(X)

    def test_one_bad_batch_is_forgotten(self):
        """A step that a gradient scaler skips must not leave its traces in the ranges."""
        quantizer = ActivationQuantizer([4], "max", signed=True, layer="fc")
        for _ in range(REFRESH_EVERY):
            expected = quantizer(X)
        assert quantizer(X * float("nan")).isnan().any()
        assert torch.equal(quantizer(X), expected)
