"""The knapsack against exhaustive enumeration."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import BITS, every_allocation, plans, problems, random_scores, total

from precsearch.precision.problem import Slot, make_problem
from precsearch.precision.solver import best_options, best_uniform, fill_slack, maximize, solve_exactly

quick = settings(max_examples=100, deadline=None)
seeds = st.integers(0, 2**30)
sizes = st.sampled_from([1e-3, 1.0, 50.0])


def single_slots(costs, limit, bits=(2, 4, 8)):
    slots = [Slot(((f"layer{u}", "weight"),)) for u in range(len(costs))]
    return make_problem(
        slots, bits[: len(costs[0])], [((u,), np.array(c, float), 0) for u, c in enumerate(costs)], [limit]
    )


@pytest.mark.parametrize("size", [1e-3, 1.0, 50.0])
class TestExact:
    @given(problems(), seeds)
    @quick
    def test_optimal(self, size, problem, seed):
        scores = random_scores(problem, seed, size)
        best = total(scores, every_allocation(problem)).max()
        exact = best_options(scores, problem)
        assert problem.keeps_budget(exact)
        assert total(scores, exact) == pytest.approx(best, rel=1e-9, abs=1e-9 * size)

    @given(plans(most_layers=3), seeds)
    @quick
    def test_optimal_for_networks(self, size, plan, seed):
        """Real costs: one layer may have a thousand times the weights of another."""
        problem = plan.problem
        scores = random_scores(problem, seed, size)
        best = total(scores, every_allocation(problem)).max()
        found = solve_exactly(scores, problem)
        assert problem.keeps_budget(found)
        # Filling the slack may only cost score once the best allocation leaves room.
        exact = best_options(scores, problem)
        assert total(scores, exact) == pytest.approx(best, rel=1e-9, abs=1e-9 * size)


class TestManyLayers:
    @given(seeds, st.integers(5, 40), st.sampled_from(["free", "rising", "noise law", "in proportion", "equal"]))
    @quick
    def test_optimal_against_dynamic_programming(self, seed, units, kind):
        rng = np.random.default_rng(seed)
        bits = np.array(BITS)
        weights = np.exp(rng.uniform(0, 5, units)).astype(int) + 1
        costs = weights[:, None] * bits
        scores = {
            "free": lambda: rng.normal(size=costs.shape),
            "rising": lambda: np.sort(rng.normal(size=costs.shape), axis=1),
            "noise law": lambda: -rng.uniform(0.1, 5, (units, 1)) * 4.0**-bits,
            "in proportion": lambda: costs / 100 * (1 + 1e-3 * rng.normal(size=costs.shape)),
            "equal": lambda: np.zeros(costs.shape),
        }[kind]()
        limit = int(rng.uniform(costs[:, 0].sum(), costs[:, -1].sum()))
        problem = single_slots(costs.tolist(), float(limit), BITS)
        table = np.full(limit + 1, -np.inf)
        table[0] = 0
        for cost, score in zip(costs, scores, strict=True):
            new = np.full(limit + 1, -np.inf)
            for c, s in zip(cost[cost <= limit], score[cost <= limit], strict=True):
                new[c:] = np.maximum(new[c:], table[: limit + 1 - c] + s)
            table = new
        found = best_options(scores, problem)
        assert problem.keeps_budget(found)
        assert total(scores, found) == pytest.approx(table.max(), rel=1e-8, abs=1e-8)


class TestEveryResult:
    @given(problems(most_units=6), seeds, sizes)
    @quick
    def test_keeps_the_budget_and_leaves_no_room(self, problem, seed, size):
        scores = random_scores(problem, seed, size)
        exact = solve_exactly(scores, problem)
        filled = fill_slack(maximize(scores, problem), scores, problem)
        for options in (exact, filled):
            assert problem.valid[np.arange(problem.units), options].all()
            assert (problem.spent(options) <= problem.limits).all()
            raised, fits = problem.raised(options)
            assert not fits.any()
            for slot, unit in enumerate(problem.unit_of):  # `raised` itself by hand
                candidates = problem.slot_candidates(options)
                candidates[slot] += 1
                if candidates[slot] < len(problem.bits):
                    assert not problem.keeps_budget(problem.options_of(candidates))
                    assert raised[slot] == problem.options_of(candidates)[unit]

    @given(problems(most_units=6), seeds, sizes)
    @quick
    def test_maximize_is_no_worse_than_the_cheapest(self, problem, seed, size):
        scores = random_scores(problem, seed, size)
        options = maximize(scores, problem)
        assert problem.keeps_budget(options)
        assert total(scores, options) >= total(scores, problem.cheapest()) - 1e-9 * size

    @given(problems(), seeds)
    @settings(max_examples=150, deadline=None)
    def test_maximize_comes_within_one_unit_of_the_best(self, problem, seed):
        """The bisection's gap is at most one unit's (the bound of the Lagrangian for a knapsack), per constraint."""
        scores = random_scores(problem, seed)
        found = total(scores, maximize(scores, problem))
        best = total(scores, every_allocation(problem)).max()
        finite = np.where(problem.valid, scores, np.nan)
        spread = np.nanmax(finite, 1) - np.nanmin(finite, 1)
        assert found >= best - len(problem.limits) * spread.max() - 1e-9

    @given(seeds)
    @quick
    def test_tenths_round_and_the_budget_holds_all_the_same(self, seed):
        """Costs are whole numbers by contract; where 0.1 + 0.2 > 0.3 all the same, the sum counts as over."""
        rng = np.random.default_rng(seed)
        costs = np.cumsum(rng.integers(1, 5, (5, 3)) / 10, axis=1)
        problem = single_slots(costs.tolist(), round(float(rng.uniform(costs[:, 0].sum() + 0.05, costs.sum())), 1))
        scores = random_scores(problem, seed)
        for options in (solve_exactly(scores, problem), fill_slack(maximize(scores, problem), scores, problem)):
            assert problem.keeps_budget(options)

    @given(problems())
    @quick
    def test_best_uniform(self, problem):
        found = problem.slot_candidates(best_uniform(problem))
        assert problem.keeps_budget(problem.options_of(found))
        for c in range(len(problem.limits)):
            slots = problem.constraint[problem.unit_of] == c
            (candidate,) = set(found[slots])  # alike
            if candidate + 1 < len(problem.bits):
                more = problem.options_of(np.where(slots, candidate + 1, found))
                assert not problem.keeps_budget(more)

    def test_many_solves_print_nothing(self, capfd):
        """stdout belongs to --json; a C library's own prints would come past Python's."""
        rng = np.random.default_rng(0)
        for _ in range(150):
            units = int(rng.integers(1, 12))
            costs = np.cumsum(rng.integers(0, 50, (units, 3)), axis=1)
            problem = single_slots(costs.tolist(), float(costs[:, 0].sum() + rng.integers(0, 100)))
            solve_exactly(random_scores(problem, int(rng.integers(2**30))), problem)
        captured = capfd.readouterr()
        assert (captured.out, captured.err) == ("", "")


class TestFillSlack:
    def test_by_score(self):
        problem = single_slots([[1, 2], [1, 2], [1, 2]], 4)
        scores = np.array([[0, -5.0], [0, -1.0], [0, -3.0]])
        assert fill_slack(np.zeros(3, int), scores, problem).tolist() == [0, 1, 0]

    @given(problems(most_units=6), seeds)
    @quick
    def test_never_takes_bits_away(self, problem, seed):
        scores = random_scores(problem, seed)
        before = problem.slot_candidates(problem.cheapest())
        options = fill_slack(problem.options_of(before), scores, problem)
        assert (problem.slot_candidates(options) >= before).all()


class TestProblem:
    @given(problems(most_units=6), seeds)
    @quick
    def test_candidates_and_options_are_two_words_for_one_thing(self, problem, seed):
        rng = np.random.default_rng(seed)
        candidates = rng.integers(0, len(problem.bits), len(problem.slots))
        options = problem.options_of(candidates)
        assert problem.valid[np.arange(problem.units), options].all()
        assert (problem.slot_candidates(options) == candidates).all()
        assert (problem.options_of(problem.slot_candidates(options)) == options).all()

    @given(problems(most_units=6), seeds)
    @quick
    def test_an_options_score_is_its_slots(self, problem, seed):
        rng = np.random.default_rng(seed)
        slot_scores = rng.normal(size=(len(problem.slots), len(problem.bits)))
        candidates = rng.integers(0, len(problem.bits), len(problem.slots))
        chosen = total(problem.option_scores(slot_scores), problem.options_of(candidates))
        assert chosen == pytest.approx(slot_scores[np.arange(len(candidates)), candidates].sum())

    @given(problems(most_units=6), seeds)
    @quick
    def test_raised_says_exactly_what_fits(self, problem, seed):
        """Also where the next candidate uses up the limit to the last bit."""
        allowed = every_allocation(problem) if problem.units <= 4 else problem.cheapest()[None]
        options = allowed[seed % len(allowed)]
        raised, fits = problem.raised(options)
        for slot, unit in enumerate(problem.unit_of):
            candidates = problem.slot_candidates(options)
            candidates[slot] += 1
            if candidates[slot] == len(problem.bits):
                assert not fits[slot]
                continue
            more = problem.options_of(candidates)
            assert (raised[slot], fits[slot]) == (more[unit], problem.keeps_budget(more))

    def test_by_hand(self):
        pair = np.array([[4.0, 8], [8, 16]])
        slots = [Slot((("a", "weight"),)), Slot((("a", "activation"),)), Slot((("b", "weight"),))]
        problem = make_problem(slots, [2, 4], [((0, 1), pair, 0), ((2,), np.array([1.0, 2]), 0)], [11.0])
        assert problem.spent(problem.options_of([1, 0, 1])).tolist() == [10]
        assert [problem.keeps_budget(problem.options_of(c)) for c in ([1, 0, 1], [1, 1, 0])] == [True, False]
        assert problem.slot_candidates(problem.cheapest()).tolist() == [0, 0, 0]
        assert problem.slot_candidates(problem.dearest()).tolist() == [1, 1, 1]
        assert problem.raised(problem.options_of([0, 0, 0]))[1].tolist() == [True, True, True]
        assert problem.raised(problem.options_of([0, 1, 0]))[1].tolist() == [False, False, True]
        assert slots[1].name == "a.activation"
