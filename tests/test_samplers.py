"""Samplers: every draw keeps the budget, and the relaxation is what it says it is."""

from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import every_allocation, plans, problems, spent_by_hand, total, without_limits
from scipy.optimize import linprog
from scipy.stats import chisquare

from precsearch.precision import dual
from precsearch.precision.budgets import Budget, Footprint
from precsearch.precision.distribution import PriceTable, entropy, gumbel
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
        return Fixed(problem, generator(seed), problem.feasible)
    sampler = SAMPLERS[name](problem, generator(seed))
    for parameter in sampler.parameters():
        torch.nn.init.normal_(parameter, std=size, generator=generator(seed + 1))
    return sampler


def equal_layers(count, bits, limit, pairs=False):
    layers = [Footprint(f"layer{i}", 10 + i, 1, 5, 100) for i in range(count)]
    choices = [LayerChoices(layer, SEARCHED, SEARCHED if pairs else None) for layer in layers]
    return make_plan(Budget("layer_bits", limit), choices, bits, 0).problem


def inner_slack(problem):
    """How far inside all limits, in parts of them, some mixture of choices stays: none means no tilt can keep them."""
    every = every_allocation(without_limits(problem))
    costs = np.array([spent_by_hand(problem, chosen) for chosen in every]) / problem.scale
    room = problem.limits / problem.scale
    # Maximize t over mixtures p: costs.T p + t <= room.
    found = linprog(
        np.append(np.zeros(len(every)), -1.0),
        A_ub=np.hstack([costs.T, np.ones((len(room), 1))]), b_ub=room,
        A_eq=np.append(np.ones(len(every)), 0.0)[None], b_eq=[1.0], bounds=[(0, None)] * len(every) + [(None, None)],
    )  # fmt: skip
    return found.x[-1]


