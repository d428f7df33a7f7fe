import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from precsearch.errors import ConfigurationError, ModelError
from precsearch.experiment import ModelSettings
from precsearch.layers import take_inventory
from precsearch.models import MODELS, build_model, convnet, lenet5, mlp, resnet20, vgg_small


def build(name, input_shape=(1, 28, 28), classes=10, **arguments):
    return build_model(ModelSettings(name=name, **arguments), input_shape, classes)


def names(model):
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


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

    @settings(deadline=None)
    @given(width=st.floats(0.01, 4), depth=st.integers(1, 9))
    def test_width_and_depth_stand_for_hidden(self, width, depth):
        units = max(1, round(64 * width))
        given = [module.out_features for module in mlp((3,), 2, width=width, depth=depth) if hasattr(module, "weight")]
        assert given == [units] * depth + [2]

    def test_width_is_a_factor_on_hidden(self):
        assert mlp((3,), 2, [10, 5], width=0.5).fc2.weight.shape == (2, 5)

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ({"hidden": []}, "`model.hidden`"),
            ({"hidden": [4], "depth": 1}, "not both"),
            ({"depth": 0}, r"from 1 to 100 must hold, but got 0; nearest: 1"),
            ({"depth": 2.0}, "got 2.0"),
            ({"width": 0}, "`width > 0` must hold"),
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


class TestConvnet:
    def test_is_the_quick_one(self):
        model = convnet((3, 32, 32), 10)
        assert count(model) == 145_578
        assert names(model) == ["conv1", "conv2", "conv3", "fc1", "fc2"]
        layers = take_inventory(model, torch.rand(2, 3, 32, 32)).layers
        assert sum(layer.macs for layer in layers) == 25 * (1024 * 96 + 256 * 1024 + 64 * 2048) + 1024 * 64 + 640

    @settings(max_examples=20, deadline=None)
    @given(maps=st.lists(st.integers(1, 5), min_size=1, max_size=3), width=st.floats(0.05, 2))
    def test_maps_and_width(self, maps, width):
        model = convnet((2, 9, 14), 3, maps, width=width)
        convolutions = [module.out_channels for module in model if isinstance(module, nn.Conv2d)]
        assert convolutions == [max(1, round(number * width)) for number in maps]
        assert model.fc1.out_features == max(1, round(64 * width))
        assert model(torch.rand(2, 2, 9, 14)).shape == (2, 3)

    @pytest.mark.parametrize("maps", [[], 16, [0], [True], [2.0], "16"])
    def test_bad_maps(self, maps):
        with pytest.raises(ModelError, match=r"`model\.maps`: a list of whole numbers >= 1"):
            build("convnet", maps=maps)

    def test_too_small(self):
        with pytest.raises(ModelError, match="convnet needs images of at least 8 x 8, but got 7 x 28"):
            build("convnet", (1, 7, 28))


