"""Samplers: every draw keeps the budget, and the relaxation is what it says it is."""

from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import plans, problems
from scipy.stats import chisquare

from precsearch.precision import distribution
from precsearch.precision.budgets import Budget, Footprint
from precsearch.precision.distribution import OptionTable, entropy, gumbel
from precsearch.precision.planning import SEARCHED, LayerChoices, make_plan
from precsearch.precision.samplers import SAMPLERS, Fixed
from precsearch.precision.solver import maximize

quick = settings(max_examples=60, deadline=None)
seeds = st.integers(0, 2**30)
sizes = st.sampled_from([0.0, 1.0, 10.0, 100.0])
temperatures = st.floats(0.05, 10)
LEARNED = ["perturb-and-map", "multinomial", "gumbel-softmax"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def make(name, problem, seed=0, size=0.0):
    if name == "fixed":
        return Fixed(problem, generator(seed), problem.slot_candidates(problem.cheapest()))
    sampler = SAMPLERS[name](problem, generator(seed))
    for parameter in sampler.parameters():
        torch.nn.init.normal_(parameter, std=size, generator=generator(seed + 1))
    return sampler


def equal_layers(count, bits, limit, pairs=False):
    layers = [Footprint(f"layer{i}", 10 + i, 1, 5, 100) for i in range(count)]
    choices = [LayerChoices(layer, SEARCHED, SEARCHED if pairs else None) for layer in layers]
    return make_plan(Budget("layer_bits", limit), choices, bits, 0).problem


@pytest.mark.parametrize("name", SAMPLERS)
class TestEverySampler:
    @given(plans(), seeds, sizes, temperatures)
    @quick
    def test_every_draw_and_the_answer_keep_the_budget(self, name, plan, seed, size, temperature):
        problem = plan.problem
        sampler = make(name, problem, seed, size)
        draws = [sampler.draw(temperature).candidates for _ in range(3)]
        for candidates in [sampler.solve()] if name == "gumbel-softmax" else [*draws, sampler.solve()]:
            assert ((candidates >= 0) & (candidates < len(problem.bits))).all()
            options = problem.options_of(candidates)
            assert (problem.spent(options) <= problem.limits).all()
            if name in ("perturb-and-map", "multinomial", "random") or candidates is not draws[-1]:
                assert name in ("uniform", "fixed") or not problem.raised(options)[1].any(), "slack is left"

    @given(plans(), seeds, sizes)
    @settings(max_examples=15, deadline=None)
    def test_draws_follow_the_generator(self, name, plan, seed, size):
        one, two = (make(name, plan.problem, seed, size) for _ in range(2))
        for _ in range(3):
            a, b = one.draw(0.7), two.draw(0.7)
            assert (a.candidates == b.candidates).all()
            assert (a.relaxed_SK is None) == (name not in LEARNED)
            if a.relaxed_SK is not None:
                assert torch.equal(a.relaxed_SK, b.relaxed_SK)

    @given(problems(most_units=5), seeds, sizes, temperatures)
    @quick
    def test_probabilities_and_gradients_are_finite(self, name, problem, seed, size, temperature):
        """Also where the limit is that of the cheapest, or beyond the dearest allocation; at any temperature."""
        sampler = make(name, problem, seed, size)
        draw = sampler.draw(temperature)
        probabilities = sampler.probabilities()
        assert probabilities.shape == (len(problem.slots), len(problem.bits))
        torch.testing.assert_close(probabilities.sum(1), torch.ones(len(problem.slots)), atol=1e-5, rtol=0)
        if draw.relaxed_SK is None:
            return
        torch.testing.assert_close(draw.relaxed_SK.sum(1), torch.ones(len(problem.slots)), atol=1e-5, rtol=0)
        weight = torch.randn(draw.relaxed_SK.shape, generator=generator(seed))
        terms = [(draw.relaxed_SK * weight).sum(), entropy(probabilities), sampler.penalty()]
        loss = sum(terms) + sampler.expected_cost().sum()
        loss.backward()
        assert bool(loss.isfinite())
        for parameter in sampler.parameters():
            assert bool(parameter.grad.isfinite().all())


class TestTilt:
    @given(problems(most_units=6), seeds, sizes, temperatures)
    @settings(max_examples=150, deadline=None)
    def test_meets_the_limit_in_expectation(self, problem, seed, size, temperature):
        table = OptionTable(problem).double()
        scores = table.scores(torch.randn(len(problem.slots), len(problem.bits), generator=generator(seed)) * size)
        probabilities = table.tilt(scores.double(), temperature)
        torch.testing.assert_close(probabilities.sum(1), torch.ones(problem.units, dtype=torch.float64))
        expected = table.expected_cost(probabilities).numpy()
        binding = table.binding & (problem.spent(problem.cheapest()) < problem.limits)
        assert np.abs(expected - 1)[binding].max(initial=0) < 1e-4
        assert (expected <= 1 + 1e-4).all()

    @pytest.mark.parametrize("temperature", [0.05, 0.2, 1.0, 10.0])
    @pytest.mark.parametrize("layers", [1, 10, 60, 200])
    @pytest.mark.parametrize("limit", [2.01, 3.0, 7.5])
    def test_meets_the_limit_of_deep_networks(self, limit, layers, temperature):
        problem = equal_layers(layers, [2, 3, 4, 6, 8], limit)
        if problem.limits[0] == 2 * layers:
            return
        table = OptionTable(problem).double()
        rng = np.random.default_rng(layers)
        scores = torch.from_numpy(rng.gumbel(size=problem.cost.shape) + 4 * rng.normal(size=problem.cost.shape))
        expected = table.expected_cost(table.tilt(scores, temperature)).item()
        assert expected == pytest.approx(1, abs=1e-4)

    @given(seeds, st.floats(0.3, 5), st.booleans())
    @settings(max_examples=40, deadline=None)
    def test_gradient_is_a_finite_difference(self, seed, temperature, pairs):
        problem = equal_layers(3, [2, 3, 5], 3.4, pairs)
        table = OptionTable(problem).double()
        rng = np.random.default_rng(seed)
        # In double all through: the buffers hold float32 prices that differ from the exact ones in the last place.
        table.price_UO = torch.from_numpy(table.price)
        logits = torch.from_numpy(rng.normal(size=(len(problem.slots), 3))).requires_grad_()
        weight = torch.from_numpy(rng.normal(size=(len(problem.slots), 3)))

        def value(at):
            return (table.marginals(table.tilt(table.scores(at), temperature)) * weight).sum()

        value(logits).backward()
        h = 1e-5
        for index in np.ndindex(*logits.shape):
            shift = torch.zeros_like(logits)
            shift[index] = h
            with torch.no_grad(), patch.object(distribution, "_CLOSE", 1e-14):
                expected = (value(logits + shift) - value(logits - shift)) / (2 * h)
            assert logits.grad[index].item() == pytest.approx(expected.item(), rel=1e-3, abs=1e-5)

    def test_a_slack_limit_does_not_tilt(self):
        problem = equal_layers(3, [2, 4, 8], 8.0)
        table = OptionTable(problem)
        scores = torch.randn(problem.cost.shape)
        torch.testing.assert_close(table.tilt(scores, 0.5), torch.softmax(scores / 0.5, 1))


class TestPerturbAndMap:
    def test_frequencies_are_the_softmax_where_the_limit_is_slack(self):
        """Before the slack is filled: the best of Gumbel-perturbed logits is a draw from their softmax."""
        problem = equal_layers(3, [2, 4, 8], 8.0)
        logits = torch.randn(3, 3, generator=generator(5))
        noise, count = generator(6), 4000
        perturbed = (logits + gumbel((count, 3, 3), noise)).double().numpy()
        draws = np.stack(
            [problem.slot_candidates(maximize(problem.option_scores(each), problem)) for each in perturbed]
        )
        for slot in range(3):
            seen = np.bincount(draws[:, slot], minlength=3)
            expected = torch.softmax(logits[slot].double(), 0).numpy()
            assert chisquare(seen, expected / expected.sum() * count).pvalue > 1e-4

    def test_a_slack_limit_is_filled(self):
        sampler = make("perturb-and-map", equal_layers(3, [2, 4, 8], 8.0), size=1.0)
        assert sampler.draw(1.0).candidates.tolist() == sampler.solve().tolist() == [2, 2, 2]

    def test_mean_cost_of_the_relaxed_sample_is_the_limit(self):
        problem = equal_layers(5, [2, 4, 8], 3.7)
        sampler = make("perturb-and-map", problem, seed=2, size=2.0)
        bits = torch.tensor(problem.bits, dtype=torch.float32)
        for temperature in (0.1, 1.0, 5.0):
            spent = (sampler.draw(temperature).relaxed_SK @ bits).sum().item()
            assert spent == pytest.approx(problem.limits[0], rel=2e-4)

    def test_prefers_what_the_logits_prefer(self):
        sampler = make("perturb-and-map", equal_layers(3, [2, 3, 4], 3.0))
        with torch.no_grad():
            sampler.logits[1, 2] = sampler.logits[0, 0] = 30.0
        assert all((sampler.draw(1.0).candidates == [0, 2, 1]).all() for _ in range(20))
        assert sampler.solve().tolist() == [0, 2, 1]


class TestMultinomial:
    @given(st.integers(1, 12), st.integers(2, 5), seeds, st.floats(0, 1), sizes)
    @quick
    def test_consecutive_bits_spend_the_layer_budget(self, layers, candidates, seed, share, size):
        bits = list(range(2, 2 + candidates))
        limit = 2 + share * (candidates - 1)
        problem = equal_layers(layers, bits, limit)
        sampler = make("multinomial", problem, seed, size)
        for each in (sampler.draw(1.0).candidates, sampler.solve()):
            assert problem.spent(problem.options_of(each)) == problem.limits

    def test_relaxed_sample_is_the_draw_with_a_slope(self):
        sampler = make("multinomial", equal_layers(4, [2, 3, 4, 5], 3.5), seed=1, size=1.0)
        draw = sampler.draw(1.0)
        assert draw.relaxed_SK.argmax(1).tolist() == draw.candidates.tolist()
        bits = (draw.relaxed_SK @ torch.arange(4.0))[2]
        bits.backward()
        assert sampler.logits.grad[2] > 0
        assert bool((np.delete(sampler.logits.grad.numpy(), 2) < 0).all())


class TestGumbelSoftmax:
    def test_penalty_is_the_expected_overspending(self):
        problem = equal_layers(2, [2, 4, 8], 3.0)
        sampler = make("gumbel-softmax", problem)
        assert sampler.penalty().item() == pytest.approx((14 / 3 - 3) / 3, rel=1e-5)
        sampler.penalty().backward()
        assert sampler.logits.grad[0, 2] > 0 > sampler.logits.grad[0, 0]
        assert make("gumbel-softmax", equal_layers(2, [2, 4, 8], 7.0)).penalty() == 0
