"""Prices against hand counts, and the errors of limits that cannot be kept or do not bind."""

import re
from collections import OrderedDict
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from precsearch import Budget, BudgetError, SearchableModel
from precsearch.precision.budgets import BUDGETS, Footprint, Moment, Priced, cost_of, spend
from precsearch.precision.planning import SEARCHED, LayerChoices, Searched, make_plan

# what a limit that nothing reaches is told is tested in test_diagnosis.py
pytestmark = pytest.mark.filterwarnings("ignore:the budget .* binds nowhere")

A = Footprint("a", numel=100, rows=1, inputs=10, macs=1000)
B = Footprint("b", numel=300, rows=7, inputs=90, macs=300)
C = Footprint("c", numel=13, rows=1, inputs=5, macs=50)
LAYERS = [Priced(A, 2, 4), Priced(B, 4, 8), Priced(C, None, None)]
KINDS = ["layer_bits", "average_bits", "model_size", "bitops"]
EXAMPLE = torch.zeros(3, 1, 6, 6)


def network():
    """conv [4, 1, 3, 3] on 6x6 -> 4x4, BatchNorm, fc [5, 64], out [2, 5]."""
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(1, 4, 3),
            norm=nn.BatchNorm2d(4),
            flat=nn.Flatten(),
            fc=nn.Linear(64, 5),
            out=nn.Linear(5, 2, bias=False),
        )
    )


NUMEL = {"conv": 36, "fc": 320, "out": 10}
INPUTS = {"conv": 36, "fc": 64, "out": 5}
MACS = {"conv": 36 * 16, "fc": 320, "out": 10}
FLOATS = 4 + 5 + 4 * 4  # biases; BatchNorm's weight, bias, running mean and variance


class TestPrices:
    @pytest.mark.parametrize(
        ("kind", "scope", "expected"),
        [
            ("layer_bits", "weight", Fraction(2 + 4, 2)),
            ("layer_bits", "activation", Fraction(4 + 8, 2)),
            ("average_bits", "weight", Fraction(2 * 100 + 4 * 300, 400)),
            ("average_bits", "activation", Fraction(4 * 10 + 8 * 90, 100)),
            # packed weights; a scale each row of a quantized weight and each quantized input; floats
            ("model_size", "all", Fraction(25 + 150 + 13 * 4 + 4 * (1 + 7) + 4 * 2 + 4 * 6)),
            ("bitops", "all", Fraction(1000 * 2 * 4 + 300 * 4 * 8 + 50 * 32 * 32)),
        ],
    )
    def test_by_hand(self, kind, scope, expected):
        assert spend(BUDGETS[kind](), scope, LAYERS, float_elements=6) == expected

    def test_a_layers_bytes_round_up(self):
        assert BUDGETS["model_size"]().price(Priced(C, 3, None), "all") == 5 + 4  # 39 bits

    def test_cost_of_an_allocation(self):
        cost = cost_of(LAYERS, 6)
        assert cost.average_bits == {"weight": 3.5, "activation": 7.6}
        assert (cost.model_size, cost.bitops) == (25 + 150 + 52 + 32 + 8 + 24, 8000 + 9600 + 51200)
        assert cost_of([Priced(A, 2, None)], 0).average_bits == {"weight": 2.0}


