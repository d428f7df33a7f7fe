"""Quantizing gradients: by hand after Zhou et al. 2016, eq. 12; in layers of every kind; counted by budgets."""

import copy
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import NETS, Attention, Recurrent, Residual, numbers, words
from test_any_model import convert, first
from torch import nn

import precsearch
from precsearch import Allocation, Budget, BudgetError, SearchableModel
from precsearch.conversion import quantizers_of
from precsearch.layers import weights_of
from precsearch.layers.example import call
from precsearch.quantization.gradients import GradientQuantizer, round_gradient

X = numbers(4, 3, 8, 8)
ALL = ["weight", "activation", "gradient"]
KINDS = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def steps_at(bits):
    return torch.tensor([2.0**bits - 1])


def rounded(gradient, bits, noise=0.0):
    """`round_gradient` with this noise in place of the drawn one: a number from -0.5 to 0.5."""
    drawn = torch.rand_like
    torch.rand_like = lambda like: torch.full_like(like, noise + 0.5)
    try:
        return round_gradient(gradient, steps_at(bits))
    finally:
        torch.rand_like = drawn


def gradient_at(module, x, seed=0):
    """What comes back to the inputs of `module`, given ones at its output."""
    torch.manual_seed(seed)
    x = x.clone().requires_grad_()
    module(x).sum().backward()
    return x.grad


class TestByHand:
    def test_two_bits(self):
        """Largest 3, so levels -3, -1, 1, 3; 0.3 is 0.55 of the range, 1.65 steps of 3, and rounds to 2: +1."""
        found = rounded(torch.tensor([[3.0, 0.3, -0.3, -2.2, -1.9]]), 2)
        assert torch.allclose(found, torch.tensor([[3.0, 1.0, -1.0, -3.0, -1.0]]))

    def test_noise_moves_by_up_to_half_a_level(self):
        g = torch.tensor([[3.0, 0.3]])
        assert torch.allclose(rounded(g, 2, noise=-0.2), torch.tensor([[3.0, -1.0]]))
        assert torch.allclose(rounded(g, 2, noise=0.4), torch.tensor([[3.0, 1.0]]))
        # at the ends the noise leads nowhere
        assert torch.allclose(rounded(torch.tensor([[3.0, -3.0]]), 2, noise=0.49), torch.tensor([[3.0, -3.0]]))

    def test_one_bit_is_the_sign_drawn(self):
        found = rounded(torch.tensor([[-2.0, 0.5], [0.1, 0.2]]), 1)
        assert torch.allclose(found, torch.tensor([[-2.0, 2.0], [0.2, 0.2]]))

    def test_every_sample_has_a_scale_of_its_own(self):
        g = torch.tensor([[1.0, 0.2], [1000.0, 200.0], [1e-6, 2e-7]])
        found = rounded(g, 2)
        assert torch.allclose(found / g[:, :1], torch.tensor([[1.0, 1 / 3]] * 3))
        assert torch.allclose(rounded(g.reshape(3, 1, 2, 1), 2).reshape(3, 2), found)

    def test_a_vector_is_one_sample(self):
        assert torch.allclose(rounded(torch.tensor([3.0, 0.3]), 2), torch.tensor([3.0, 1.0]))