class TestVggSmall:
    def test_is_the_one_of_the_literature(self):
        """LQ-Nets and its kin: 4.66 million parameters, 608 million MACs on CIFAR-10."""
        model = vgg_small((3, 32, 32), 10)
        assert count(model) == 4_660_106
        layers = take_inventory(model, torch.rand(2, 3, 32, 32)).layers
        assert [layer.name for layer in layers] == [*(f"conv{n}" for n in range(1, 7)), "fc"]
        assert [layer.shape[0] for layer in layers] == [128, 128, 256, 256, 512, 512, 10]
        assert sum(layer.macs for layer in layers) == 9 * 1024 * (384 + 3 * 128 * 128 + 2 * 64 * 128) + 81_920

    @pytest.mark.parametrize("shape", [(1, 8, 8), (3, 33, 47), (4, 16, 9)])
    def test_image_sizes(self, shape):
        assert vgg_small(shape, 7, width=0.05)(torch.rand(2, *shape)).shape == (2, 7)

    @settings(max_examples=10, deadline=None)
    @given(width=st.floats(0.001, 0.3), blocks=st.integers(1, 10))
    def test_width_and_depth(self, width, blocks):
        model = vgg_small((1, 8, 8), 3, width=width, depth=3 * blocks + 1)
        maps = [max(1, round(count * width)) for count in (128, 256, 512) for _ in range(blocks)]
        assert len(names(model)) == 3 * blocks + 1
        assert [module.out_channels for module in model if isinstance(module, nn.Conv2d)] == maps
        assert model(torch.rand(2, 1, 8, 8)).shape == (2, 3)

    @pytest.mark.parametrize(("depth", "near"), [(8, 7), (9, 10), (1, 4), (99, 31)])
    def test_bad_depth(self, depth, near):
        with pytest.raises(ModelError, match=f"from 4 to 31 in steps of 3 must hold, but got {depth}; nearest: {near}"):
            build("vgg_small", depth=depth)

    def test_too_small(self):
        with pytest.raises(ModelError, match="vgg_small needs images of at least 8 x 8, but got 7 x 28"):
            build("vgg_small", (1, 7, 28))


class TestResNet20:
    @pytest.mark.parametrize(
        ("depth", "parameters", "told"),
        [(20, 269_722, 0.27), (32, 464_154, 0.46), (44, 658_586, 0.66), (56, 853_018, 0.85), (110, 1_727_962, 1.7)],
    )
    def test_is_the_paper_s(self, depth, parameters, told):
        """He et al. 2016, table 6."""
        model = resnet20((3, 32, 32), 10, depth=depth)
        assert count(model) == parameters
        assert math.isclose(parameters / 1e6, told, abs_tol=0.05 if depth == 110 else 0.0075)

    def test_layers_and_macs(self):
        layers = take_inventory(resnet20((3, 32, 32), 10), torch.rand(2, 3, 32, 32)).layers
        assert len(layers) == 20
        assert [layer.name for layer in layers][:2] == ["conv1", "stage1.0.conv1"]
        assert sum(layer.macs for layer in layers) == 40_551_040

    def test_a_shortcut_is_every_second_pixel_and_zero_maps(self):
        block = resnet20((1, 8, 8), 10).stage2[0]
        nn.init.zeros_(block.conv2.weight)  # leaves the shortcut alone
        x = torch.rand(2, 16, 5, 6)
        out = block(x)
        assert torch.equal(out[:, 8:24], x[:, :, ::2, ::2])
        assert not out[:, :8].any() and not out[:, 24:].any()

    @pytest.mark.parametrize("shape", [(1, 8, 8), (3, 33, 47), (2, 4, 5)])
    def test_image_sizes(self, shape):
        assert resnet20(shape, 7, depth=8)(torch.rand(2, *shape)).shape == (2, 7)

    @settings(max_examples=10, deadline=None)
    @given(width=st.floats(0.01, 3), blocks=st.integers(1, 8))
    def test_width_and_depth(self, width, blocks):
        with torch.device("meta"):
            model = resnet20((3, 32, 32), 5, width=width, depth=6 * blocks + 2)
        assert len(names(model)) == 6 * blocks + 2
        widths = [max(1, round(count * width)) for count in (16, 32, 64)]
        assert [stage[-1].conv2.out_channels for stage in (model.stage1, model.stage2, model.stage3)] == widths
        assert model(torch.rand(2, 3, 32, 32, device="meta")).shape == (2, 5)

    @pytest.mark.parametrize(("depth", "near"), [(18, 20), (2, 8), (112, 110)])
    def test_bad_depth(self, depth, near):
        with pytest.raises(ModelError, match=rf"8 to 110 in steps of 6 must hold, but got {depth}; nearest: {near}"):
            build("resnet20", depth=depth)

    def test_too_small(self):
        with pytest.raises(ModelError, match="resnet20 needs images of at least 4 x 4, but got 3 x 28"):
            build("resnet20", (1, 3, 28))


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