@pytest.mark.parametrize("name", SAMPLERS)
class TestEverySampler:
    @given(problems(most_slots=6) | plans().map(lambda plan: plan.problem), seeds, sizes, temperatures)
    @settings(max_examples=120, deadline=None)
    def test_every_draw_and_the_answer_keep_every_budget(self, name, problem, seed, size, temperature):
        sampler = make(name, problem, seed, size)
        draws = [sampler.draw(temperature).candidates for _ in range(3)]
        for candidates in [sampler.solve()] if name == "gumbel-softmax" else [*draws, sampler.solve()]:
            assert problem.candidates[np.arange(len(candidates)), candidates].all()
            assert (spent_by_hand(problem, candidates) <= problem.limits).all()
            if name not in ("uniform", "fixed"):
                assert not problem.raised(candidates)[1].any(), "slack is left"

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

    @given(problems(most_slots=5), seeds, sizes, temperatures)
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
    @given(problems(most_slots=6), seeds, sizes, temperatures)
    @settings(max_examples=250, deadline=None)
    def test_keeps_the_limits_in_expectation(self, problem, seed, size, temperature):
        """A budget with slots of its own is spent; of coupled ones each is kept, and none tilts that has slack."""
        table = PriceTable(problem).double()
        table.price_CSHK = torch.from_numpy(problem.price)
        scores = table.scores(torch.randn(problem.candidates.shape, generator=generator(seed)) * size).double()
        joint = table.tilt(scores, temperature)
        torch.testing.assert_close(joint.sum((1, 2)), torch.ones(len(problem.slots), dtype=torch.float64))
        expected = table.expected_cost(joint).numpy()
        tight = problem.tight
        alone = np.isinf(dual.free_of_sign(tight))
        least = np.array([tight.spent(tight.extreme(c, -1.0))[c] for c in range(len(tight.limits))])
        reachable = (least < tight.limits) & (tight.limits > 0)
        assert np.abs(expected[problem.binding] - 1)[alone & reachable].max(initial=0) < 1e-4
        if not len(least) or inner_slack(problem) < 0.01:
            return
        assert (expected * problem.scale <= problem.limits + 1e-4 * problem.scale).all()
        multiplier = dual.find_multipliers(scores.numpy() / temperature, tight)
        assert (multiplier[~alone] >= 0).all()
        slack = 1 - expected[problem.binding][~alone]
        assert (multiplier[~alone] * slack <= 1e-3 * (1 + multiplier[~alone])).all()

    @pytest.mark.parametrize("temperature", [0.05, 0.2, 1.0, 10.0])
    @pytest.mark.parametrize("layers", [1, 10, 60, 200])
    @pytest.mark.parametrize("limit", [2.01, 3.0, 7.5])
    def test_meets_the_limit_of_deep_networks(self, limit, layers, temperature):
        problem = equal_layers(layers, [2, 3, 4, 6, 8], limit)
        if problem.limits[0] == 2 * layers:
            return
        table = PriceTable(problem).double()
        rng = np.random.default_rng(layers)
        scores = torch.from_numpy(
            rng.gumbel(size=problem.candidates.shape) + 4 * rng.normal(size=problem.candidates.shape)
        )
        expected = table.expected_cost(table.tilt(scores, temperature)).item()
        assert expected == pytest.approx(1, abs=1e-4)

    @given(problems(most_slots=4), seeds, st.floats(0.3, 5))
    @settings(max_examples=150, deadline=None)
    def test_is_the_tilted_distribution_over_all_choices(self, problem, seed, temperature):
        """The marginals against the enumeration of every choice."""
        table = PriceTable(problem).double()
        table.price_CSHK = torch.from_numpy(problem.price)
        scores = table.scores(torch.randn(problem.candidates.shape, generator=generator(seed))).double()
        multiplier = np.zeros(len(problem.limits))
        if problem.binding.any():
            multiplier[problem.binding] = dual.find_multipliers(scores.numpy() / temperature, problem.tight)
        every = every_allocation(without_limits(problem))
        costs = np.array([spent_by_hand(problem, chosen) for chosen in every]) / problem.scale
        weight = total(scores.numpy(), every) / temperature - costs @ multiplier
        p = np.exp(weight - weight.max())
        p /= p.sum()
        by_hand = np.zeros(problem.candidates.shape)
        for chosen, share in zip(every, p, strict=True):
            by_hand[np.arange(len(chosen)), chosen] += share
        np.testing.assert_allclose(table.tilt(scores, temperature).sum(1).numpy(), by_hand, atol=1e-9)
        np.testing.assert_allclose(table.expected_cost(table.tilt(scores, temperature)).numpy(), p @ costs, atol=1e-9)

    @given(problems(most_slots=5, most_bits=3), seeds, st.floats(0.3, 5))
    @settings(max_examples=150, deadline=None)
    def test_gradient_is_a_finite_difference(self, problem, seed, temperature):
        table = PriceTable(problem).double()
        rng = np.random.default_rng(seed)
        # In double all through: the buffers hold float32 prices that differ from the exact ones in the last place.
        table.price_CSHK = torch.from_numpy(problem.price)
        logits = torch.from_numpy(rng.normal(size=problem.candidates.shape)).requires_grad_()
        weight = torch.from_numpy(rng.normal(size=logits.shape))

        def value(at):
            return (table.tilt(table.scores(at), temperature).sum(1) * weight).sum()

        def settled(at):
            return dual.find_multipliers(problem.mask(at.detach().numpy()) / temperature, problem.tight)

        found = settled(logits) if problem.binding.any() else np.zeros(0)
        # At the corner of a constraint that only just binds there is no derivative, at the end of the range hardly one.
        if (np.abs(found) > 30).any() or ((np.abs(found) > 0) & (np.abs(found) < 1e-3)).any():
            return
        value(logits).backward()
        h = 1e-5
        for index in np.ndindex(*logits.shape):
            shift = torch.zeros_like(logits)
            shift[index] = h
            with torch.no_grad(), patch.object(dual, "_CLOSE", 1e-13):
                ends = [logits + shift, logits - shift]
                if problem.binding.any() and len({tuple(settled(at) > 0) for at in [*ends, logits]}) > 1:
                    continue
                expected = (value(ends[0]) - value(ends[1])) / (2 * h)
                wide = (value(logits + 4 * shift) - value(logits - 4 * shift)) / (8 * h)
            # Multipliers of nearly settled distributions are found to 1e-9 or so, which h makes much of.
            unsure = abs((wide - expected).item())
            assert logits.grad[index].item() == pytest.approx(expected.item(), rel=2e-3, abs=2e-5 + 4 * unsure)

    def test_a_slack_limit_does_not_tilt(self):
        problem = equal_layers(3, [2, 4, 8], 8.0)
        table = PriceTable(problem)
        scores = torch.randn(problem.candidates.shape)
        torch.testing.assert_close(table.tilt(scores, 0.5).sum(1), torch.softmax(scores / 0.5, 1))


class TestPerturbAndMap:
    def test_frequencies_are_the_softmax_where_the_limit_is_slack(self):
        """Before the slack is filled: the best of Gumbel-perturbed logits is a draw from their softmax."""
        problem = equal_layers(3, [2, 4, 8], 8.0)
        logits = torch.randn(3, 3, generator=generator(5))
        noise, count = generator(6), 4000
        perturbed = (logits + gumbel((count, 3, 3), noise)).double().numpy()
        draws = np.stack([maximize(each, problem) for each in perturbed])
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
            assert problem.spent(each) == problem.limits

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
