"""The searchable model from the user's chair: draw, evaluate, freeze, export, resume."""

import copy
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import precsearch
from precsearch import Allocation, AllocationError, Budget, BudgetError, ConfigurationError, SearchableModel
from precsearch.precision.samplers import SAMPLERS
from precsearch.quantization.scales import SCALE_RULES

# what a limit that nothing reaches is told is tested in test_diagnosis.py
pytestmark = pytest.mark.filterwarnings("ignore:the budget .* binds nowhere", "ignore:each of the draws 9 to 24")

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(32, 6, generator=GENERATOR)
Y = torch.randint(0, 3, (32,), generator=GENERATOR)
STORED = Path(__file__).parent / "data" / "allocation_v1.json"


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))


def searchable(sampler="perturb-and-map", model=None, limit=3.5, **options):
    if sampler == "fixed":
        options.setdefault("allocation", [4, 3])
    return SearchableModel(model or network(), Budget("layer_bits", limit), X, sampler=sampler, **options)


def train(model, optimizer, steps):
    torch.manual_seed(1)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(X), Y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def sgd(model, lr=0.1):
    return torch.optim.SGD(model.parameter_groups(lr=lr, logits_lr=1.0), momentum=0.9)


class TestTheLoop:
    @pytest.mark.parametrize("sampler", SAMPLERS)
    @pytest.mark.parametrize("quantizer", ["dorefa", "symmetric"])
    def test_three_lines_search(self, sampler, quantizer):
        model = searchable(sampler, quantizer=quantizer)
        before = [parameter.clone() for parameter in model.sampler.parameters()]
        losses = train(model, sgd(model), 60)
        assert sum(losses[-5:]) < 0.6 * sum(losses[:5])
        assert all(not torch.equal(a, b) for a, b in zip(before, model.sampler.parameters(), strict=True))
        allocation = model.allocation()
        assert allocation.budget.achieved <= allocation.budget.limit
        assert [layer.name for layer in allocation.layers] == ["0", "4"]
        assert all(layer.bits(target) in (2, 3, 4, 6, 8) for layer in allocation.layers for target in layer.targets)

    @pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop])
    def test_any_optimizer_takes_the_groups(self, optimizer):
        model = searchable()
        train(model, optimizer(model.parameter_groups(lr=0.01, weight_decay=1e-4)), 3)
        groups = model.parameter_groups(lr=0.01)
        grouped = [id(parameter) for group in groups for parameter in group["params"]]
        assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())

    def test_warm_up_is_the_float_network(self):
        plain = network().train()
        model = searchable(model=network())
        model.quantize(False)
        torch.manual_seed(5)
        expected = plain(X)
        torch.manual_seed(5)
        assert torch.equal(model(X), expected)
        model.quantize(True)
        torch.manual_seed(5)
        assert not torch.equal(model(X), expected)

    @pytest.mark.parametrize("temperature", [0, -1.0, float("nan")])
    def test_the_temperature_is_positive(self, temperature):
        model = searchable()
        model.temperature = temperature
        with pytest.raises(ConfigurationError, match="temperature must be positive"):
            model(X)


class TestEvaluation:
    def test_uses_the_allocation_and_nothing_random(self):
        model = searchable()
        train(model, sgd(model), 5)
        state = model.generator.get_state()
        model.eval()
        first = model(X)
        assert torch.equal(model(X), first)
        assert torch.equal(model.generator.get_state(), state)
        bits = model.allocation().bits("weight")
        assert [quantizer.chosen_bits for quantizer in model.quantizers[:2]] == list(bits.values())

    @pytest.mark.parametrize("how", ["fused", "foreach", "data"])
    def test_sees_every_step_of_the_logits(self, how):
        """Fused optimizers and `.data` change logits without telling their version counters."""
        model = searchable(targets=["weight"], bits=[2, 5], limit=3.5).eval()
        assert model.allocation().bits() in ({"0": 5, "4": 2}, {"0": 2, "4": 5})
        logits = model.sampler.logits
        for wanted in (0, 1, 0):
            goal = torch.zeros(2, 2)
            goal[wanted, 1] = goal[1 - wanted, 0] = 5.0
            if how == "data":
                logits.data.copy_(goal)
            else:
                logits.grad = logits.detach() - goal
                torch.optim.SGD([logits], lr=1.0, **{how: True}).step()
            model(X)
            assert [q.chosen_bits for q in model.quantizers] == [5 - 3 * wanted, 2 + 3 * wanted]

    @pytest.mark.parametrize("quantizer", ["dorefa", "symmetric"])
    @pytest.mark.parametrize("granularity", ["tensor", "channel"])
    @pytest.mark.parametrize("scale", SCALE_RULES)
    @pytest.mark.parametrize("sampler", ["perturb-and-map", "fixed"])
    def test_equals_the_frozen_and_the_applied_model(self, sampler, scale, granularity, quantizer):
        options = {"scale": scale, "granularity": granularity, "quantizer": quantizer}
        model = searchable(sampler, **options)
        train(model, sgd(model), 12)
        expected = model.eval()(X)
        allocation = model.allocation()
        frozen = model.freeze().eval()
        assert torch.equal(frozen(X), expected)
        applied = precsearch.apply_allocation(network(), Allocation.from_json(allocation.to_json()))
        applied.load_state_dict(frozen.state_dict())
        assert torch.equal(applied.eval()(X), expected)
        fixed = searchable("fixed", allocation=allocation, **options)
        assert fixed.allocation().bits("activation") == allocation.bits("activation")

    @pytest.mark.parametrize("quantizer", ["symmetric", "dorefa"])
    def test_sixteen_bits_are_the_float_model(self, quantizer):
        plain = network().eval()
        if quantizer == "dorefa":  # tanh(w) is w where w is small; BatchNorm takes the scale out again
            with torch.no_grad():
                for index in (0, 4):
                    plain[index].weight.mul_(0.02)
        model = searchable("fixed", copy.deepcopy(plain), 16, allocation=[16, 16], quantizer=quantizer, scale="max")
        for module in model.modules():
            module.train(not isinstance(module, nn.BatchNorm1d | nn.Dropout))
        model(X)  # sets the ranges
        torch.testing.assert_close(model.eval()(X), plain(X), rtol=1e-3, atol=1e-3 * plain(X).std().item())