def recount(allocation, granularity):
    """Every figure of an allocation anew, from its bits and the hand counts."""
    weight, activation = allocation.bits("weight"), allocation.bits("activation")
    rows = {"conv": 4, "fc": 5, "out": 2} if granularity == "channel" else dict.fromkeys(NUMEL, 1)
    size = 4 * FLOATS
    bitops = 0
    for name, numel in NUMEL.items():
        w, a = weight[name], activation[name]
        size += -(-numel * (w or 32) // 8) + 4 * rows[name] * (w is not None) + 4 * (a is not None)
        bitops += MACS[name] * (w or 32) * (a or 32)
    mean = {}
    for target, bits, elements in (("weight", weight, NUMEL), ("activation", activation, INPUTS)):
        names = [name for name in NUMEL if bits[name] is not None]
        if names:
            mean["layer_bits", target] = sum(bits[n] for n in names) / len(names)
            mean["average_bits", target] = sum(bits[n] * elements[n] for n in names) / sum(elements[n] for n in names)
    return size, bitops, mean


class TestAllocations:
    @pytest.mark.parametrize("granularity", ["tensor", "channel"])
    @pytest.mark.parametrize("pin", [{}, {"conv": 8}, {"fc": "float"}, {"conv": "float", "out": 5}])
    @pytest.mark.parametrize("targets", [["weight"], ["weight", "activation"], ["activation"]])
    @pytest.mark.parametrize("kind", KINDS)
    def test_what_is_reported_is_an_independent_recount(self, kind, targets, pin, granularity):
        if kind == "model_size" and "activation" in targets:
            return  # does not bind activations
        limit = {"layer_bits": 5.3, "average_bits": 5.9, "model_size": 1500, "bitops": 700_000}[kind]
        if kind == "bitops" and len(targets) == 1:
            limit *= 4
        searchable = SearchableModel(
            network(),
            Budget(kind, limit),
            EXAMPLE,
            bits=[2, 3, 4, 8],
            targets=targets,
            granularity=granularity,
            pin=pin,
            sampler="random",
        )
        allocation = searchable.allocation()
        size, bitops, mean = recount(allocation, granularity)
        assert (allocation.cost.model_size, allocation.cost.bitops) == (size, bitops)
        for (each, target), value in mean.items():
            if each == "average_bits":
                assert allocation.cost.average_bits[target] == pytest.approx(value, rel=1e-12)
        expected = {"model_size": size, "bitops": bitops}.get(kind) or max(mean[kind, t] for t in targets)
        assert allocation.budget.achieved == pytest.approx(expected, rel=1e-12)
        assert allocation.budget.achieved <= limit
        for name, bits in pin.items():
            assert allocation.bits(targets[0])[name] == (None if bits == "float" else bits)

    def test_a_limit_for_each_target(self):
        limits = {"weight": 2.5, "activation": 7.0}
        searchable = SearchableModel(network(), Budget("layer_bits", limits), EXAMPLE, bits=[2, 3, 4, 8])
        budget = searchable.allocation().budget
        assert budget.limit == limits
        assert budget.achieved == budget.by_target == {"weight": 7 / 3, "activation": 20 / 3}

    def test_one_limit_for_both_targets_reports_the_larger(self):
        searchable = SearchableModel(network(), Budget("average_bits", 3.9), EXAMPLE, bits=[2, 3, 4, 8])
        budget = searchable.allocation().budget
        assert budget.achieved == max(budget.by_target.values()) <= 3.9


def choices(*layers, activation=None):
    return [LayerChoices(layer, SEARCHED, activation) for layer in layers]


class TestLimits:
    @given(st.decimals(2, 8, places=2), st.integers(1, 40))
    @settings(max_examples=80, deadline=None)
    def test_decimals_are_exact(self, limit, layers):
        """As written, not as the nearest binary number."""
        footprints = [Footprint(f"l{i}", 1, 1, 1, 1) for i in range(layers)]
        plan = make_plan(Budget("layer_bits", float(limit)), choices(*footprints), [2, 3, 8], 0)
        assert plan.problem.limits.tolist() == [float(int(Fraction(limit) * layers))]

    @pytest.mark.parametrize(("limit", "layers", "spent"), [(2.28, 25, 57), (4.1, 30, 123), (4.64, 25, 116)])
    def test_decimals_that_are_lost_in_binary(self, limit, layers, spent):
        assert int(limit * layers) == spent - 1  # what floats make of it
        footprints = [Footprint(f"l{i}", 1, 1, 1, 1) for i in range(layers)]
        for number in (limit, np.float64(limit)):
            assert make_plan(Budget("layer_bits", number), choices(*footprints), [2, 8], 0).problem.limits == spent

    @given(st.integers(2, 400), st.data())
    @settings(max_examples=200, deadline=None)
    def test_a_cost_as_it_was_printed_is_a_limit_that_it_keeps(self, layers, data):
        """254/239, rounded down to a float, is less than what it was printed for."""
        spent = data.draw(st.integers(2 * layers, 8 * layers - 1))
        footprints = [Footprint(f"l{i}", 1, 1, 1, 1) for i in range(layers)]
        plan = make_plan(Budget("layer_bits", spent / layers), choices(*footprints), [2, 3, 8], 0)
        assert plan.problem.limits.tolist() == [float(spent)]

    @given(st.integers(0, 2**30), st.sampled_from(KINDS), st.integers(1, 8))
    @settings(max_examples=80, deadline=None)
    def test_the_cheapest_cost_is_named_and_works(self, seed, kind, layers):
        rng = np.random.default_rng(seed)
        footprints = [
            Footprint(f"l{i}", *(int(n) for n in np.exp(rng.uniform(1, [14, 6, 12, 16])) + 4)) for i in range(layers)
        ]
        what = [LayerChoices(f, SEARCHED, None if kind == "model_size" else SEARCHED) for f in footprints]
        what += [LayerChoices(Footprint("pinned", 50, 2, 20, 70), 7, 7)]
        with pytest.raises(BudgetError, match="cheapest possible allocation") as caught:
            make_plan(Budget(kind, 1e-3), what, [2, 4], 9)
        named = float(re.search(r"costs ([\d.]+);", str(caught.value)).group(1))
        limit = named
        if kind in ("layer_bits", "average_bits"):  # the activations' cheapest cost is named next
            try:
                make_plan(Budget(kind, limit), what, [2, 4], 9)
            except BudgetError as error:
                limit = float(re.search(r"costs ([\d.]+);", str(error)).group(1))
        plan = make_plan(Budget(kind, limit), what, [2, 4], 9)
        assert plan.problem.keeps_budget(plan.problem.feasible)
        with pytest.raises(BudgetError):
            make_plan(Budget(kind, named * 0.999), what, [2, 4], 9)

    def test_pins_are_counted(self):
        what = [LayerChoices(A, SEARCHED, None), LayerChoices(B, 8, None), LayerChoices(C, None, None)]
        assert make_plan(Budget("layer_bits", 6), what, [2, 4], 0).problem.limits == 12 - 8
        assert make_plan(Budget("average_bits", 7), what, [2, 4], 0).problem.limits == 400 * 7 - 300 * 8
        with pytest.raises(BudgetError, match=r"cannot be kept at 4\.5 bits: .* costs 5;"):
            make_plan(Budget("layer_bits", 4.5), what, [2, 4], 0)

    @pytest.mark.parametrize(
        ("budget", "activation", "told"),
        [
            (Budget("model_size", 1e6), SEARCHED, "does not count the bits of the activations"),
            (Budget("layer_bits", {"weight": 3}), SEARCHED, "has no 'activation'"),
            (Budget("layer_bits", {"activation": 3}), None, "has no 'weight'"),
            (Budget("bitops", {"weight": 3}), SEARCHED, "binds weights and activations together"),
        ],
    )
    def test_unbound_targets(self, budget, activation, told):
        with pytest.raises(BudgetError, match=told):
            make_plan(budget, choices(A, B, activation=activation), [2, 4], 0)

    def test_nothing_to_search(self):
        with pytest.raises(BudgetError, match="every layer is pinned"):
            make_plan(Budget("layer_bits", 8), [LayerChoices(A, 8, 8)], [2, 4], 0)

    @pytest.mark.parametrize("limit", [0, -1.0, float("nan"), float("inf"), {"weight": 3, "activation": 0}])
    def test_limits_are_positive_and_finite(self, limit):
        with pytest.raises(BudgetError, match="positive, finite"):
            Budget("layer_bits", limit)

    def test_unknown_kind(self):
        with pytest.raises(BudgetError, match=r"one of layer_bits, average_bits, .*, energy, but got 'bits'"):
            Budget("bits", 3)


def told(budgets, what, bits=(2, 4)):
    with pytest.raises(BudgetError) as caught:
        make_plan(budgets, what, bits, 0)
    return str(caught.value)


class TestSeveral:
    """What is said of several budgets; that they are kept is for test_several_budgets.py."""

    def test_every_impossible_budget_is_named(self):
        said = told([Budget("layer_bits", 1.5), Budget("average_bits", 3), Budget("model_size", 10, name="flash")],
                    choices(A, B))  # fmt: skip
        assert "layer_bits of the weights cannot be kept at 1.5 bits" in said
        assert "flash (model_size) cannot be kept at 10 bytes" in said
        assert "average_bits" not in said

    def test_tables_that_exclude_each_other(self, tmp_path):
        table = tmp_path / "t.csv"
        table.write_text("layer,weight_bits,cost\na,2,9\na,4,1\nb,*,0\n")
        pull = Budget("latency", 5, table=str(table))
        said = told([Budget("layer_bits", 2), pull], choices(A, B))
        assert "each can be kept alone" in said and "layer_bits <= 2; latency <= 5" in said
        plan = make_plan([Budget("layer_bits", 3), pull], choices(A, B), [2, 4], 0)
        assert plan.problem.feasible.tolist() == [1, 0]

    def test_a_target_may_be_bound_by_any_of_them(self):
        what = choices(A, B, activation=SEARCHED)
        plan = make_plan([Budget("model_size", 150), Budget("layer_bits", {"activation": 3})], what, [2, 4], 0)
        assert len(plan.constraints) == 2
        assert "does not count the bits of the activations" in told([Budget("model_size", 150)], what)

    def test_layers_that_are_named(self):
        plan = make_plan([Budget("layer_bits", 4), Budget("average_bits", 2, layers=["b*"])], choices(A, B), [2, 4], 0)
        assert [budget.kind for budget in plan.loose] == ["layer_bits"]
        assert plan.problem.raised(plan.problem.start)[1].tolist() == [True, False]
        assert "no layer 'bb'; did you mean 'b'?" in told(Budget("layer_bits", 4, layers=["bb"]), choices(A, B))

    @pytest.mark.parametrize("layers", ["fc", ()])
    def test_layers_is_a_list(self, layers):
        with pytest.raises(BudgetError, match="a list of names"):
            Budget("layer_bits", 3, layers=layers)

    def test_no_budget(self):
        assert "at least one budget" in told([], choices(A))


class TestShared:
    """Slots that several layers share."""

    def test_a_residual_group_is_a_star(self):
        shared = Searched(None, "block")
        plan = make_plan(Budget("bitops", 20_000), [LayerChoices(f, SEARCHED, shared) for f in (A, B)], [2, 4], 0)
        problem = plan.problem
        assert [slot.name for slot in problem.slots] == ["a.weight", "b.weight", "a.activation + b.activation"]
        assert problem.hub.tolist() == [2, 2, 3]
        assert problem.spent(np.array([1, 0, 1])) == 1000 * 4 * 4 + 300 * 2 * 4

    def test_what_is_no_star_is_refused(self):
        ring = [
            LayerChoices(A, Searched(None, "w"), Searched(None, "x")),
            LayerChoices(B, Searched(None, "w"), SEARCHED),
            LayerChoices(C, SEARCHED, Searched(None, "x")),
        ]
        said = told(Budget("bitops", 1e6), ring)
        assert "put the layers a, b, c in one group" in said
        assert make_plan(Budget("average_bits", 3), ring, [2, 4], 0)

    def test_candidates_in_common(self):
        two = [LayerChoices(A, Searched((2, 4), "g")), LayerChoices(B, Searched((4, 8), "g"))]
        plan = make_plan(Budget("layer_bits", 5), two, [2, 4, 8], 0)
        assert plan.problem.candidates.tolist() == [[False, True, False]]
        two = [LayerChoices(A, Searched((2,), "g")), LayerChoices(B, Searched((8,), "g"))]
        assert "a.weight + b.weight have none" in told(Budget("layer_bits", 5), two)

    def test_a_tied_weight_counts_once(self):
        tied = Footprint("d", 100, 1, 20, 500, tied_to="a")
        layers = [Priced(A, 2, 4), Priced(tied, 2, 8)]
        assert spend(BUDGETS["average_bits"](), "weight", layers, 0) == 2
        assert spend(BUDGETS["layer_bits"](), "weight", layers, 0) == 2
        assert spend(BUDGETS["model_size"](), "all", layers, 0) == 25 + 4 + 4 + 4
        assert spend(BUDGETS["bitops"](), "all", layers, 0) == 1000 * 8 + 500 * 16

    def test_gradients_have_budgets(self):
        layers = [Footprint("a", 10, 1, 3, 9, outputs=30), Footprint("b", 10, 1, 3, 9, outputs=10)]
        what = [LayerChoices(layer, None, None, SEARCHED) for layer in layers]
        plan = make_plan(Budget("average_bits", 5.5), what, [4, 8], 0)
        assert plan.problem.limits.tolist() == [220] and plan.problem.cost[0, :, 0].tolist() == [[120, 240], [40, 80]]
        assert plan.uses(plan.layout.price_at(what, np.array([0, 1])))[0].by_target == {"gradient": 5.0}
        assert "does not count the bits of the gradients" in told(Budget("bitops", 1e9), what)


class TestMemory:
    MOMENTS = (Moment("a", (("a", 10), ("b", 90))), Moment("b", (("b", 90), (None, 2))), Moment("c", (("b", 9),)))

    def test_by_hand(self):
        cost = cost_of([Priced(A, 2, 3), Priced(B, 2, 4), Priced(C, 2, None)], 0, self.MOMENTS)
        assert cost.activation_memory == max(4 + 45, 45 + 8, 5)  # 30 bits are 4 bytes

    def test_moments_that_others_imply_are_left_out(self):
        what = [LayerChoices(A, 8, SEARCHED), LayerChoices(B, 8, SEARCHED), LayerChoices(C, 8, 8)]
        plan = make_plan(Budget("activation_memory", 40), what, [2, 4], 0, self.MOMENTS)
        assert [scope for _, scope in plan.constraints] == [0, 1]

    def test_only_while_some_layers_run(self):
        plan = make_plan([Budget("layer_bits", 9), Budget("activation_memory", 3, layers=["c"])],
                         [LayerChoices(f, None, SEARCHED) for f in (A, B, C)], [2, 4], 0, self.MOMENTS)  # fmt: skip
        assert plan.problem.raised(plan.problem.start)[1].tolist() == [True, False, True]

    def test_what_is_not_searched_may_be_too_much(self):
        what = [*choices(A, B), LayerChoices(C, 8, 8)]
        said = told([Budget("layer_bits", 4), Budget("activation_memory", 100)], what)
        assert "activation_memory cannot be kept at 100 bytes: what is not searched costs 400" in said
