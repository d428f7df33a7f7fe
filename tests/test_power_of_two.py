"""The scale rule `power-of-two`: every step is one, the better of two, through training, checkpoints and answers."""

import copy
import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_scales import CASES, GRIDS, SAMPLES, distortion, reach_of, sample
from torch import nn

from precsearch import Allocation, Budget, SearchableModel, apply_allocation, calibrate
from precsearch.evaluation.bit_flips import flipped
from precsearch.evaluation.randomness import stream
from precsearch.evaluation.sensitivity import sensitivity_allocation, sensitivity_scores
from precsearch.quantization.base import REFRESH_EVERY
from precsearch.quantization.gradients import GradientQuantizer
from precsearch.quantization.quantizers import ActivationQuantizer, WeightQuantizer
from precsearch.quantization.scales import power_of_two_reach
from precsearch.quantization.whole_model import quantizers_in

# what a limit that nothing reaches is told is tested in test_diagnosis.py
pytestmark = pytest.mark.filterwarnings("ignore:the budget .* binds nowhere", "ignore:the logits did not move")

quick = settings(max_examples=40, deadline=None)
FINE = [(name, bits) for name in GRIDS for bits in range(9, 17)]
X = torch.randn(16, 3, 6, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(16) % 4


def rounded(x, grid, bits, reach):
    return power_of_two_reach([x], [grid], [grid.levels(bits)], reach[None])[0]


def is_power_of_two(number):
    mantissa, _ = np.frexp(np.asarray(number, dtype=np.float64))
    return bool((mantissa == 0.5).all())


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 4))


def searchable(limit=4.0, bits=(2, 3, 4, 6), **options):
    budget = limit if isinstance(limit, Budget) else Budget("average_bits", limit)
    return SearchableModel(network(), budget, X[:2], bits=bits, scale="power-of-two", **options)


def steps_of(model):
    """Steps of every candidate of every range that the scale rule sets, and the largest codes they were made with."""
    own = [each for each in quantizers_in(model) if not isinstance(each, GradientQuantizer)]
    assert own and all(each.known for each in own)
    return [each.reach.double() / torch.tensor([each.levels(b) for b in each.bits]).double()[:, None] for each in own]


def train(model, optimizer, steps):
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(X), Y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


