"""Noise controls: dropout before layers, and weight noise of the power that rounding has in a draw under the budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import NETS
from real_trials import Interrupted, Recorder, experiment, left, train
from safetensors.torch import load_file
from torch import nn

from precsearch import Budget, SearchableModel
from precsearch.conversion import quantizers_of
from precsearch.data import load_data
from precsearch.errors import BudgetError, ConfigurationError
from precsearch.evaluation.accuracy import measure
from precsearch.layers import take_inventory, weights_of
from precsearch.layers.example import call
from precsearch.models import build_model
from precsearch.quantization.base import Quantizer
from precsearch.training.building import make_network
from precsearch.training.noise import Dropout, Noise, WeightNoise
from precsearch.training.noises import NOISES, noise_of
from precsearch.training.stages import Stage
from precsearch.trial import run_trial

FLOAT = "inner.sampler=float"
DROPOUT = "inner.noise={kind: dropout, rate: 0.3}"
WEIGHT = "inner.noise.kind=weight"
SHORT = "inner.epochs={warmup: 1, search: 1, finetune: 1}"


def tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    return [each for part in value for each in tensors(part)] if isinstance(value, tuple | list) else []


class TestDropout:
    @pytest.mark.filterwarnings("ignore:.*stays in float32:precsearch.PrecsearchWarning")
    @pytest.mark.parametrize("name", NETS)
    def test_inputs_of_every_layer_but_the_first_are_dropped(self, name: str) -> None:
        make, example = NETS[name]
        torch.manual_seed(0)
        model = make()
        inventory = take_inventory(model, example)
        layers, first = [layer.name for layer in inventory.layers], inventory.moments[0].layer
        noise = Dropout(model, layers, first, 0.5)
        weights = weights_of(model)
        assert weights[first].module not in noise.reads
        # all other modules whose forward is called with float numbers
        wanted = {weights[n].module for n in layers if weights[n].reads} - {weights[first].module}
        assert set(noise.reads) == wanted
        seen: dict[nn.Module, list[Any]] = {}
        handles = [
            module.register_forward_pre_hook(lambda module, args: seen.setdefault(module, []).extend(args))
            for module in model.modules()
        ]
        model.train()
        with noise.epoch():
            call(model, example)
        for module in wanted & set(seen):
            floats = [t for i in noise.reads[module] for t in tensors(seen[module][i : i + 1]) if t.is_floating_point()]
            for tensor in floats:
                assert 0.2 < float((tensor == 0).double().mean()) < 1 or tensor.numel() < 40, (name, module)
        for handle in handles:
            handle.remove()

    def test_it_is_torchs_own_before_the_layer_and_gone_after_the_epoch(self) -> None:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
        twin = nn.Sequential(net[0], net[1], nn.Dropout(0.4), net[2], net[3], nn.Dropout(0.4), net[4])
        x = torch.rand(5, 6)
        noise = Dropout(net, ["0", "2", "4"], "0", 0.4)
        with noise.epoch():
            torch.manual_seed(1)
            found = net.train()(x)
            assert torch.equal(net.eval()(x), twin.eval()(x))  # in training mode only
        torch.manual_seed(1)
        assert torch.equal(found, twin.train()(x))
        assert torch.equal(net.train()(x), twin.eval()(x))
        assert not any(module._forward_pre_hooks for module in net.modules())

    def test_arguments_given_by_name(self) -> None:
        attention = nn.MultiheadAttention(8, 2, batch_first=True)
        net = nn.Sequential(attention)
        noise = Dropout(nn.ModuleList([nn.Linear(8, 8), attention]), ["0", "1.in_proj_weight"], "0", 0.5)
        assert set(noise.reads) == {attention}
        x = torch.ones(2, 3, 8)
        given, named = noise._drop(net[0].train(), (x,), {"key": x, "value": x, "need_weights": False})
        assert named["key"] is named["value"] is given[0] and named["need_weights"] is False
        assert set(given[0].unique().tolist()) == {0.0, 2.0}

    @pytest.mark.parametrize("sampler", ["float", "uniform", "perturb-and-map"])
    def test_with_any_sampler(self, tmp_path: Path, sampler: str) -> None:
        given = [f"inner.sampler={sampler}", SHORT]
        plain, noisy = train(tmp_path / "a", *given), train(tmp_path / "b", *given, DROPOUT)
        assert plain.metrics != noisy.metrics
        assert (
            load_file(tmp_path / "a" / "weights.safetensors").keys()
            == load_file(tmp_path / "b" / "weights.safetensors").keys()
        )

    def test_no_evaluation_has_it(self, tmp_path: Path) -> None:
        document = experiment(FLOAT, DROPOUT)
        result = run_trial(document, Recorder(tmp_path))
        data = load_data(document.data)
        model = build_model(document.model, data.input_shape, data.classes)
        model.load_state_dict(load_file(tmp_path / "weights.safetensors"))
        for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test)):
            assert measure(model, split).loss == result.metrics[f"{name}_loss"]


def weight_noise(*overrides: str, seed: int = 0) -> tuple[WeightNoise, nn.Module, SearchableModel]:
    document = experiment(FLOAT, WEIGHT, *overrides)
    data = load_data(document.data)
    torch.manual_seed(seed)
    network = make_network(document, data, seed)
    noise = noise_of(document, data, network.conversion, seed)(network.model)
    assert isinstance(noise, WeightNoise)
    return noise, network.model, noise.shadow


class TestWeightNoise:
    @pytest.mark.parametrize("quantizer", ["dorefa", "symmetric"])
    def test_its_power_is_that_of_rounding_layer_by_layer(self, quantizer: str) -> None:
        """Against draws and roundings that are made apart: a network searched under the same budget."""
        given = (f"inner.quantizer={quantizer}", "inner.bits=[2, 3, 8]", "inner.budget.limit=3")
        noise, model, _ = weight_noise(*given)
        names = {id(weight.stored): name for name, weight in weights_of(model).items()}
        count = 400
        drawn: dict[str, list[float]] = {}
        for _ in range(count):
            for weight, made in noise.draw():
                drawn.setdefault(names[id(weight)], []).append(float(made.double().square().mean()))

        import copy

        twin = SearchableModel(
            copy.deepcopy(model), Budget("average_bits", 3.0), torch.rand(4, 1, 8, 8), bits=[2, 3, 8],
            quantizer=quantizer, seed=99,
        )  # fmt: skip
        rounded: dict[str, list[float]] = {}
        for _ in range(count):
            twin.dials.set(twin.sampler.draw(2.0).candidates)
            for name, weight in weights_of(twin.model).items():
                (own,) = quantizers_of(weight)["weight"]
                with torch.no_grad():
                    rounded.setdefault(name, []).append(float((own(weight.stored) - weight.stored).square().mean()))
        assert drawn.keys() == rounded.keys() == {"fc1", "fc2", "out"}
        for name, powers in drawn.items():
            error = (np.var(powers) / count + np.var(rounded[name]) / count) ** 0.5
            assert abs(np.mean(powers) - np.mean(rounded[name])) <= 4 * error, name
            assert np.mean(powers) > 0

    def test_it_is_gaussian_and_has_the_draws_power_in_each_step(self) -> None:
        noise, model, shadow = weight_noise("inner.bits=[2, 8]", "inner.budget.limit=5")
        for _ in range(20):
            made = {id(weight): each for weight, each in noise.draw()}
            for name, weight in weights_of(model).items():
                (own,) = quantizers_of(weights_of(shadow.model)[name])["weight"]
                with torch.no_grad():
                    power = float((own(weight.stored) - weight.stored).square().mean())  # at the bits just drawn
                z = made[id(weight.stored)].flatten().double() / power**0.5
                bound = 5 / len(z) ** 0.5
                assert abs(float(z.mean())) < bound and abs(float(z.square().mean()) - 1) < 1.5 * bound
                assert abs(float((z**4).mean()) - 3) < 5 * bound * 3

    @given(st.floats(2, 6), st.integers(0, 10**6))
    @settings(max_examples=15, deadline=None)
    def test_its_draws_keep_the_budget(self, limit: float, seed: int) -> None:
        noise, _, shadow = weight_noise(f"inner.budget.limit={limit}", seed=seed)
        problem, seen = shadow.plan.problem, set()
        for _ in range(5):
            noise.draw()
            own = [problem.bits.index(quantizers[0].chosen_bits) for quantizers in shadow.dials.quantizers]
            assert (problem.spent(np.array(own)) <= problem.limits).all()
            seen.add(tuple(own))
        assert not any(parameter.grad is not None for parameter in shadow.sampler.parameters())

    def test_a_step_goes_straight_through_and_leaves_the_weights_to_the_bit(self) -> None:
        noise, model, _ = weight_noise()
        x, y = torch.rand(7, 1, 8, 8), torch.arange(7)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        with noise.epoch(), noise.step():
            noisy = {name: value.clone() for name, value in model.state_dict().items()}
            nn.functional.cross_entropy(model(x), y).backward()
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert {name for name in before if not torch.equal(noisy[name], before[name])} == {
            "fc1.weight", "fc2.weight", "out.weight",
        }  # fmt: skip
        found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}  # type: ignore[union-attr]
        model.zero_grad()
        model.load_state_dict(noisy)
        nn.functional.cross_entropy(model(x), y).backward()
        for name, parameter in model.named_parameters():
            assert torch.equal(found[name], parameter.grad)  # type: ignore[arg-type]

    def test_the_weights_come_back_from_a_step_that_fails(self) -> None:
        noise, model, _ = weight_noise()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        with pytest.raises(RuntimeError, match="broken"), noise.epoch(), noise.step():
            raise RuntimeError("broken")
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    def test_the_warm_up_has_none_and_all_other_steps_have(self, tmp_path: Path, monkeypatch: Any) -> None:
        drawn, steps = [], []
        draw, step = WeightNoise.draw, Stage.step
        monkeypatch.setattr(WeightNoise, "draw", lambda self: drawn.append(len(steps)) or draw(self))
        monkeypatch.setattr(Stage, "step", lambda self, loss: steps.append(1) or step(self, loss))
        train(tmp_path, FLOAT, WEIGHT)  # 3 steps an epoch: 1 of warm-up, 2 of search, 2 of fine-tune
        assert drawn == list(range(4, 16)) and len(steps) == 15

    def test_evaluation_is_in_float_and_has_none(self, tmp_path: Path) -> None:
        document = experiment(FLOAT, WEIGHT)
        result = run_trial(document, Recorder(tmp_path))
        assert {bits for layer in result.allocation.layers for bits in (layer.bits("weight"),)} == {None}
        data = load_data(document.data)
        model = build_model(document.model, data.input_shape, data.classes)
        assert not any(isinstance(module, Quantizer) for module in model.modules())
        model.load_state_dict(load_file(tmp_path / "weights.safetensors"))
        for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test)):
            assert measure(model, split).loss == result.metrics[f"{name}_loss"]

    def test_more_bits_make_less_of_it(self) -> None:
        powers = []
        for limit in (2, 4, 7.9):
            noise, _, _ = weight_noise("inner.bits=[2, 3, 4, 6, 8]", f"inner.budget.limit={limit}")
            powers.append(sum(float(made.square().sum()) for _ in range(20) for _, made in noise.draw()))
        assert powers[0] > 4 * powers[1] > 16 * powers[2] > 0

    def test_tied_weights_get_one(self) -> None:
        make, example = NETS["tied"]
        model, shadow = make(), SearchableModel(make(), Budget("average_bits", 3.0), example)
        stored = [id(weight) for weight, _ in WeightNoise(model, shadow).pairs]
        assert len(stored) == len(set(stored)) < len(weights_of(model))

    def test_what_stays_float_has_none(self) -> None:
        noise, model, _ = weight_noise("inner.pin.fc1=float")
        assert {id(weight) for weight, _ in noise.pairs} == {id(weights_of(model)[n].stored) for n in ("fc2", "out")}


@pytest.mark.parametrize("epoch", [1, 2, 4])
@pytest.mark.parametrize("case", [(FLOAT, DROPOUT), (FLOAT, WEIGHT), (DROPOUT,), (DROPOUT, "inner.stochastic=true")])
def test_interrupted_and_resumed_it_is_the_same(tmp_path: Path, epoch: int, case: tuple[str, ...]) -> None:
    through = left(tmp_path / "through", train(tmp_path / "through", *case))
    again = left(tmp_path / "twin", train(tmp_path / "twin", *case))
    assert again == through
    with pytest.raises(Interrupted):
        run_trial(experiment(*case), Recorder(tmp_path / "cut", die_after=[epoch]))
    assert left(tmp_path / "cut", run_trial(experiment(*case), Recorder(tmp_path / "cut"))) == through


def test_the_network_begins_as_it_would_without(tmp_path: Path) -> None:
    """The arms of a comparison start from the same weights."""
    one_step = ("inner.epochs={warmup: 1, search: 0, finetune: 0}", FLOAT)
    plain = train(tmp_path / "plain", *one_step).metrics
    assert train(tmp_path / "weight", *one_step, WEIGHT).metrics == plain
    assert train(tmp_path / "none", *one_step, "inner.noise.rate=0.9").metrics == plain


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ((WEIGHT,), "`sampler: float` and `weight` among the targets must hold, but got sampler 'perturb-and-map'"),
        ((WEIGHT, FLOAT, "inner.targets=[activation]"), r"and targets \['activation'\]"),
        ((FLOAT, "inner.noise={kind: dropout, rate: 1}"), "`rate < 1` must hold, but got 1"),
        ((FLOAT, "inner.noise.kind=drop"), "one of none, dropout, weight must be given"),
    ],
)
def test_what_is_refused(overrides: tuple[str, ...], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        experiment(*overrides)


def test_a_budget_that_cannot_be_kept_has_no_noise(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="cheapest"):
        train(tmp_path, FLOAT, WEIGHT, "inner.budget.limit=1.5")


def test_weights_made_of_others_are_refused() -> None:
    def net() -> nn.Module:
        return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 8)), nn.ReLU(), nn.Linear(8, 3))

    shadow = SearchableModel(net(), Budget("average_bits", 3.0), torch.rand(4, 6))
    with pytest.raises(ConfigurationError, match=r"needs weights that are parameters, but that of '0'"):
        WeightNoise(net(), shadow)


def test_every_kind_of_the_settings_is_registered() -> None:
    from typing import get_args

    from precsearch.experiment.inner import NoiseSettings

    assert set(get_args(NoiseSettings.model_fields["kind"].annotation)) == set(NOISES)
    with Noise().epoch(), Noise().step():
        pass