class TestProperties:
    @given(st.integers(1, 8), st.integers(0, 1000), st.sampled_from(KINDS), st.floats(-4, 4))
    @settings(max_examples=80, deadline=None)
    def test_levels_scale_and_type(self, bits, seed, kind, size):
        torch.manual_seed(seed)
        g = (torch.randn(3, 4, 5) * 10**size).to(kind)
        found = round_gradient(g, steps_at(bits))
        assert found.dtype == kind and found.shape == g.shape
        for own, before in zip(found.double(), g.double(), strict=True):
            largest = before.abs().max()
            code = (own / largest + 1) / 2 * (2**bits - 1)  # 0 .. 2^b - 1
            slack = 1e-5 if kind in (torch.float64, torch.float32) else 2.0**-6 * 2**bits
            assert (code - code.round()).abs().max() <= slack
            assert own.abs().max() <= largest * 1.0001
            # one level's width to either side at most
            assert (own - before).abs().max() <= 2 * largest / (2**bits - 1) * 1.02 + largest * slack

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("bits", [1, 2, 4, 8, 12])
    def test_the_mean_over_the_noise_is_the_gradient(self, bits, kind):
        """Small gradients beside a large one as well: in half precision they are lost where they are shifted first."""
        torch.manual_seed(bits)
        g = torch.tensor([1.0, -0.9, 0.37, -0.11, 3e-3, -1e-3, 2e-4, 0.0]).to(kind)
        count = 40000
        found = round_gradient(g.expand(count, -1), steps_at(bits)).double()
        error = found.std(0) / count**0.5
        bias = (found.mean(0) - g.double()).abs()
        # writing a level in half precision rounds it off, by the same each time
        written = torch.finfo(kind).eps / 2 * (g.double().abs() + 2.0 ** (1 - bits)) * (kind.itemsize == 2)
        assert (bias <= 4 * error + written + 1e-7).all(), (bias / error, bias)
        assert found.std() > 0

    @pytest.mark.parametrize("kind", KINDS)
    def test_zeros_stay_zeros_and_trouble_stays_trouble(self, kind):
        g = torch.zeros(3, 4, dtype=kind)
        g[1] = 1.0
        found = round_gradient(g, steps_at(3))
        assert not found[0].any() and not found[2].any() and bool(found[1].isfinite().all())
        g[1, 0] = float("nan")
        assert round_gradient(g, steps_at(3))[1].isnan().all()  # a gradient scaler must see it
        assert not round_gradient(g, steps_at(3))[0].any()


class TestQuantizer:
    def test_the_forward_is_the_same_to_the_bit_and_the_gradient_is_not(self):
        quantizer = GradientQuantizer([2, 8])
        x = numbers(4, 9)
        assert torch.equal(quantizer(x.clone().requires_grad_()), x)
        weight = numbers(4, 9)
        back = gradient_at(lambda x: quantizer(x) * weight, x)
        assert not torch.equal(back, weight)
        assert all(len(row.unique()) <= 4 for row in back)
        torch.manual_seed(0)
        assert torch.equal(back, round_gradient(weight, steps_at(2)))

    @pytest.mark.parametrize("off", ["eval", "warm-up", "no gradients asked"])
    def test_only_while_training(self, off):
        quantizer, x = GradientQuantizer([2]), numbers(4, 9)
        if off == "eval":
            quantizer.eval()
        if off == "warm-up":
            quantizer.enabled = False
        if off == "no gradients asked":
            assert quantizer(x) is x
        else:
            assert torch.equal(gradient_at(lambda x: quantizer(x) * numbers(4, 9), x), numbers(4, 9))

    def test_the_bits_chosen_last_hold(self):
        """Also those chosen between forward and backward belong to the next forward."""
        quantizer, x, weight = GradientQuantizer([1, 8]), numbers(4, 9).requires_grad_(), numbers(4, 9)
        quantizer.choose(1)
        out = quantizer(x) * weight
        quantizer.choose(0)
        out.sum().backward()
        assert max(len(row.unique()) for row in x.grad) > 2
        assert max(len(row.unique()) for row in gradient_at(lambda x: quantizer(x) * weight, x.detach())) == 2


def seen(model, layer):
    """Hook that keeps the gradients coming back to the outputs of a layer's module, after quantization."""
    kept = []
    module = weights_of(model)[layer].module
    quantizer = quantizers_of(weights_of(model)[layer])["gradient"][0]
    quantizer.register_full_backward_hook(lambda module, given, arrived: kept.append((given[0], arrived[0])))
    assert module is not None
    return kept