class TestTheChoice:
    @pytest.mark.parametrize(("name", "bits"), CASES + FINE)
    @pytest.mark.parametrize("data", SAMPLES)
    def test_is_the_best_power_of_two(self, data, name, bits):
        """Of the two neighbours to the bit; and no other power of two is better, for an octave of scales."""
        grid = GRIDS[name]
        for part in range(6):
            x = sample(data, part) * 2.0 ** (part / 6)
            x = x.abs() if name == "unsigned" else x
            measured = reach_of("l2", x, grid, bits)
            found = rounded(x, grid, bits, measured)
            step = found.item() / grid.levels(bits)
            assert is_power_of_two(step) and step / 2 <= measured.item() / grid.levels(bits) * 1.000001 < 2 * step
            powers = step * 2.0 ** torch.arange(-4.0, 5.0)
            errors = torch.stack([distortion(x, power[None] * grid.levels(bits), grid, bits) for power in powers])
            assert distortion(x, found, grid, bits) <= errors.min() * (1 + 1e-4)

    @quick
    @given(st.integers(0, 2**20), st.floats(1e-6, 1e6), st.integers(1, 5), st.sampled_from(CASES + FINE))
    def test_of_the_two_neighbours_the_better_one(self, seed, size, rows, case):
        name, bits = case
        grid, rng = GRIDS[name], np.random.default_rng(seed)
        x = torch.from_numpy(rng.standard_t(4, size=(rows, 200)) * size * np.exp(rng.normal(size=(rows, 1)))).float()
        x = x.abs() if name == "unsigned" else x
        measured = reach_of("l2", x, grid, bits)
        found = rounded(x, grid, bits, measured)
        assert is_power_of_two(found.double() / grid.levels(bits))
        below = 2.0 ** torch.floor(torch.log2(measured.double() / grid.levels(bits)))
        choices = [(below * factor * grid.levels(bits)).float() for factor in (1, 2)]
        assert bool(((found == choices[0]) | (found == choices[1])).all())
        best = torch.stack([distortion(x.double(), each.double(), grid, bits) for each in choices]).min(0).values
        assert bool((distortion(x.double(), found.double(), grid, bits) <= best * (1 + 1e-4)).all())

    def test_the_nearest_in_logarithm_would_clip(self):
        """Why the errors are compared: at 8 bits it often lies below the largest values, and errs much more."""
        worst = 0.0
        for part in range(12):
            x, grid = sample("uniform") * 2.0 ** (part / 12), GRIDS["symmetric"]
            measured = reach_of("l2", x, grid, 8)
            nearest = 127 * 2.0 ** torch.round(torch.log2(measured / 127))
            errors = [distortion(x, reach, grid, 8).item() for reach in (nearest, rounded(x, grid, 8, measured))]
            worst = max(worst, errors[0] / errors[1])
        assert worst > 100

    @pytest.mark.parametrize("bits", [12, 16])
    def test_a_rare_large_value_counts_at_many_bits(self, bits):
        """A sample of a million values hardly holds the one that would be clipped."""
        x, grid = torch.rand(1, 10**6, generator=torch.Generator().manual_seed(0)), GRIDS["symmetric"]
        x[0, 123_457] = 1.5
        assert rounded(x, grid, bits, reach_of("l2", x, grid, bits)) >= 1.5

    def test_zeros_and_one_value(self):
        for grid, bits in ((GRIDS[name], bits) for name, bits in CASES):
            for value in (0.0, 1e-30, 0.37):
                x = torch.full((2, 30), value)
                found = rounded(x, grid, bits, reach_of("l2", x, grid, bits))
                assert is_power_of_two(found.double() / grid.levels(bits)) and bool((found > 0).all())


