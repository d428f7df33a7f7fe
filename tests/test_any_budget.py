"""Any budget from one training: limits drawn from a range, answers at every one of them, forms of preferences."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import spent_by_hand, total
from torch import nn

from precsearch import Budget, BudgetError, ConfigurationError, SearchableModel
from precsearch.precision.budgets import Footprint
from precsearch.precision.planning import SEARCHED, LayerChoices, make_plan
from precsearch.precision.preferences import PREFERENCES
from precsearch.precision.samplers import make_sampler

# what a limit that nothing reaches is told is tested in test_diagnosis.py
pytestmark = pytest.mark.filterwarnings("ignore:the budget .* binds nowhere", "ignore:each of the draws 9 to 24")

seeds = st.integers(0, 2**30)
sizes = st.sampled_from([0.0, 0.3, 2.0])
shares = st.floats(0, 1)
forms = st.sampled_from(sorted(PREFERENCES))
X = torch.randn(16, 6, generator=torch.Generator().manual_seed(0))


@st.composite
def ranged_plans(draw):
    """A made-up network under a budget whose limit has a range, and what makes its plan under one limit alone."""
    kind = draw(st.sampled_from(["layer_bits", "average_bits", "model_size", "bitops"]))
    bits = sorted(draw(st.sets(st.integers(1, 8), min_size=2, max_size=5)))
    rng = np.random.default_rng(draw(seeds))
    activation = None if kind == "model_size" or draw(st.booleans()) else SEARCHED
    numbers = rng.integers(8, 4000, (draw(st.integers(1, 6)), 3)).tolist()
    layers = [Footprint(f"layer{i}", a, 1, b, a * c) for i, (a, b, c) in enumerate(numbers)]
    choices = [LayerChoices(layer, SEARCHED, activation) for layer in layers]

    def alone(limit):
        return make_plan(Budget(kind, limit), choices, bits, 0)

    cheapest, dearest = (alone(1e12).uses(priced)[0].achieved for priced in alone(1e12).ends(choices))
    low = cheapest * 1.0001 + draw(shares) * (dearest - cheapest) / 2
    ends = (low, low * 1.01 + draw(shares) * dearest)
    return make_plan(Budget(kind, range=ends), choices, bits, 0), alone


def sampler_of(plan, seed, size, name="perturb-and-map", form=None):
    sampler = make_sampler(name, plan, torch.Generator().manual_seed(seed), form)
    for parameter in sampler.parameters():
        torch.nn.init.normal_(parameter, std=size, generator=torch.Generator().manual_seed(seed + 1))
    return sampler


def at(plan, share):
    low, high = plan.ranged.ends
    return min(high, low + share * (high - low))


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16, bias=False), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3))


def model(budget=None, **options):
    return SearchableModel(net(), budget or Budget("average_bits", range=(2.0, 6.0)), X, **options)


class TestDraws:
    @given(ranged_plans(), seeds, sizes, st.sampled_from([*PREFERENCES, "multinomial"]), st.floats(0.05, 10))
    @settings(max_examples=100, deadline=None)
    def test_every_draw_keeps_the_limit_that_was_drawn(self, plans, seed, size, form, temperature):
        name = "multinomial" if form == "multinomial" else "perturb-and-map"
        sampler = sampler_of(plans[0], seed, size, name, None if form == name else form)
        for _ in range(3):
            before = sampler.generator.get_state()
            problem = sampler.limited()
            sampler.generator.set_state(before)
            draw = sampler.draw(temperature)
            assert (spent_by_hand(problem, draw.candidates) <= problem.limits).all()
            assert not problem.raised(draw.candidates)[1].any(), "slack is left"
            draw.relaxed_SK.square().sum().backward()
        assert all(bool(parameter.grad.isfinite().all()) for parameter in sampler.parameters())

    @given(ranged_plans(), seeds, shares, st.floats(0.3, 5))
    @settings(max_examples=80, deadline=None)
    def test_the_problem_at_a_limit_is_that_of_the_limit_alone(self, plans, seed, share, temperature):
        plan, alone = plans[0], plans[1](at(plans[0], share))
        problem = plan.ranged.at(at(plan, share))
        assert np.array_equal(alone.problem.limits, problem.limits)
        one, other = sampler_of(plan, seed, 1.0, form="free"), sampler_of(alone, seed, 1.0, form="free")
        assert (one.solve(problem) == other.solve()).all()
        scores = one.table.scores(one.logits.detach())
        torch.testing.assert_close(
            one.table.tilt(scores, temperature, problem), other.table.tilt(scores, temperature), atol=1e-3, rtol=1e-3
        )

    def test_limits_are_spread_evenly_over_the_range(self):
        sampler = model(targets=["weight"]).sampler
        per_bit = sampler.problem.limits[0] / 4  # the range's middle is 4 bits
        seen = np.array([sampler.limited().limits[0] for _ in range(500)]) / per_bit
        assert np.quantile(seen, [0.0, 0.25, 0.5, 0.75, 1.0]) == pytest.approx([2, 3, 4, 5, 6], abs=0.25)

    def test_targets_with_ranges_of_their_own_draw_on_their_own(self):
        both = model(Budget("average_bits", range={"weight": (2, 6), "activation": (3, 5)})).sampler
        alike = model().sampler
        seen = [np.array([sampler.limited().limits for _ in range(200)]).T for sampler in (both, alike)]
        assert abs(np.corrcoef(seen[0])[0, 1]) < 0.3
        assert np.corrcoef(seen[1])[0, 1] > 0.99


class TestAnswers:
    @given(ranged_plans(), seeds, sizes, forms, shares, shares)
    @settings(max_examples=150, deadline=None)
    def test_more_budget_is_never_worse(self, plans, seed, size, form, one, other):
        """Each answer keeps its limit; fewer bits anywhere under more budget only where the total score rises."""
        plan = plans[0]
        sampler = sampler_of(plan, seed, size, form=form)
        problems = [plan.ranged.at(at(plan, share)) for share in sorted((one, other))]
        less, more = (sampler.solve(problem) for problem in problems)
        for problem, chosen in zip(problems, (less, more), strict=True):
            assert problem.keeps_budget(chosen)
            assert not problem.raised(chosen)[1].any()
        if form != "free":  # whose filled slack may lower the score
            scores = sampler.scores()
            size = np.abs(scores[problem.candidates]).sum()
            assert total(scores, more) >= total(scores, less) - 1e-7 * size

    @given(ranged_plans(), seeds, sizes, st.sampled_from(["sensitivity", "convex"]))
    @settings(max_examples=80, deadline=None)
    def test_forms_rise_and_are_concave_in_the_bits(self, plans, seed, size, form):
        sampler = sampler_of(plans[0], seed, size, form=form)
        scores, bits = sampler.scores(), np.array(sampler.problem.bits)
        slopes = np.diff(scores, axis=1) / np.diff(bits)
        assert (slopes > 0).all()
        assert (np.diff(slopes, axis=1) <= 1e-9 * slopes[:, 1:]).all()

    def test_equal_layers_start_with_equal_bits(self):
        for form in ("sensitivity", "convex"):
            found = model(Budget("layer_bits", range=(2, 6)), targets=["weight"], preferences=form, bits=[2, 3, 4, 6])
            for bits in (2, 3, 4, 6):
                assert list(found.allocation(bits).bits().values()) == [bits] * 3

    def test_convex_starts_as_sensitivity(self):
        bits = [2, 3, 4, 6, 8]
        made = [PREFERENCES[form](2, bits) for form in ("sensitivity", "convex")]
        one, other = (form.scores(form.start()) for form in made)
        one = one - one[:, :1]
        torch.testing.assert_close(one, other)

    def test_the_answer_says_its_limit(self):
        searched = model(Budget("average_bits", 3.0, range=(2.0, 6.0)))
        assert searched.limit == searched.allocation().budget.limit == 3.0
        for limit in (2.0, 2.75, 6):
            found = searched.allocation(limit)
            assert found.budget.limit == limit
            assert found.budget.achieved <= limit
        assert searched.allocation().budget.limit == 3.0
        searched.limit = 5.0
        assert searched.allocation().budget.limit == 5.0
        searched(X)
        searched.eval()(X)
        at_five = [quantizer.chosen_bits for quantizer in searched.quantizers]
        searched.allocation(2.0)
        searched(X)
        assert [quantizer.chosen_bits for quantizer in searched.quantizers] == at_five
        searched.freeze()
        assert [quantizer.chosen_bits for quantizer in searched.quantizers] == at_five

    def test_the_middle_is_the_limit_where_none_is_given(self):
        assert Budget("average_bits", range=(2.0, 6.0)).limit == 4.0
        assert Budget("average_bits", range={"weight": (2, 4), "activation": (4, 8)}).limit == {
            "weight": 3.0, "activation": 6.0,
        }  # fmt: skip

    def test_one_number_holds_for_every_target(self):
        searched = model(Budget("average_bits", range={"weight": (2, 6), "activation": (3, 5)}))
        assert searched.allocation(3.5).budget.limit == {"weight": 3.5, "activation": 3.5}
        found = searched.allocation({"weight": 2.0, "activation": 5.0})
        assert found.budget.achieved == {"weight": 2.0, "activation": pytest.approx(5, abs=1)}

    def test_further_budgets_hold_at_every_limit(self):
        searched = model([Budget("average_bits", range=(2, 8)), Budget("model_size", 260, name="size")])
        for limit in (2.0, 4.0, 8.0):
            assert all(use.achieved <= use.limit for use in searched.allocation(limit).budgets)


class TestRefusals:
    @pytest.mark.parametrize("ends", [(6, 2), (3, 3), (0, 4), (2,), (2, float("inf")), {}, {"weight": (4, 2)}, 3.0])
    def test_ranges_that_are_none(self, ends):
        with pytest.raises(BudgetError, match=r"`range` must be \[low, high\]"):
            Budget("average_bits", range=ends)

    @pytest.mark.parametrize("limit", [1.5, 7, {"weight": 3}])
    def test_a_limit_outside(self, limit):
        with pytest.raises(BudgetError, match="2 to 6"):
            Budget("average_bits", limit, range=(2, 6))
        with pytest.raises(BudgetError, match="2 to 6"):
            model().allocation(limit)

    def test_neither_limit_nor_range(self):
        with pytest.raises(BudgetError, match="limit or a range must be given"):
            Budget("average_bits")

    def test_below_the_cheapest(self):
        with pytest.raises(BudgetError, match=r"cannot be kept at 1\.5 bits.*costs 2"):
            model(Budget("average_bits", range=(1.5, 6)))

    def test_a_peak(self):
        with pytest.raises(BudgetError, match="activation_memory is a peak"):
            Budget("activation_memory", range=(100, 200))

    def test_two_ranges(self):
        with pytest.raises(BudgetError, match="one budget at most may have a range"):
            model([Budget("average_bits", range=(2, 6)), Budget("bitops", range=(5000, 9000))])

    def test_no_range(self):
        with pytest.raises(BudgetError, match="searched at 3 alone; search with a `range`"):
            model(Budget("average_bits", 3)).allocation(3)

    def test_samplers(self):
        with pytest.raises(ConfigurationError, match="needs a sampler whose draws keep it"):
            model(sampler="gumbel-softmax")
        with pytest.raises(ConfigurationError, match="preferences go with"):
            model(sampler="multinomial", preferences="convex")
        with pytest.raises(ConfigurationError, match="preferences must be one of"):
            model(preferences="linear")
        with pytest.raises(BudgetError, match="this sampler has one allocation"):
            model(sampler="uniform").allocation(3)
        assert model(sampler="uniform").allocation().budget.limit == 4
