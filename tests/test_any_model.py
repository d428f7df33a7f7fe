"""Any network that runs can be searched, without rewriting it: converted, trained, frozen, written, applied."""

import copy
import warnings

import pytest
import torch
from nets import NETS
from torch import nn

import precsearch
from precsearch import Allocation, Budget, PrecsearchWarning, SearchableModel
from precsearch.layers.example import call
from precsearch.torchvision_import import import_torchvision

CLOSE = 1e-3
TORCHVISION = {
    "alexnet": 64, "vgg11_bn": 32, "resnet18": 32, "resnet50": 32, "resnext50_32x4d": 32, "densenet121": 32,
    "googlenet": 32, "inception_v3": 96, "mobilenet_v2": 32, "mobilenet_v3_small": 32, "efficientnet_b0": 32,
    "shufflenet_v2_x1_0": 32, "squeezenet1_1": 32, "mnasnet0_5": 32, "regnet_y_400mf": 32, "convnext_tiny": 32,
    "vit_b_16": 32, "swin_t": 32, "maxvit_t": 224,
}  # fmt: skip


def build(name):
    torch.manual_seed(0)
    if name in NETS:
        make, example = NETS[name]
        return make(), example
    size = TORCHVISION[name]
    options = {"vit_b_16": {"image_size": size}, "maxvit_t": {"input_size": (size, size)}}.get(name, {})
    if name in {"googlenet", "inception_v3"}:
        options = {"init_weights": True, "aux_logits": name == "googlenet"}  # without the first torchvision warns
    model = import_torchvision().models.get_model(name, weights=None, num_classes=10, **options)
    return alive(model), torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def alive(model):
    """An untrained net whose outputs are neither zero nor lost in its depth."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, nn.Linear) and not module.weight.any():
            nn.init.normal_(module.weight, std=0.1)
    return model


def convert(model, example, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PrecsearchWarning)  # what stays in float32 is told, and is not the point here
        return SearchableModel(model, Budget("average_bits", options.pop("limit", 4.0)), example, **options)


def first(output):
    return output if isinstance(output, torch.Tensor) else output[0]


def in_double(example):
    if isinstance(example, torch.Tensor):
        return example.double() if example.is_floating_point() else example
    if isinstance(example, dict):
        return {name: in_double(value) for name, value in example.items()}
    return tuple(in_double(value) for value in example)


def relative_error(found, expected):
    return float((found - expected).norm() / expected.norm())


@torch.no_grad()
def check_sixteen_bits_are_float(name):
    model, example = build(name)
    plain = copy.deepcopy(model).eval()
    searchable = convert(model, example, bits=[16], quantizer="symmetric", limit=16.0)
    precsearch.calibrate(searchable, example)
    assert relative_error(first(call(searchable.eval(), example)), first(call(plain, example))) < CLOSE


def check_life(name):
    """Conversion, a training step, freezing, JSON, applying: outputs stay what they were."""
    model, example = build(name)
    plain = copy.deepcopy(model)
    searchable = convert(model, example, bits=[2, 4, 8])
    optimizer = torch.optim.SGD(searchable.parameter_groups(lr=1e-3), lr=1e-3)
    first(call(searchable.train(), example)).square().mean().backward()
    assert all(any(q.known for q in slot) for slot in searchable.dials.quantizers), "a quantizer never saw data"
    assert searchable.sampler.logits.grad is not None and bool(searchable.sampler.logits.grad.isfinite().all())
    optimizer.step()
    allocation = searchable.allocation()
    assert all(value <= 4.0 for value in allocation.budget.by_target.values())
    with torch.no_grad():
        expected = first(call(searchable.eval(), example))
    frozen = searchable.freeze().eval()
    applied = precsearch.apply_allocation(plain, Allocation.from_json(allocation.to_json()))
    applied.load_state_dict(frozen.state_dict())
    copied = copy.deepcopy(applied).eval()
    for network in (frozen, applied.eval(), copied):
        with torch.no_grad():
            assert torch.equal(first(call(network, example)), expected)
    # With gradients torch takes other paths through attention and recurrent layers. In double precision, since in
    # single precision these differ enough for a value to be rounded to another of two bits' levels.
    network, example = applied.double(), in_double(example)
    with torch.no_grad():
        expected = first(call(network, example))
    assert relative_error(first(call(network, example)).detach(), expected) < CLOSE


@pytest.mark.parametrize("name", NETS)
def test_sixteen_bits_are_float(name):
    check_sixteen_bits_are_float(name)


@pytest.mark.parametrize("name", NETS)
def test_life(name):
    check_life(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", TORCHVISION)
def test_sixteen_bits_are_float_in_torchvision(name):
    check_sixteen_bits_are_float(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", TORCHVISION)
def test_life_in_torchvision(name):
    check_life(name)


def test_a_weight_that_is_not_in_a_module_of_its_own_is_searched():
    searchable = convert(*build("branching"))
    assert [layer.name for layer in searchable.allocation().layers] == ["mix", "small", "out"]
    before = searchable.model.mix.detach().clone()
    assert len(before.unique()) <= 2 ** searchable.allocation().bits()["mix"]
    assert isinstance(searchable.model.parametrizations.mix.original, nn.Parameter)
