"""Scale rules against brute force and against the optimum that Max published in 1960."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from precsearch.quantization.grids import EVEN, SYMMETRIC, UNSIGNED
from precsearch.quantization.scales import SAMPLE, SCALE_RULES, l2_reach, max_reach

quick = settings(max_examples=40, deadline=None)
GRIDS = {"symmetric": SYMMETRIC, "even": EVEN, "unsigned": UNSIGNED}
CASES = [(name, bits) for name in GRIDS for bits in range(2 if name == "symmetric" else 1, 9)]
SAMPLES = {
    "gaussian": lambda rng: rng.normal(size=4000),
    "uniform": lambda rng: rng.uniform(-1, 1, 4000),
    "laplace": lambda rng: rng.laplace(size=4000),
    "relu": lambda rng: np.maximum(rng.normal(size=4000), 0),
    "student": lambda rng: rng.standard_t(5, size=4000),
}


def codes(x, reach, grid, levels):
    """Nearest code of every value, [R, M]."""
    code = (x / (reach / levels)[:, None] - grid.offset).round() + grid.offset
    return code.clamp(-levels if grid.signed else 0, levels)


def sample(name, seed=0):
    return torch.from_numpy(SAMPLES[name](np.random.default_rng(seed))).float()[None]


def reach_of(rule, x, grid, bits, previous=None):
    return SCALE_RULES[rule]([x], [grid], [grid.levels(bits)], previous)[0]


def distortion(x, reach, grid, bits):
    levels = grid.levels(bits)
    code = codes(x, reach, grid, levels)
    return (x - code * (reach / levels)[:, None]).square().mean(1)


def brute_force(x, grid, bits):
    """Least error of any reach: a fine grid, then a golden section around its best."""

    def error(reach):
        return distortion(x, torch.tensor([reach], dtype=x.dtype), grid, bits).item()

    top = x.abs().max().item()
    tried = top * np.linspace(0.005, 1.3, 500)
    best = min(tried, key=error)
    step = tried[1] - tried[0]
    fine = minimize_scalar(error, bounds=(best - step, best + step), method="bounded")
    return min(error(best), fine.fun)


class TestL2:
    @pytest.mark.parametrize(("name", "bits"), CASES)
    @pytest.mark.parametrize("data", SAMPLES)
    def test_within_a_percent_of_brute_force(self, data, name, bits):
        x, grid = sample(data), GRIDS[name]
        if name == "unsigned":
            x = x.abs()
        found = distortion(x, reach_of("l2", x, grid, bits), grid, bits).item()
        assert found <= 1.01 * brute_force(x, grid, bits) + 1e-12

    @pytest.mark.parametrize(("bits", "published"), [(1, 0.3634), (2, 0.1188), (3, 0.03744), (4, 0.01154)])
    def test_gaussian_distortion_of_max_1960(self, bits, published):
        """Quantizing for minimum distortion, table II: uniform steps, 2, 4, 8 and 16 levels."""
        x = torch.from_numpy(np.random.default_rng(0).normal(size=SAMPLE)).float()[None]
        found = distortion(x, reach_of("l2", x, EVEN, bits), EVEN, bits).item() / x.square().mean().item()
        assert found == pytest.approx(published, rel=0.025)

    def test_ternary_gaussian_distortion_is_the_three_level_optimum(self):
        x = torch.from_numpy(np.random.default_rng(1).normal(size=SAMPLE)).float()[None]
        assert distortion(x, reach_of("l2", x, SYMMETRIC, 2), SYMMETRIC, 2).item() == pytest.approx(0.1902, rel=0.025)

    @pytest.mark.parametrize(("name", "bits"), CASES)
    def test_settling_never_gets_worse_and_finds_back(self, name, bits):
        """From the last reach, and from one that is far off, with one look each."""
        x, grid = sample("gaussian").abs() if name == "unsigned" else sample("gaussian"), GRIDS[name]
        best = distortion(x, reach_of("l2", x, grid, bits), grid, bits)
        reach = torch.tensor([50.0])
        for _ in range(40):
            before = distortion(x, reach, grid, bits)
            reach = reach_of("l2", x, grid, bits, reach[None])
            after = distortion(x, reach, grid, bits)
            assert after <= before * (1 + 1e-5) + 1e-9
        assert after <= 1.25 * best + 1e-9

    @given(st.integers(0, 2**20), st.sampled_from(CASES))
    @quick
    def test_many_values_are_thinned_evenly(self, seed, case):
        """A subsample of a large tensor costs little: rows or channels that alternate must not fool it."""
        name, bits = case
        rng = np.random.default_rng(seed)
        period = int(rng.integers(2, 60))
        pattern = np.exp(rng.normal(size=period))
        x = torch.from_numpy(np.abs(rng.normal(size=120_000)) * np.resize(pattern, 120_000)).float()[None]
        grid = GRIDS[name]
        found = distortion(x, reach_of("l2", x, grid, bits), grid, bits).item()
        whole = codes(x, reach_of("l2", x, grid, bits), grid, grid.levels(bits))
        settled = ((x * whole).sum(1) / whole.square().sum(1)) * grid.levels(bits)
        # 16,384 of 120,000 values tell the tail only so well; a sample in step with the rows is off by far more.
        assert found <= 1.15 * distortion(x, settled, grid, bits).item()


@pytest.mark.parametrize("rule", ["l2", "max"])  # what `power-of-two` adds is in test_power_of_two.py
class TestBothRules:
    @given(st.integers(0, 2**20), st.integers(1, 5), st.sampled_from(CASES))
    @quick
    def test_a_channel_is_a_tensor_of_its_own(self, rule, seed, rows, case):
        name, bits = case
        rng = np.random.default_rng(seed)
        x = torch.from_numpy(rng.normal(size=(rows, 50)) * np.exp(rng.normal(size=(rows, 1)))).float()
        together = reach_of(rule, x, GRIDS[name], bits)
        apart = torch.cat([reach_of(rule, row[None], GRIDS[name], bits) for row in x])
        torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-8)

    @given(st.integers(0, 2**20), st.integers(-8, 8), st.sampled_from(CASES))
    @quick
    def test_scales_with_the_data(self, rule, seed, power, case):
        """A power of two, so that no rounding tie turns the other way."""
        name, bits = case
        x = torch.from_numpy(np.random.default_rng(seed).normal(size=(1, 64))).float()
        once, scaled = (reach_of(rule, x * factor, GRIDS[name], bits) for factor in (1.0, 2.0**power))
        torch.testing.assert_close(scaled, once * 2.0**power, rtol=1e-6, atol=1e-8)

    @given(st.permutations(range(32)), st.sampled_from(CASES))
    @quick
    def test_the_order_of_the_values_plays_no_part(self, rule, order, case):
        """Sums round differently, so of two reaches that are equally good either may win: their errors agree."""
        name, bits = case
        x, grid = sample("gaussian")[:, :32], GRIDS[name]
        one, other = (distortion(y, reach_of(rule, y, grid, bits), grid, bits) for y in (x, x[:, order]))
        torch.testing.assert_close(one, other, rtol=0.1, atol=1e-9)

    @pytest.mark.parametrize(("name", "bits"), CASES)
    @pytest.mark.parametrize("value", [0.0, 1e-30, 0.37, 1e6])
    def test_zeros_and_constants(self, rule, value, name, bits):
        x, grid = torch.full((2, 40), value), GRIDS[name]
        reach = reach_of(rule, x, grid, bits)
        for _ in range(3):
            assert bool((reach > 0).all()) and bool(reach.isfinite().all())
            assert bool((distortion(x, reach, grid, bits) <= (1e-3 * value) ** 2 + 1e-15).all())
            reach = reach_of(rule, x, grid, bits, reach[None])

    def test_a_dead_tensor_comes_back(self, rule):
        dead = reach_of(rule, torch.zeros(1, 40), SYMMETRIC, 4)
        x = sample("gaussian")
        found = reach_of(rule, x, SYMMETRIC, 4, dead[None])
        assert found > 0.3

    def test_one_value(self, rule):
        assert reach_of(rule, torch.tensor([[-2.0]]), EVEN, 1).item() == pytest.approx(2.0)


def test_max_reaches_the_largest_magnitude_and_one_bit_the_mean():
    x = torch.tensor([[1.0, -4.0, 1.0], [0.5, 0.25, 0.0]])
    grids = [EVEN, EVEN, SYMMETRIC, UNSIGNED]
    found = max_reach([x] * 4, grids, [g.levels(b) for g, b in zip(grids, [1, 2, 2, 1], strict=True)], None)
    torch.testing.assert_close(found, torch.tensor([[2.0, 0.25], [4.0, 0.5], [4.0, 0.5], [4.0, 0.5]]))


def test_candidates_do_not_disturb_each_other():
    x = sample("laplace")
    grids, bits = [EVEN, SYMMETRIC, UNSIGNED], [2, 5, 8]
    levels = [g.levels(b) for g, b in zip(grids, bits, strict=True)]
    together = l2_reach([x, x, x.abs()], grids, levels, None)
    apart = [reach_of("l2", y, g, b) for y, g, b in zip([x, x, x.abs()], grids, bits, strict=True)]
    assert torch.equal(together, torch.stack(apart))