class TestInNetworks:
    @pytest.mark.parametrize(
        "name", ["lstm", "packed lstm", "gru cell", "lstm cell", "attention", "transformer", "u-net"]
    )
    def test_forward_unchanged_and_gradients_on_levels(self, name):
        make, example = NETS[name]
        torch.manual_seed(0)
        model = make()
        plain = copy.deepcopy(model)
        searchable = convert(model, example, targets=["gradient"], bits=[2], limit=2.0).train()
        layers = [layer.name for layer in searchable.allocation().layers if layer.bits("gradient")]
        assert layers and all(layer.bits("weight") is None for layer in searchable.allocation().layers)
        kept = {layer: seen(searchable.model, layer) for layer in layers}
        out = first(call(searchable, example))
        assert torch.equal(out, first(call(plain, example)))
        out.square().mean().backward()
        reached = {layer: pairs for layer, pairs in kept.items() if pairs}
        assert reached
        for pairs in reached.values():
            for after, before in pairs:
                torch.testing.assert_close(
                    after.flatten(1).abs().amax(1), before.flatten(1).abs().amax(1), rtol=1e-5, atol=0
                )
                for row, was in zip(after.flatten(1), before.flatten(1), strict=True):
                    code = (row / was.abs().max() + 1) * 1.5
                    assert (row == was).all() if not was.any() else torch.allclose(code, code.round(), atol=1e-4)
        weights = [(p, q) for p, q in zip(searchable.model.parameters(), plain.parameters(), strict=True)]
        first(call(plain, example)).square().mean().backward()
        assert any(p.grad is not None and not torch.equal(p.grad, q.grad) for p, q in weights)

    @pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
    @pytest.mark.parametrize("wrap", [tuple, list, dict])
    def test_whatever_of_the_outputs_is_used(self, kind, wrap):
        """Here the last state alone, and through outputs of every form."""

        class Last(nn.Module):
            def __init__(self):
                super().__init__()
                self.net, self.mix = kind(6, 8, batch_first=True), nn.Parameter(torch.randn(6, 6) / 3)

            def forward(self, x):
                state = self.net(x @ self.mix)[1]
                last = (state[0] if kind is nn.LSTM else state)[0]
                return {"last": last} if wrap is dict else wrap([last, None])

        torch.manual_seed(0)
        net, x, target = Last(), numbers(4, 5, 6), numbers(4, 8)
        searchable = convert(net, x, targets=["gradient"], bits=[1], limit=1.0)
        kept = {layer: seen(net, layer) for layer in ("mix", "net.weight_ih_l0")}
        out = searchable(x)
        (out["last"] if wrap is dict else out[0]).mul(target).sum().backward()
        for pairs in kept.values():
            ((after, before),) = pairs
            assert all(len(sample.unique()) == 2 for sample in after) and not torch.equal(after, before)

    @pytest.mark.parametrize("compiled", [False, True])
    @pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")  # the compiler's
    def test_what_follows_may_change_the_output_in_place(self, compiled):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(inplace=True), nn.Linear(8, 3))
        plain, x = copy.deepcopy(net), numbers(4, 6)
        searchable = convert(net, x, targets=["gradient"], bits=[16], limit=16.0)
        torch._dynamo.reset()
        (torch.compile(searchable, backend="aot_eager") if compiled else searchable)(x).square().sum().backward()
        plain(x).square().sum().backward()
        for found, expected in zip(net.parameters(), plain.parameters(), strict=True):
            assert torch.allclose(found.grad, expected.grad, rtol=1e-2, atol=2e-3)

    def test_the_expected_gradient_of_the_weights_is_the_plain_one(self):
        """Unbiased rounding at the last layer leaves the mean gradient of its weight as it was."""
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(6, 4))
        x, target = numbers(8, 6), numbers(8, 4)
        (net(x) * target).sum().backward()
        expected = net[0].weight.grad.clone()
        searchable = convert(net, x, targets=["gradient"], bits=[3])
        drawn = []
        for _ in range(600):
            net.zero_grad()
            (searchable(x) * target).sum().backward()
            drawn.append(net[0].weight.grad.clone())
        drawn = torch.stack(drawn)
        assert ((drawn.mean(0) - expected).abs() <= 4 * drawn.std(0) / len(drawn) ** 0.5).all()
        assert (drawn.std(0) > 0).all()

    @pytest.mark.parametrize("net", [lambda: Recurrent(nn.LSTM), Attention, Residual])
    def test_survives_copies_state_freezing_and_an_allocation(self, net):
        example = {Recurrent: words(), Residual: X}.get(
            type(net()), (numbers(4, 3, 8), numbers(4, 5, 6), numbers(4, 5, 4))
        )
        torch.manual_seed(0)
        model = net()
        plain = copy.deepcopy(model)
        searchable = convert(model, example, targets=ALL, bits=[2, 4, 8])
        first(call(searchable, example)).sum().backward()
        twin, other = copy.deepcopy(searchable), convert(copy.deepcopy(plain), example, targets=ALL, bits=[2, 4, 8])
        other.load_state_dict(searchable.state_dict())
        found = []
        for each in (searchable, twin, other):
            each.zero_grad()
            torch.manual_seed(5)
            first(call(each, example)).square().mean().backward()
            found.append([p.grad for p in each.model.parameters()])
        for grads in found[1:]:
            assert all((a is None and b is None) or torch.equal(a, b) for a, b in zip(grads, found[0], strict=True))
        allocation = Allocation.from_json(searchable.allocation().to_json())
        frozen = searchable.freeze()
        applied = precsearch.apply_allocation(plain, allocation)
        applied.load_state_dict(frozen.state_dict())
        for layer in allocation.layers:
            for each in (frozen, applied):
                own = quantizers_of(weights_of(each)[layer.name]).get("gradient", [])
                if layer.bits("gradient") is not None:  # else it is that of another layer of the module, or of none
                    assert [quantizer.chosen_bits for quantizer in own] == [layer.bits("gradient")]
        grads = []
        for each in (frozen.train(), applied.train()):
            each.zero_grad()
            torch.manual_seed(5)
            first(call(each, example)).square().mean().backward()
            grads.append([p.grad for p in each.parameters()])
        assert all((a is None and b is None) or torch.equal(a, b) for a, b in zip(*grads, strict=True))


