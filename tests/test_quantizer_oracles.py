"""The quantizers against the papers' own formulas: by hand, with gradients, and against a scan of steps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from precsearch.quantization.quantizers import ActivationQuantizer, WeightQuantizer

quick = settings(max_examples=60, deadline=None)


def weight_quantizer(bits: int, quantizer: str, scale: str = "max", channels: int = 1) -> WeightQuantizer:
    return WeightQuantizer([bits], scale, "tensor", channels, quantizer)


def straight_through(quantizer: torch.nn.Module, x: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor]:
    leaf = x.clone().requires_grad_()
    found = quantizer(leaf)
    found.backward(upstream)
    assert leaf.grad is not None
    return found.detach(), leaf.grad


class TestDorefaByHand:
    """tanh(w) is 0.8, 0.1, -0.2 and -0.8, so the largest is 0.8."""

    SQUASHED = torch.tensor([[0.8, 0.1, -0.2, -0.8]], dtype=torch.float64)
    UPSTREAM = torch.tensor([[1.0, -2.0, 3.0, 0.5]])

    def weight(self) -> Tensor:
        return self.SQUASHED.atanh().float()

    @pytest.mark.parametrize(
        ("bits", "levels"),
        [
            # of -0.8, -0.8/3, 0.8/3, 0.8
            (2, [0.8, 0.8 / 3, -0.8 / 3, -0.8]),
            # of 0.8 k/7 for odd k: 0.1 is 0.875 of 0.8/7, -0.2 is -1.75 of it
            (3, [0.8, 0.8 / 7, -0.8 / 7, -0.8]),
            # of 0.8 k/15 for odd k: 0.1 is 1.875, -0.2 is -3.75
            (4, [0.8, 0.8 / 15, -0.8 * 3 / 15, -0.8]),
        ],
    )
    def test_levels_and_straight_through_gradient(self, bits: int, levels: list[float]) -> None:
        """Zhou et al. 2016, eq. 9 at the weights' own scale; the gradient is that of tanh."""
        found, gradient = straight_through(weight_quantizer(bits, "dorefa"), self.weight(), self.UPSTREAM)
        torch.testing.assert_close(found, torch.tensor([levels]), rtol=1e-5, atol=1e-6)
        by_hand = self.UPSTREAM * torch.tensor([[0.36, 0.99, 0.96, 0.36]])  # 1 - tanh^2
        torch.testing.assert_close(gradient, by_hand, rtol=1e-5, atol=1e-6)

    def test_one_bit(self) -> None:
        """Eq. 7: the mean magnitude, and the gradient as it comes."""
        weight = torch.tensor([[0.5, -1.5, 0.25, -0.75]])
        found, gradient = straight_through(weight_quantizer(1, "dorefa"), weight, self.UPSTREAM)
        assert found.tolist() == [[0.75, -0.75, 0.75, -0.75]]
        assert torch.equal(gradient, self.UPSTREAM)

    def test_activations(self) -> None:
        """Eq. 5 on a range of 2: levels 0, 2/3, 4/3, 2; the gradient passes between 0 and the range."""
        quantizer = ActivationQuantizer([2], "max", False, "layer")
        quantizer(torch.tensor([[0.0, 2.0]]))  # the range is known from here on
        x, upstream = torch.tensor([[0.2, 0.4, 1.1, 1.9, 2.5, -0.0]]), torch.arange(1.0, 7.0).unsqueeze(0)
        found, gradient = straight_through(quantizer.eval(), x, upstream)
        torch.testing.assert_close(found, torch.tensor([[0.0, 2 / 3, 4 / 3, 2.0, 2.0, 0.0]]))
        assert gradient.tolist() == [[1.0, 2.0, 3.0, 4.0, 0.0, 6.0]]

    def test_of_gradients(self) -> None:
        """Eq. 12 at 2 bits: the largest magnitude is 4, levels are -4, -4/3, 4/3, 4; unbiased between them."""
        from precsearch.quantization.gradients import GradientQuantizer

        quantizer, incoming = GradientQuantizer([2]), torch.tensor([4.0, 2.0, 0.0, -1.0])
        count = 20000
        x = torch.zeros(count, 4, requires_grad=True)
        torch.manual_seed(0)
        quantizer(x).backward(incoming.expand(count, 4))
        assert x.grad is not None
        levels = x.grad.unique()
        torch.testing.assert_close(levels, torch.tensor([-4 / 3, 4 / 3, 4.0]))
        # between 4/3 and 4, 2 is a quarter of the way up; between -4/3 and 4/3, 0 is half and -1 an eighth
        for column, (level, share) in {1: (4.0, 0.25), 2: (4 / 3, 0.5), 3: (4 / 3, 0.125)}.items():
            found = float(((x.grad[:, column] - level).abs() < 1e-3).double().mean())
            assert abs(found - share) < 4 * math.sqrt(share * (1 - share) / count), column
        assert bool((x.grad[:, 0] == 4).all())
        error = x.grad.double().std(0) / math.sqrt(count)
        assert bool(((x.grad.double().mean(0) - incoming).abs() <= 4 * error + 1e-9).all())