class TestState:
    @pytest.mark.parametrize("sampler", SAMPLERS)
    def test_a_resumed_search_continues_as_if_nothing_had_happened(self, sampler, tmp_path):
        one = searchable(sampler)
        optimizer = sgd(one)
        train(one, optimizer, 7)
        torch.save({"model": one.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "state.pt")
        expected = train(one, optimizer, 9)
        two = searchable(sampler, seed=77)
        again = sgd(two)
        saved = torch.load(tmp_path / "state.pt", weights_only=True)
        two.load_state_dict(saved["model"])
        again.load_state_dict(saved["optimizer"])
        assert train(two, again, 9) == expected
        assert two.allocation() == one.allocation()
        assert torch.equal(two.eval()(X), one.eval()(X))

    def test_a_copy_in_the_middle_of_a_step(self):
        model = searchable()
        model(X).sum().backward()
        twin = copy.deepcopy(model)
        assert twin.generator is twin.sampler.generator is not model.generator
        optimizers = [sgd(each) for each in (model, twin)]
        losses = [train(each, optimizer, 5) for each, optimizer in zip((model, twin), optimizers, strict=True)]
        assert losses[0] == losses[1]

    def test_seeds(self):
        draws = {seed: [searchable(seed=seed).sampler.draw(1.0).candidates.tolist()] for seed in range(4)}
        assert len({str(draw) for draw in draws.values()}) > 1
        assert searchable(seed=2).sampler.draw(1.0).candidates.tolist() == draws[2][0]


class TestAllocations:
    def test_a_stored_file_of_format_1_still_loads(self):
        allocation = Allocation.from_json(STORED)
        assert allocation.bits("weight") == {"0": 4, "4": 3}
        assert allocation.budget.limit == 3.5
        assert allocation.to_json() == STORED.read_text()
        model = precsearch.apply_allocation(network(), allocation)
        assert model(X).shape == (32, 3)
        assert searchable("fixed", allocation=allocation).allocation().bits() == allocation.bits()

    @given(st.data())
    @settings(max_examples=60, deadline=None)
    def test_round_trip(self, data):
        stored = Allocation.from_json(STORED)
        names = data.draw(st.lists(st.text(min_size=1), min_size=2, max_size=2, unique=True))
        layers = [
            layer.model_copy(
                update={
                    "name": name,
                    "numel": data.draw(st.integers(1, 2**60)),
                    "targets": {
                        target: precision.model_copy(
                            update={
                                "bits": data.draw(st.none() | st.integers(1, 16)),
                                "signed": data.draw(st.booleans()),
                            }
                        )
                        for target, precision in layer.targets.items()
                    },
                }
            )
            for layer, name in zip(stored.layers, names, strict=True)
        ]
        finite = st.floats(allow_nan=False, allow_infinity=False)
        allocation = stored.model_copy(update={"layers": tuple(layers)}).with_context(
            data.draw(st.dictionaries(st.text(), finite)), data.draw(st.dictionaries(st.text(), finite | st.text()))
        )
        assert Allocation.from_json(allocation.to_json()) == allocation

    def test_of_another_model(self):
        with pytest.raises(AllocationError, match="another model"):
            precsearch.apply_allocation(nn.Sequential(nn.Linear(6, 3)), Allocation.from_json(STORED))
        other = nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.ReLU(), nn.ReLU(), nn.Linear(7, 3))
        with pytest.raises(AllocationError, match="fingerprint"):
            precsearch.apply_allocation(other, Allocation.from_json(STORED))

    @pytest.mark.parametrize(("key", "value"), [("scale", "lsq"), ("quantizer", "pact")])
    def test_of_a_kind_unknown_here(self, key, value):
        text = (
            Allocation.from_json(STORED)
            .to_json()
            .replace(f'"{key}": "{ {"scale": "l2", "quantizer": "dorefa"}[key] }"', f'"{key}": "{value}"')
        )
        with pytest.raises(AllocationError, match=f"{key} must be one of .* has '{value}' for '0'"):
            precsearch.apply_allocation(network(), Allocation.from_json(text))

    @pytest.mark.parametrize(
        ("options", "error", "told"),
        [
            ({"allocation": [4]}, AllocationError, r"each of the 2 layers must be given \(0, 4\), but got 1"),
            ({"allocation": [4, 8]}, BudgetError, "cannot be kept|must keep the budget"),
            ({"sampler": "uniform", "allocation": [4, 3]}, ConfigurationError, "goes with the `fixed` sampler"),
        ],
    )
    def test_fixed_bits_that_do_not_fit(self, options, error, told):
        with pytest.raises(error, match=told):
            searchable(**{"sampler": "fixed", **options})