class TestTraining:
    @settings(max_examples=15, deadline=None)
    @given(
        st.sets(st.integers(1, 16), min_size=1, max_size=5).map(sorted),
        st.sampled_from(["dorefa", "symmetric"]),
        st.sampled_from(["tensor", "channel"]),
        st.sampled_from(["perturb-and-map", "multinomial", "gumbel-softmax", "random"]),
        st.floats(1e-3, 1.0),
        st.integers(0, 99),
    )
    def test_every_step_is_a_power_of_two_throughout(self, bits, quantizer, granularity, sampler, lr, seed):
        targets = ["weight", "activation", "gradient"]
        model = searchable(
            max(bits), bits, quantizer=quantizer, granularity=granularity, sampler=sampler, targets=targets, seed=seed
        )
        optimizer = torch.optim.SGD(model.parameter_groups(lr=lr))
        for on in (False, *[True] * 5):
            model.quantize(on)
            train(model, optimizer, 3)
            assert all(is_power_of_two(step) for step in steps_of(model))
            drawn = [each.ranges().step for each in quantizers_in(model) if not isinstance(each, GradientQuantizer)]
            assert all(is_power_of_two(step.detach()) for step in drawn)
        frozen = model.eval().freeze().train()
        train(frozen, torch.optim.SGD(frozen.parameters(), lr=lr), REFRESH_EVERY + 1)
        assert all(is_power_of_two(step) for step in steps_of(frozen))
        for module in (frozen[0], frozen[3]):
            (own,) = module.parametrizations.weight
            codes = module.weight.detach().double() / own.ranges().step.detach().double().reshape(
                -1, *[1] * (module.weight.dim() - 1)
            )
            assert torch.equal(codes * 2, (codes * 2).round())  # whole, or halves

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
    def test_in_other_dtypes(self, dtype):
        model = searchable(4.0, [1, 4, 8]).to(dtype)
        train_in = X.to(dtype)
        for _ in range(10):
            nn.functional.cross_entropy(model(train_in), Y).backward()
        assert all(is_power_of_two(each.ranges().step.detach().float()) for each in quantizers_in(model))

    @pytest.mark.parametrize("factor", [16.0, 1 / 16, 1.3])
    def test_ranges_do_not_get_stuck(self, factor):
        """What is rounded is a range that moves as that of `l2` does, to the bit: 0.3 of the way at each look."""
        quantizer = ActivationQuantizer([2, 4, 8], "power-of-two", signed=True, layer="fc")
        smooth = ActivationQuantizer([2, 4, 8], "l2", signed=True, layer="fc")
        for k in range(150):
            for each in (quantizer, smooth):
                each.refresh(X * (1.0 if k == 0 else factor))
            assert torch.equal(quantizer.measured, smooth.reach)
        fresh = ActivationQuantizer([2, 4, 8], "power-of-two", signed=True, layer="fc")
        fresh.refresh(X * factor)
        assert torch.equal(quantizer.reach, fresh.reach)

    def test_a_weight_that_grows_slowly(self):
        quantizer = WeightQuantizer([2, 4, 8], "power-of-two", "channel", 4, "symmetric")
        weight = X[:4, 0]
        for k in range(80):
            quantizer.refresh(weight * 1.03**k)
        fresh = WeightQuantizer([2, 4, 8], "power-of-two", "channel", 4, "symmetric")
        fresh.refresh(weight * 1.03**79)
        assert float((quantizer.reach / fresh.reach).log2().abs().max()) <= 1
        assert float((quantizer.reach == fresh.reach).double().mean()) > 0.8

    def test_one_bad_batch_is_forgotten(self):
        quantizer = ActivationQuantizer([4, 8], "power-of-two", signed=True, layer="fc")
        quantizer.refresh(X)
        before = copy.deepcopy(quantizer.state_dict())
        for bad in (float("nan"), float("inf")):
            quantizer.refresh(X * bad)
            assert all(torch.equal(value, before[key]) for key, value in quantizer.state_dict().items())

    def test_negatives_that_appear_later(self):
        quantizer = ActivationQuantizer([2, 4], "power-of-two", signed=False, layer="fc")
        quantizer.refresh(X.abs())
        quantizer.refresh(X)
        fresh = ActivationQuantizer([2, 4], "power-of-two", signed=True, layer="fc")
        fresh.refresh(X)
        assert quantizer.precision().signed and torch.equal(quantizer.reach, fresh.reach)

    def test_buffers_stay_the_very_tensors(self):
        """DistributedDataParallel keeps the tensors alike that it found when it was made."""
        model = searchable()
        model(X)
        before = {name: (id(each), each.data_ptr()) for name, each in model.named_buffers()}
        train(model, torch.optim.SGD(model.parameter_groups(lr=0.1)), 2 * REFRESH_EVERY)
        assert {name: (id(each), each.data_ptr()) for name, each in model.named_buffers()} == before


class TestGradient:
    @pytest.mark.parametrize("granularity", ["tensor", "channel"])
    @pytest.mark.parametrize("one_by_one", [False, True])
    def test_reaches_the_sample_through_the_rounded_ranges(self, granularity, one_by_one):
        """d step = step/2 d log E[step^2] and d reach = sum of p reach, with steps that are powers of two."""
        model = searchable(granularity=granularity)
        for _ in range(3):
            model(X)
        drawn, draw = [], model.sampler.draw
        model.sampler.draw = lambda temperature: drawn.append(draw(temperature)) or drawn[-1]
        model.draw()
        relaxed = drawn[-1].relaxed_SK
        if one_by_one:  # as in a forward that looks
            model.dials.set(drawn[-1].candidates, relaxed, looks=True)
        for s, (quantizer,) in enumerate(model.dials.quantizers):
            step, reach, _ = quantizer.ranges()
            power_KR = (quantizer.reach / quantizer.levels_K[:, None]).square()
            of_step, of_reach = (
                torch.autograd.grad(each.sum(), relaxed, retain_graph=True)[0][s] for each in (step, reach)
            )
            expected = (step / 2 / (relaxed[s][:, None] * power_KR).sum(0) * power_KR).sum(1)
            torch.testing.assert_close(of_step, expected.detach())
            torch.testing.assert_close(of_reach, quantizer.reach.sum(1))
            assert is_power_of_two(step.detach()) and is_power_of_two(power_KR.sqrt())

    def test_loss_falls_and_logits_learn(self):
        model = searchable(limit=3.0)
        before = model.sampler.logits.detach().clone()
        losses = train(model, torch.optim.Adam(model.parameter_groups(lr=1e-2)), 80)
        assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
        assert float((model.sampler.logits.detach() - before).abs().amax(1).min()) > 0.1


