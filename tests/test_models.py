import pytest
import torch
from torch import nn

from precsearch.errors import ConfigurationError, ModelError
from precsearch.experiment import ModelSettings
from precsearch.models import MODELS, build_model, lenet5, mlp


def build(name, input_shape=(1, 28, 28), classes=10, **arguments):
    return build_model(ModelSettings(name=name, **arguments), input_shape, classes)


def names(model):
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]


def tiny(classes, input_shape, width=1):
    return nn.Sequential(nn.Flatten(), nn.Linear(input_shape[0] * width, classes))


def no_module():
    return tiny


def open_ended(**arguments):
    return nn.Linear(1, len(arguments) + 1)


class TestMlp:
    def test_layers_are_named_in_order(self):
        model = mlp((1, 8, 8), 10, [5, 6, 7], batch_norm=True, dropout=0.5, activation="tanh")
        assert names(model) == ["fc1", "fc2", "fc3", "out"]
        assert [type(layer).__name__ for layer in model][:5] == [
            "Flatten",
            "Linear",
            "BatchNorm1d",
            "Tanh",
            "Dropout",
        ]
        assert [model.fc1.in_features, model.fc3.in_features, model.out.out_features] == [64, 6, 10]

    def test_defaults(self):
        assert mlp((3,), 2)(torch.randn(4, 3)).shape == (4, 2)

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ({"hidden": []}, "`model.hidden`"),
            ({"hidden": [-3]}, r"\[-3\]"),
            ({"hidden": [4, True]}, "True"),
            ({"hidden": [4.5]}, "4.5"),
            ({"hidden": 64}, r"write \[64\]"),
            ({"hidden": "64"}, "'64'"),
            ({"dropout": 1.0}, "0 <= dropout < 1"),
            ({"dropout": float("nan")}, "nan"),
            ({"activation": "rleu"}, "nearest: 'relu'"),
            ({"activation": 3}, "got 3"),
        ],
    )
    def test_bad_values(self, arguments, told):
        with pytest.raises(ModelError, match=told):
            build("mlp", **arguments)


class TestLeNet5:
    @pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 12, 12), (2, 40, 28), (1, 33, 47)])
    def test_shapes(self, shape):
        model = lenet5(shape, 7)
        assert model(torch.randn(2, *shape)).shape == (2, 7)
        assert names(model) == ["conv1", "conv2", "fc1", "fc2", "fc3"]

    @pytest.mark.parametrize("side", [28, 32])
    def test_is_the_classic(self, side):
        model = lenet5((1, side, side), 10)
        assert sum(p.numel() for p in model.parameters()) == 61_706

    @pytest.mark.parametrize(("width", "maps"), [(1, (6, 16)), (0.5, (3, 8)), (2.0, (12, 32)), (0.01, (1, 1))])
    def test_width(self, width, maps):
        model = lenet5((1, 28, 28), 10, width)
        assert (model.conv1.out_channels, model.conv2.out_channels) == maps

    @pytest.mark.parametrize("width", [0, -1, float("inf"), float("nan"), "2", True])
    def test_bad_width(self, width):
        with pytest.raises(ModelError, match="`width > 0` must hold"):
            build("lenet5", width=width)

    def test_too_small(self):
        with pytest.raises(ModelError, match="at least 12 x 12, but got 8 x 8"):
            build("lenet5", (1, 8, 8))

    def test_no_images(self):
        with pytest.raises(ModelError, match=r"\[channels, height, width\], but got \[64\]"):
            build("lenet5", (64,))


class TestBuild:
    @pytest.mark.parametrize("name", MODELS)
    def test_every_registered_model_learns(self, name):
        model = build(name)
        model(torch.randn(2, 1, 28, 28)).sum().backward()
        assert all(parameter.grad is not None for parameter in model.parameters())

    def test_depends_on_the_global_generator_only(self):
        weights = []
        for _ in range(2):
            torch.manual_seed(3)
            weights.append(build("lenet5").conv1.weight)
        assert torch.equal(*weights)

    def test_unknown_name(self):
        with pytest.raises(ConfigurationError, match=r"`model.name` .* got 'lenet'; nearest: 'lenet5'"):
            build("lenet")

    def test_unknown_argument(self):
        with pytest.raises(ModelError, match=r"`model.hiden` .* accepts hidden, .*; nearest: 'hidden'"):
            build("mlp", hiden=[3])

    def test_own_by_import_path(self):
        model = build(f"{__name__}:tiny", (3,), 2, width=2)
        assert (model[1].in_features, model[1].out_features) == (6, 2)

    def test_a_class_by_import_path(self):
        assert build("torch.nn:Linear", in_features=2, out_features=3).out_features == 3

    def test_offers_nothing_to_open_keywords(self):
        assert build(f"{__name__}:open_ended", anything=1).out_features == 2

    def test_wrong_argument_of_ones_own(self):
        with pytest.raises(ModelError, match=r"`model.widht` .* nearest: 'width'"):
            build(f"{__name__}:tiny", (3,), 2, widht=2)

    def test_what_is_no_module(self):
        with pytest.raises(ModelError, match=r"must return an nn.Module, but got a function"):
            build(f"{__name__}:no_module")
