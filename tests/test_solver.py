"""The knapsack against exhaustive enumeration."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import BITS, any_problems, every_allocation, plans, problems, random_scores, spent_by_hand, total

from precsearch.precision.exact import best_choice, solve_exactly
from precsearch.precision.feasible import make_problem, with_feasible
from precsearch.precision.problem import Slot
from precsearch.precision.relaxation import _relax_alone, _relax_separable, relax, repair
from precsearch.precision.solver import best_uniform, fill_slack, maximize

quick = settings(max_examples=100, deadline=None)
seeds = st.integers(0, 2**30)
sizes = st.sampled_from([1e-3, 1.0, 50.0])


def single_slots(costs, limit, bits=(2, 4, 8)):
    slots = [Slot(((f"layer{u}", "weight"),)) for u in range(len(costs))]
    return make_problem(slots, bits[: len(costs[0])], np.array(costs, float)[None, :, None, :], [limit])


@pytest.mark.parametrize("size", [1e-3, 1.0, 50.0])
class TestExact:
    @given(problems(), seeds)
    @quick
    def test_optimal(self, size, problem, seed):
        """Coupled budgets, stars and own candidates as well."""
        scores = random_scores(problem, seed, size)
        best = total(scores, every_allocation(problem)).max()
        exact = best_choice(scores, problem)
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
        exact = best_choice(scores, problem)
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
        found = best_choice(scores, problem)
        assert problem.keeps_budget(found)
        assert total(scores, found) == pytest.approx(table.max(), rel=1e-8, abs=1e-8)


class TestEveryResult:
    @given(st.one_of(problems(most_slots=6), plans(most_layers=6).map(lambda plan: plan.problem)), seeds, sizes)
    @settings(max_examples=250, deadline=None)
    def test_keeps_the_budgets_and_leaves_no_room(self, problem, seed, size):
        scores = random_scores(problem, seed, size)
        exact = solve_exactly(scores, problem)
        filled = fill_slack(maximize(scores, problem), scores, problem)
        for chosen in (exact, filled):
            assert problem.candidates[np.arange(len(chosen)), chosen].all()
            assert (spent_by_hand(problem, chosen) <= problem.limits).all()
            assert not problem.raised(chosen)[1].any()
            for slot, k in np.argwhere(problem.candidates):
                if k > chosen[slot]:
                    more = chosen.copy()
                    more[slot] = k
                    assert not problem.keeps_budget(more)

    @given(problems(most_slots=6, monotone=True), seeds, sizes)
    @quick
    def test_maximize_is_no_worse_than_the_cheapest(self, problem, seed, size):
        scores = random_scores(problem, seed, size)
        chosen = maximize(scores, problem)
        assert problem.keeps_budget(chosen)
        if problem.tight.separable:
            assert total(scores, chosen) >= total(scores, problem.feasible) - 1e-9 * size

    @given(problems(), seeds)
    @settings(max_examples=150, deadline=None)
    def test_maximize_comes_within_one_star_of_the_best(self, problem, seed):
        """The bisection's gap is at most one star's (the bound of the Lagrangian for a knapsack), per constraint."""
        scores = random_scores(problem, seed)
        found = total(scores, maximize(scores, problem))
        best = total(scores, every_allocation(problem)).max()
        finite = np.where(problem.candidates, scores, np.nan)
        spread = np.bincount(problem.center, np.nanmax(finite, 1) - np.nanmin(finite, 1))
        if problem.tight.separable:
            assert found >= best - len(problem.limits) * spread.max() - 1e-9

    @given(seeds)
    @quick
    def test_tenths_round_and_the_budget_holds_all_the_same(self, seed):
        """Costs are whole numbers by contract; where 0.1 + 0.2 > 0.3 all the same, the sum counts as over."""
        rng = np.random.default_rng(seed)
        costs = np.cumsum(rng.integers(1, 5, (5, 3)) / 10, axis=1)
        problem = single_slots(costs.tolist(), round(float(rng.uniform(costs[:, 0].sum() + 0.05, costs.sum())), 1))
        scores = random_scores(problem, seed)
        for chosen in (solve_exactly(scores, problem), fill_slack(maximize(scores, problem), scores, problem)):
            assert problem.keeps_budget(chosen)

    @given(problems(monotone=True))
    @quick
    def test_best_uniform(self, problem):
        found = best_uniform(problem)
        assert problem.keeps_budget(found)
        tight = problem.tight
        for group in set(tight.group):
            rows = tight.group == group
            slots = tight.spends[rows].any(0)
            more = np.array([
                next((k for k in range(own.size) if own[k] and k > chosen), chosen)
                for own, chosen in zip(problem.candidates, found, strict=True)
            ])  # fmt: skip
            higher = more[slots & (more > found)]
            if len(higher):  # the next bit-width that any of them could have, given to all that have it
                below = problem.candidates & (np.arange(len(problem.bits)) <= higher.min())
                alike = np.where(below.any(1), len(problem.bits) - 1 - below[:, ::-1].argmax(1), found)
                assert (tight.spent(np.where(slots, alike, found)) > tight.limits)[rows].any()

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


class TestAlone:
    @given(problems(most_slots=6), seeds, sizes)
    @settings(max_examples=200, deadline=None)
    def test_slopes_and_bisection_find_the_same(self, problem, seed, size):
        """Searching the slopes is a shortcut for halving the multipliers."""
        tight = problem.tight
        if not tight.separable or len(tight.leaves):
            return
        scores = random_scores(problem, seed, size)
        (found, multipliers), (halved, roughly) = _relax_alone(scores, tight), _relax_separable(scores, tight)
        assert problem.keeps_budget(found)
        assert found.tolist() == halved.tolist()
        assert ((multipliers > 0) == (roughly > 0)).all()


class TestCoupled:
    @given(problems(most_slots=6, monotone=True), seeds)
    @settings(max_examples=150, deadline=None)
    def test_the_relaxation_keeps_every_limit(self, problem, seed):
        chosen, multipliers = relax(random_scores(problem, seed), problem.tight)
        assert problem.keeps_budget(chosen)
        assert (multipliers >= 0).all()

    def test_two_budgets_that_pull_apart(self):
        """One budget counts the first slot dearly, the other the second: what either alone allows breaks the other."""
        cost = np.array([[[[0, 5]], [[0, 1]]], [[[0, 1]], [[0, 5]]]], dtype=float)
        problem = make_problem([Slot(((name, "weight"),)) for name in "ab"], [2, 4], cost, [5, 5])
        for scores, best in (([[0, 2.0], [0, 1.0]], [1, 0]), ([[0, 1.0], [0, 2.0]], [0, 1])):
            assert solve_exactly(np.array(scores), problem).tolist() == best
            assert maximize(np.array(scores), problem).tolist() == best

    @given(any_problems(monotone=False), seeds)
    @settings(max_examples=300, deadline=None)
    def test_infeasible_and_feasible_are_told_apart(self, problem, seed):
        found = with_feasible(problem)
        assert (found is None) == (len(every_allocation(problem)) == 0)
        if found is not None:
            assert problem.keeps_budget(found.feasible)
            assert found.candidates[np.arange(len(found.slots)), found.feasible].all()
            start = random_scores(problem, seed).argmax(1)
            assert found.keeps_budget(repair(start, random_scores(problem, seed), found))


class TestFillSlack:
    def test_by_score(self):
        problem = single_slots([[1, 2], [1, 2], [1, 2]], 4)
        scores = np.array([[0, -5.0], [0, -1.0], [0, -3.0]])
        assert fill_slack(np.zeros(3, int), scores, problem).tolist() == [0, 1, 0]

    @given(problems(most_slots=6), seeds)
    @quick
    def test_never_takes_bits_away(self, problem, seed):
        before = problem.feasible
        assert (fill_slack(before, random_scores(problem, seed), problem) >= before).all()


class TestProblem:
    @given(problems(most_slots=6), seeds)
    @quick
    def test_the_best_choice_without_limits(self, problem, seed):
        """Of any values by hub's candidate and own, star by star."""
        value = np.random.default_rng(seed).normal(size=problem.cost.shape[1:])
        value = np.where(problem.candidates[:, None, :], value, -np.inf)
        count = len(problem.slots)

        def worth(chosen):
            return sum(value[s, chosen[h] if h < count else 0, chosen[s]] for s, h in enumerate(problem.hub))

        loose = make_problem(problem.slots, problem.bits, problem.cost, [1e12] * len(problem.limits),
                             candidates=problem.candidates, hub=problem.hub)  # fmt: skip
        assert worth(problem.best(value)) == pytest.approx(max(map(worth, every_allocation(loose))))

    @given(problems(most_slots=6), seeds)
    @quick
    def test_extra_is_the_difference(self, problem, seed):
        """What each single move adds, and whether it fits: also to the last bit of the limit."""
        allowed = every_allocation(problem) if len(problem.slots) <= 5 else problem.feasible[None]
        chosen = allowed[seed % len(allowed)]
        assert (problem.spent(chosen) == spent_by_hand(problem, chosen)).all()
        extra = problem.extra(chosen)
        fits, price = problem.moves(chosen)
        for slot, k in np.argwhere(problem.candidates):
            moved = chosen.copy()
            moved[slot] = k
            after = spent_by_hand(problem, moved)
            assert (problem.spent(chosen) + extra[:, slot, k] == after).all()
            more = np.maximum(extra[:, slot, k], 0) / problem.scale
            assert price[slot, k] == pytest.approx(more.sum(), rel=1e-12, abs=0)
            assert fits[slot, k] == (after <= problem.limits).all() == problem.keeps_budget(moved)

    def test_by_hand(self):
        """Slots a.weight (a leaf), a.activation (its hub), b.weight."""
        slots = [Slot((("a", "weight"),)), Slot((("a", "activation"),)), Slot((("b", "weight"),))]
        cost = np.array([[[[4, 8], [8, 16]], [[0, 0], [0, 0]], [[1, 2], [0, 0]]]], dtype=float)
        problem = make_problem(slots, [2, 4], cost, [11.0], hub=np.array([1, 3, 3]))
        assert problem.spent(np.array([1, 0, 1])).tolist() == [10]
        assert [problem.keeps_budget(np.array(c)) for c in ([1, 0, 1], [1, 1, 0])] == [True, False]
        assert problem.feasible.tolist() == problem.extreme(0, -1.0).tolist() == [0, 0, 0]
        assert problem.extreme(0, 1.0).tolist() == [1, 1, 1]
        assert problem.raised(np.array([0, 0, 0]))[1].tolist() == [True, True, True]
        assert problem.raised(np.array([0, 1, 0]))[1].tolist() == [False, False, True]
        assert problem.center.tolist() == [1, 1, 2] and problem.separable
        assert slots[1].name == "a.activation"