class TestAnswers:
    def test_a_resumed_search_continues_as_if_nothing_had_happened(self):
        one = searchable()
        optimizer = torch.optim.SGD(one.parameter_groups(lr=0.1))
        train(one, optimizer, REFRESH_EVERY - 1)
        file = io.BytesIO()
        torch.save({"model": one.state_dict(), "optimizer": optimizer.state_dict()}, file)
        file.seek(0)
        state = torch.load(file, weights_only=True)
        other = searchable(seed=5)
        continued = torch.optim.SGD(other.parameter_groups(lr=0.1))
        other.load_state_dict(state["model"])
        continued.load_state_dict(state["optimizer"])
        assert train(other, continued, 12) == train(one, optimizer, 12)
        assert all(torch.equal(a, b) for a, b in zip(steps_of(one), steps_of(other), strict=True))

    def test_state_of_other_rules_is_as_it_was(self):
        for scale, keys in (("l2", {"reach", "age"}), ("power-of-two", {"reach", "age", "measured"})):
            assert WeightQuantizer([2], scale, "tensor", 3, "dorefa").state_dict().keys() == keys

    @pytest.mark.parametrize("granularity", ["tensor", "channel"])
    def test_an_allocation_says_it_and_is_applied(self, granularity):
        model = searchable(granularity=granularity, quantizer="symmetric")
        train(model, torch.optim.SGD(model.parameter_groups(lr=0.1)), 10)
        allocation = Allocation.from_json(model.allocation().to_json())
        assert {each.scale for layer in allocation.layers for each in layer.targets.values()} == {"power-of-two"}
        frozen = model.eval().freeze()
        applied = apply_allocation(network(), allocation)
        applied.load_state_dict(frozen.state_dict())
        assert torch.equal(applied.eval()(X), frozen(X))
        fresh = apply_allocation(network(), allocation)
        calibrate(fresh, X)
        assert all(is_power_of_two(step) for step in steps_of(fresh))

    def test_any_budget(self):
        model = searchable(Budget("average_bits", range=(2.5, 5.0)), bits=[2, 3, 4, 5, 6])
        train(model, torch.optim.SGD(model.parameter_groups(lr=0.1)), 12)
        spent = [model.allocation(limit).budgets[0].achieved for limit in (2.5, 3.5, 5.0)]
        assert spent == sorted(spent) and all(is_power_of_two(step) for step in steps_of(model))

    @pytest.mark.parametrize("kind", ["gradient", "hessian"])
    def test_sensitivity(self, kind):
        model = searchable(3.0, targets=["weight"])
        calibrate(model, X)
        assert np.isfinite(sensitivity_scores(model, [(X, Y)], kind)).all()
        assert sensitivity_allocation(model, [(X, Y)], kind).budgets[0].achieved <= 3.0

    @pytest.mark.parametrize("quantizer", ["dorefa", "symmetric"])
    def test_bit_flips(self, quantizer):
        model = searchable(quantizer=quantizer, granularity="channel")
        calibrate(model, X)
        frozen = model.eval().freeze()
        with torch.no_grad():
            before = frozen(X)
            with flipped(frozen, 0.0, stream("none")):
                assert torch.equal(frozen(X), before)
            with flipped(frozen, 0.5, stream("half")):
                codes = frozen[3].weight.double() / frozen[3].parametrizations.weight[0].ranges().step.double()[:, None]
                assert torch.equal(codes * 2, (codes * 2).round()) and not torch.equal(frozen(X), before)
            assert torch.equal(frozen(X), before)