class TestBudgets:
    OUT: ClassVar = {"stem": 512, "a1": 512, "a2": 512, "b1": 384, "b2": 384, "short": 384, "out": 3}

    @pytest.mark.parametrize("kind", ["average_bits", "layer_bits"])
    def test_a_limit_of_the_gradients_holds_on_every_draw(self, kind):
        limit = {"weight": 6.0, "gradient": 3.0}
        searchable = SearchableModel(Residual(), Budget(kind, limit), X, targets=["weight", "gradient"], bits=[2, 4, 8])
        spent = set()
        for _ in range(30):
            searchable.draw()
            bits = {
                layer: quantizers_of(weight)["gradient"][0].chosen_bits
                for layer, weight in weights_of(searchable.model).items()
            }
            share = self.OUT if kind == "average_bits" else dict.fromkeys(self.OUT, 1)
            mean = sum(bits[layer] * share[layer] for layer in share) / sum(share.values())
            spent.add(tuple(bits.values()))
            assert mean <= 3.0
        assert len(spent) > 5
        allocation = searchable.allocation()
        assert allocation.budget.achieved["gradient"] <= 3.0 < allocation.budget.achieved["weight"] <= 6.0
        assert allocation.cost.average_bits["gradient"] == pytest.approx(
            sum(allocation.bits("gradient")[layer] * n for layer, n in self.OUT.items()) / sum(self.OUT.values())
        )

    @pytest.mark.parametrize(
        ("budget", "targets", "told"),
        [
            (Budget("bitops", 1e9), ALL, "does not count the bits of the gradients; .*average_bits or layer_bits"),
            (Budget("model_size", 1e6), ["weight", "gradient"], "model_size does not count the bits of the gradients"),
            (Budget("activation_memory", 1e6), ["activation", "gradient"], "does not count the bits of the gradients"),
            (Budget("average_bits", {"weight": 3.0}), ["weight", "gradient"], "has no 'gradient'; add it, or take"),
            (Budget("bitops", {"gradient": 3.0}), ALL, "bitops binds weights and activations together; give one limit"),
            (Budget("average_bits", {"weight": 4.0, "gradient": 1.0}), ["weight", "gradient"],
             r"average_bits of the gradients cannot be kept at 1 bits: .* costs 2"),
        ],
    )  # fmt: skip
    def test_a_kind_that_does_not_bind_them_is_refused(self, budget, targets, told):
        with pytest.raises(BudgetError, match=told):
            SearchableModel(Residual(), budget, X, targets=targets)

    def test_beside_a_kind_that_does_not_they_have_one_of_their_own(self):
        budgets = [Budget("bitops", 2e6), Budget("layer_bits", {"gradient": 4.0})]
        searchable = SearchableModel(Residual(), budgets, X, targets=ALL)
        allocation = searchable.allocation()
        assert allocation.cost.bitops <= 2e6
        assert np.mean(list(allocation.bits("gradient").values())) <= 4.0
        assert allocation.budgets[1].by_target.keys() == {"gradient"}
