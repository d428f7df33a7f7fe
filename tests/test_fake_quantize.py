"""The one-branch quantizer: its grid, its gradients, and DoReFa's own equations as the oracle."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import precsearch
from precsearch.quantization.fake_quantize import fake_quantize
from precsearch.quantization.grids import EVEN, SYMMETRIC, UNSIGNED, activation_grid, weight_grid
from precsearch.quantization.quantizers import ActivationQuantizer, WeightQuantizer
from precsearch.quantization.scales import l2_reach
from precsearch.quantization.squash import squash

GRIDS = {"symmetric": SYMMETRIC, "even": EVEN, "unsigned": UNSIGNED}
quick = settings(max_examples=60, deadline=None)

named_grids = st.sampled_from(sorted(GRIDS))
seeds = st.integers(0, 2**20)
sizes = st.floats(0.01, 100)


def bits_of(name):
    return range(2 if name == "symmetric" else 1, 9)


def quantized(x, reach, grid, bits, **options):
    reach = torch.as_tensor(reach, dtype=x.dtype).reshape(-1)
    return fake_quantize(x, reach / grid.levels(bits), reach, grid, **options)


def values(seed, count=400, size=1.0, dtype=torch.float32):
    return torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=dtype) * size


@st.composite
def cases(draw):
    name = draw(named_grids)
    return GRIDS[name], draw(st.sampled_from(bits_of(name))), draw(sizes), draw(seeds)


class TestGrid:
    @pytest.mark.parametrize("bits", range(1, 9))
    @pytest.mark.parametrize("name", GRIDS)
    def test_levels(self, name, bits):
        if bits not in bits_of(name):
            return
        found = quantized(torch.linspace(-2, 2, 20001), 1.0, GRIDS[name], bits).unique()
        count = {"symmetric": 2**bits - 1, "even": 2**bits, "unsigned": 2**bits}[name]
        lowest = 0.0 if name == "unsigned" else -1.0
        torch.testing.assert_close(found, torch.linspace(lowest, 1, count), rtol=1e-6, atol=1e-6)
        assert bool((found == 0).any()) == (name != "even")

    def test_sung_names_the_levels(self):
        assert quantized(torch.linspace(-2, 2, 999), 1.0, SYMMETRIC, 2).unique().tolist() == [-1, 0, 1]
        assert len(quantized(torch.linspace(-2, 2, 999), 1.0, SYMMETRIC, 3).unique()) == 7

    def test_which_grid(self):
        assert [weight_grid(q, 1) for q in ("dorefa", "symmetric")] == [EVEN, EVEN]
        assert [weight_grid(q, 2) for q in ("dorefa", "symmetric")] == [EVEN, SYMMETRIC]
        assert [activation_grid(signed, 1) for signed in (False, True)] == [UNSIGNED, EVEN]
        assert [activation_grid(signed, 4) for signed in (False, True)] == [UNSIGNED, SYMMETRIC]

    @given(cases())
    @quick
    def test_on_the_grid_nearest_idempotent_monotone(self, case):
        grid, bits, reach, seed = case
        x = values(seed, size=reach).sort().values
        q = quantized(x, reach, grid, bits)
        levels = grid.levels(bits)
        code = q.double() / (reach / levels) - grid.offset
        torch.testing.assert_close(code, code.round(), rtol=0, atol=1e-3)
        assert q.abs().max() <= torch.tensor(reach)
        torch.testing.assert_close(quantized(q, reach, grid, bits), q, rtol=3e-7, atol=0)
        assert bool((q.diff() >= 0).all())
        inside = (x <= reach) & (x >= (-reach if grid.signed else 0))
        assert bool(((q - x).abs()[inside] <= reach / levels * 0.5001).all())

    @pytest.mark.parametrize("name", GRIDS)
    def test_a_bit_halves_the_error(self, name):
        x = values(0, 16384)
        x = x.abs() if name == "unsigned" else x
        grid = GRIDS[name]
        errors = []
        for bits in range(4, 9):
            reach = l2_reach([x[None]], [grid], [grid.levels(bits)], None)[0]
            errors.append(math.log2((quantized(x, reach, grid, bits) - x).square().mean().sqrt()))
        slope = torch.tensor(errors).diff().mean().item()
        assert -1.05 < slope < -0.8, errors  # a little less than 1: the reach grows with the bits


def relaxed_oracle(x, n, reach, low, fixed_residual):
    """The straight-through relaxation in float64: clip, then add a rounding residual that does not move."""
    return x.clamp(low, reach) + fixed_residual * (reach / n)


def finite_difference(function, at, h=1e-5):
    return (function(at + h) - function(at - h)) / (2 * h)


class TestGradients:
    @given(cases(), st.integers(1, 4))
    @quick
    def test_of_bits_and_reach_and_x_are_the_relaxed_quantizers(self, case, rows):
        """dq/dn = (x - q)/n and the derivative for the reach at fixed n, inside and outside, per row."""
        grid, bits, size, seed = case
        x = values(seed, 40 * rows, size, torch.float64).reshape(rows, 40)
        weight = values(seed + 1, 40 * rows, 1.0, torch.float64).reshape(rows, 40)
        n = torch.tensor(grid.levels(bits), dtype=torch.float64, requires_grad=True)
        reach = (torch.linspace(0.5, 1.5, rows, dtype=torch.float64) * size).requires_grad_()
        leaf = x.clone().requires_grad_()
        q = fake_quantize(leaf, reach / n, reach, grid)
        (q * weight).sum().backward()

        top = reach.detach()[:, None]
        low = -top if grid.signed else torch.zeros_like(top)
        assert bool((x > top).any()), "the case must reach outside"
        clipped = x.clamp(low, top)
        residual = (q.detach() - clipped) / (top / n.item())  # zero outside the reach
        at = n.item()

        def loss_of_n(value):
            return (relaxed_oracle(x, value, top, low, residual) * weight).sum().item()

        assert n.grad.item() == pytest.approx(finite_difference(loss_of_n, at, 1e-4 * at), rel=1e-5, abs=1e-8)
        by_hand = (((clipped - q.detach()) / at) * weight).sum().item()
        assert n.grad.item() == pytest.approx(by_hand, rel=1e-9, abs=1e-12)
        for row in range(rows):

            def loss_of_reach(value, row=row):
                moved = top.clone()
                moved[row] = value
                floor = -moved if grid.signed else torch.zeros_like(moved)
                return (relaxed_oracle(x, at, moved, floor, residual) * weight).sum().item()

            expected = finite_difference(loss_of_reach, top[row].item(), 1e-7 * size)
            assert reach.grad[row].item() == pytest.approx(expected, rel=1e-4, abs=1e-5)
        inside = (x >= low) & (x <= top)
        torch.testing.assert_close(leaf.grad, weight * inside)

    def test_outside_the_reach_bits_do_not_matter(self):
        n = torch.tensor(3.0, requires_grad=True)
        reach = torch.ones(1, requires_grad=True)
        fake_quantize(torch.tensor([5.0, -5.0, 7.0]), reach / n, reach, SYMMETRIC).sum().backward()
        assert n.grad == 0
        assert reach.grad == 1  # +1 -1 +1

    def test_bits_by_the_chain_rule_match_the_design(self):
        """design, section 3: dL/db = <dL/dq, x - q> ln 2 2^b / (2^b - 1) for an unsigned grid."""
        x = torch.rand(500, dtype=torch.float64)
        b = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
        reach = torch.ones(1, dtype=torch.float64)
        q = fake_quantize(x, reach / (2**b - 1), reach, UNSIGNED)
        (q**2 / 2).sum().backward()
        expected = (q.detach() * (x - q.detach())).sum() * math.log(2) * 8 / 7
        torch.testing.assert_close(b.grad, expected)

    @pytest.mark.parametrize(("clip", "expected"), [(True, [0.0, 1, 1, 0]), (False, [1.0, 1, 1, 1])])
    def test_of_x_clipped_or_passed(self, clip, expected):
        x = torch.tensor([-1.5, -0.9, 0.2, 1.5], requires_grad=True)
        quantized(x, 1.0, SYMMETRIC, 3, clip_gradient=clip).sum().backward()
        assert x.grad.tolist() == expected

    def test_negative_inputs_of_an_unsigned_grid_are_outside(self):
        x = torch.tensor([-0.1, 0.1], requires_grad=True)
        quantized(x, 1.0, UNSIGNED, 3).sum().backward()
        assert x.grad.tolist() == [0, 1]

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
    def test_the_dtype_of_x_is_kept(self, dtype):
        reach = torch.ones(1, requires_grad=True)
        x = torch.linspace(-1, 1, 9, dtype=dtype).requires_grad_()
        q = fake_quantize(x, reach / 3, reach, SYMMETRIC)
        q.sum().backward()
        assert q.dtype == x.grad.dtype == dtype
        assert reach.grad.dtype == torch.float32


def quantize_k(r, bits):
    """DoReFa (Zhou et al. 2016), eq. 5."""
    n = 2**bits - 1
    return torch.round(n * r) / n


class TestDorefa:
    @given(seeds, st.integers(2, 8), st.floats(0.05, 3))
    @quick
    def test_weights_are_equation_9_at_the_weights_own_scale(self, seed, bits, size):
        weight = values(seed, 60, size).reshape(3, 20)
        found = WeightQuantizer([bits], "max", "tensor", 3, "dorefa")(weight)
        squashed = weight.tanh()
        top = squashed.abs().max()
        expected = top * (2 * quantize_k(squashed / (2 * top) + 0.5, bits) - 1)
        # At a tie between two levels the last place of a float decides: one such value in thousands.
        wrong = (found - expected).abs() > 1e-5 * top
        ties = ((squashed / (2 * top) + 0.5) * (2**bits - 1) % 1 - 0.5).abs() < 1e-4
        assert not bool((wrong & ~ties).any())

    @pytest.mark.parametrize("scale", ["l2", "max"])
    @pytest.mark.parametrize("quantizer", ["dorefa", "symmetric"])
    @pytest.mark.parametrize("granularity", ["tensor", "channel"])
    def test_one_bit_is_the_mean_magnitude(self, quantizer, scale, granularity):
        weight = values(3, 60).reshape(3, 20)
        found = WeightQuantizer([1], scale, granularity, 3, quantizer)(weight)
        mean = weight.abs().mean() if granularity == "tensor" else weight.abs().mean(1, keepdim=True)
        torch.testing.assert_close(found, mean * weight.sign())

    @given(seeds, st.integers(1, 8))
    @quick
    def test_activations_are_quantize_k(self, seed, bits):
        x = torch.rand(200, generator=torch.Generator().manual_seed(seed))
        x[0] = 1.0
        found = ActivationQuantizer([bits], "max", False, "layer")(x)
        ties = (x * (2**bits - 1) % 1 - 0.5).abs() < 1e-4
        torch.testing.assert_close(found[~ties], quantize_k(x, bits)[~ties])


class TestSquash:
    @given(st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=20))
    def test_is_tanh(self, values):
        weight = torch.tensor(values)
        torch.testing.assert_close(squash(weight).double(), weight.double().tanh(), rtol=0, atol=2e-7)

    def test_images_of_one_channel_stay_channels_last(self):
        """tanh forgets the strides of a weight of one channel, and a convolution takes its images for contiguous."""
        net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
        net.to(memory_format=torch.channels_last)
        x = torch.rand(8, 1, 8, 8)
        searchable = precsearch.SearchableModel(net, precsearch.Budget("average_bits", 4.0), x)
        seen = []
        net[1].register_forward_hook(lambda module, args, output: seen.append(output.stride()))
        for _ in range(3):
            searchable(x)
        assert set(seen) == {(144, 1, 24, 4)}