def sung(x: Tensor, step: float, levels: int) -> Tensor:
    """Sung et al. 2015, section 3, as written: sgn(x) * step * min(floor(|x| / step + 0.5), (M - 1) / 2)."""
    return x.sign() * step * torch.clamp((x.abs() / step + 0.5).floor(), max=(levels - 1) / 2)


class TestSungsLevels:
    @given(st.integers(0, 10**6), st.sampled_from(["l2", "max"]), st.sampled_from(["gauss", "laplace", "cubes"]))
    @quick
    def test_two_bits_are_ternary_and_three_bits_seven_levels_to_the_bit(
        self, seed: int, scale: str, shape: str
    ) -> None:
        rng = np.random.default_rng(seed)
        made = {"gauss": rng.normal(size=(8, 40)), "laplace": rng.laplace(size=(8, 40)),
                "cubes": rng.normal(size=(8, 40)) ** 3}[shape]  # fmt: skip
        weight = torch.from_numpy(made).float()
        for bits, most in ((2, 1), (3, 3)):
            quantizer = weight_quantizer(bits, "symmetric", scale, 8)
            found = quantizer(weight)
            step = quantizer.ranges().step
            allowed = torch.cat([-torch.arange(most, 0, -1), torch.arange(most + 1)]) * step
            assert len(allowed) == {2: 3, 3: 7}[bits]
            distance = (found.reshape(-1, 1) - allowed).abs()
            assert bool((distance.amin(1) <= 2e-7 * step * most).all())
            assert set(distance.argmin(1).tolist()) <= set(range(len(allowed)))
            assert (found == 0).any()

    @given(st.integers(0, 10**6), st.integers(2, 5))
    @quick
    def test_rounding_is_that_of_the_paper(self, seed: int, bits: int) -> None:
        weight = torch.from_numpy(np.random.default_rng(seed).normal(size=(5, 30))).float()
        quantizer = weight_quantizer(bits, "symmetric", "l2", 5)
        found, step = quantizer(weight), float(quantizer.ranges().step)
        expected = sung(weight.double(), step, 2**bits - 1)
        ties = ((weight.double().abs() / step + 0.5) % 1 < 1e-5) | ((weight.double().abs() / step + 0.5) % 1 > 1 - 1e-5)
        assert bool((((found - expected).abs() <= 1e-5 * step) | ties).all())

    @pytest.mark.parametrize("bits", [2, 3, 4, 6])
    @pytest.mark.parametrize("shape", ["gauss", "laplace", "uniform", "two humps"])
    def test_no_step_of_a_scan_errs_less(self, bits: int, shape: str) -> None:
        """The L2-optimal step against every thousandth of the largest magnitude, with the paper's own rounding."""
        rng = np.random.default_rng(bits)
        made = {"gauss": rng.normal(size=3000), "laplace": rng.laplace(size=3000), "uniform": rng.uniform(-1, 1, 3000),
                "two humps": rng.normal(size=3000) + 3 * rng.choice([-1, 1], 3000)}[shape]  # fmt: skip
        weight = torch.from_numpy(made).float().reshape(30, 100)
        quantizer = weight_quantizer(bits, "symmetric", "l2", 30)
        found = float((quantizer(weight) - weight).double().square().mean())
        most = float(weight.abs().max())
        scanned = min(
            float((sung(weight.double(), most * k / 1000, 2**bits - 1) - weight).square().mean())
            for k in range(1, 1500)
        )
        assert found <= 1.01 * scanned

    def test_the_gradient_goes_straight_through_beyond_the_largest_level_too(self) -> None:
        """Retraining updates the float copies (Hwang and Sung 2014): one that is clipped must be able to come back."""
        weight, upstream = torch.tensor([[0.9, -0.9, 0.6, -1.6]]), torch.tensor([[1.0, 2.0, 3.0, 4.0]])
        quantizer = weight_quantizer(2, "symmetric", "l2")
        found, gradient = straight_through(quantizer, weight, upstream)
        assert torch.equal(gradient, upstream)
        torch.testing.assert_close(found, torch.tensor([[1.0, -1.0, 1.0, -1.0]]))  # the mean magnitude
