"""Every draw and every answer keeps every budget, and what is reported is what a hand counts."""

import csv
import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from precsearch import Budget, BudgetError
from precsearch.precision.budgets import Footprint, Moment
from precsearch.precision.planning import SEARCHED, LayerChoices, Searched, make_plan
from precsearch.precision.samplers import SAMPLERS

BITS = (2, 3, 4, 8)
DRAWN = ["perturb-and-map", "multinomial", "uniform", "random"]


def network(rng, layers, groups=True):
    """Layers with random sizes, ties, shared activations, own candidates, pins; and what is in memory when."""
    made = []
    for i in range(layers):
        numel, inputs, calls = (int(n) for n in np.exp(rng.uniform(0, [6, 5, 4])) + 4)
        tied = f"l{int(rng.integers(0, i))}" if groups and i and rng.random() < 0.25 else None
        while tied is not None and (owner := made[int(tied[1:])].layer).tied_to is not None:
            tied = owner.tied_to
        if tied is not None:
            numel = owner.numel
        foot = Footprint(f"l{i}", numel, 1 + int(rng.integers(0, 3)), inputs, numel * calls, outputs=7 + i,
                         tied_to=tied, type=("Linear", "Conv2d")[i % 2], shape=(numel,))  # fmt: skip
        own = tuple(sorted(rng.choice(BITS, int(rng.integers(1, 5)), replace=False).tolist()))
        weight = made[int(tied[1:])].weight if tied else Searched(own, f"w{i}")
        shared = Searched(None, f"a{int(rng.integers(0, 2))}") if groups and rng.random() < 0.4 else SEARCHED
        pin = rng.random()
        activation = 5 if pin < 0.1 else None if pin < 0.2 else shared
        made.append(LayerChoices(foot, weight, activation))
    made[0] = LayerChoices(made[0].layer, Searched(BITS, "w0"), SEARCHED)
    made = [LayerChoices(m.layer, made[int(m.layer.tied_to[1:])].weight, m.activation) if m.layer.tied_to else m
            for m in made]  # fmt: skip
    moments = [Moment(f"l{i}", ((f"l{i}", made[i].layer.inputs), (f"l{(i + 1) % layers}", 9 + i), (None, 3)))
               for i in range(layers)]  # fmt: skip
    return made, moments


def write_table(path, rng, names, monotone):
    """A row for each layer and pair of bits; decimals."""
    costs = {}
    widths = (*BITS, 5, "float")
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["layer", "weight_bits", "activation_bits", "cost"])
        for name in names:
            scale = int(rng.integers(1, 400))
            for w, a in itertools.product(widths, widths):
                rising = scale * (32 if w == "float" else w) * (32 if a == "float" else a)
                cost = rising if monotone else int(rng.integers(0, 4000))
                costs[name, w, a] = Fraction(cost, 1000)
                writer.writerow([name, w, a, f"{cost / 1000:.3f}"])
    return costs


def by_hand(budget, layers, moments, float_elements, costs):
    """Scope -> what is spent, by a count that knows nothing of the code under test; layers are (layer, w, a)."""
    names = [f.name for f, _, _ in layers]
    own = [row for row in layers if budget.layers is None or row[0].name in budget.layers]
    seen, weights = set(), []
    for f, w, _ in own:
        owner = f.tied_to or f.name
        if owner not in seen:
            seen.add(owner)
            weights.append((f, w))
    if budget.kind in ("layer_bits", "average_bits"):
        spent = {}
        parts = {"weight": [(w, f.numel) for f, w in weights], "activation": [(a, f.inputs) for f, _, a in own]}
        for target, part in parts.items():
            counted = [(b, 1 if budget.kind == "layer_bits" else n) for b, n in part if b is not None]
            if counted:
                spent[target] = Fraction(sum(b * n for b, n in counted), sum(n for _, n in counted))
        return spent
    if budget.kind == "model_size":
        size = sum(-(-f.numel * (w or 32) // 8) + (4 * f.rows if w else 0) for f, w in weights)
        return {"all": size + sum(4 for _, _, a in own if a) + (4 * float_elements if budget.layers is None else 0)}
    if budget.kind == "bitops":
        return {"all": sum(f.macs * (w or 32) * (a or 32) for f, w, a in own)}
    if budget.kind == "activation_memory":
        bits = {f.name: a or 32 for f, _, a in layers}
        ran = [m for m in moments if budget.layers is None or m.layer in budget.layers]
        return {"all": max(sum(-(-n * (32 if r is None else bits[r]) // 8) for r, n in m.live) for m in ran)}
    assert set(names) >= {f.name for f, _, _ in own}
    return {"all": sum(costs[f.name, w or "float", a or "float"] for f, w, a in own)}


@st.composite
def searches(draw, folder):
    rng = np.random.default_rng(draw(st.integers(0, 2**30)))
    choices, moments = network(rng, draw(st.integers(1, 5)), groups=draw(st.booleans()))
    names = [choice.layer.name for choice in choices]
    table = folder / "table.csv"
    costs = write_table(table, rng, names, monotone=draw(st.booleans()))
    kinds = draw(st.lists(st.sampled_from(
        ["layer_bits", "average_bits", "model_size", "bitops", "activation_memory", "latency", "energy"]
    ), min_size=0, max_size=3))  # fmt: skip
    budgets = [Budget("average_bits", 9.0)]  # binds both targets
    low = [choice.at(*[min(_own(choice, t)) for t in ("weight", "activation")])[:3] for choice in choices]
    high = [choice.at(*[max(_own(choice, t)) for t in ("weight", "activation")])[:3] for choice in choices]
    for kind in ["average_bits", *kinds]:
        layers = draw(st.sampled_from([None, None, tuple(names[: 1 + len(names) // 2])]))
        bare = Budget(kind, 1.0, layers=layers, table=str(table) if kind in ("latency", "energy") else None)
        ends = [max(by_hand(bare, end, moments, 11, costs).values(), default=1) for end in (low, high)]
        limit = float(ends[0]) + draw(st.floats(0, 1.1)) * float(ends[1] - ends[0])
        budgets.append(Budget(kind, max(round(limit, 3), 0.001), layers=layers, table=bare.table))
    return choices, moments, budgets, costs


def _own(choice, target):
    searched = choice.choice(target)
    return (searched.bits or BITS) if isinstance(searched, Searched) else [0]


def check(plan, candidates, choices, moments, budgets, costs):
    problem = plan.problem
    bits = {member: problem.bits[candidates[s]] for s, slot in enumerate(problem.slots) for member in slot.members}
    for s, k in enumerate(candidates):
        assert problem.candidates[s, k]
    priced = [choice.at(bits.get((choice.layer.name, "weight"), 0), bits.get((choice.layer.name, "activation"), 0))
              for choice in choices]  # fmt: skip
    for choice, row in zip(choices, priced, strict=True):
        if isinstance(choice.weight, Searched):
            assert row.weight in (choice.weight.bits or BITS)
        if row.layer.tied_to:
            assert row.weight == next(p.weight for p in priced if p.layer.name == row.layer.tied_to)
    for budget, use in zip(budgets, plan.uses(priced), strict=True):
        spent = by_hand(budget, [row[:3] for row in priced], moments, 11, costs)
        spent = {scope: value for scope, value in spent.items() if scope == "all" or scope in use.by_target}
        for value in spent.values():
            assert value <= Fraction(str(budget.limit)), (budget, candidates)
        if spent:
            assert use.achieved == pytest.approx(float(max(spent.values())), rel=1e-12)
    return priced


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_every_draw_and_every_answer_keeps_every_budget(tmp_path_factory, data):
    choices, moments, budgets, costs = data.draw(searches(tmp_path_factory.mktemp("tables", numbered=True)))
    try:
        plan = make_plan(budgets, choices, BITS, 11, moments)
    except BudgetError as error:
        assert any(told in str(error) for told in ("cannot be kept", "all at once", "in one group")), error
        return
    check(plan, plan.problem.feasible, choices, moments, budgets, costs)
    for name in DRAWN:
        sampler = SAMPLERS[name](plan.problem, torch.Generator().manual_seed(1))
        for parameter in sampler.parameters():
            torch.nn.init.normal_(parameter, std=2.0)
        for _ in range(3):
            check(plan, sampler.draw(0.5).candidates, choices, moments, budgets, costs)
        check(plan, sampler.solve(), choices, moments, budgets, costs)
        if name != "uniform":
            assert not plan.problem.raised(sampler.solve())[1].any()
    dnas = SAMPLERS["gumbel-softmax"](plan.problem, torch.Generator().manual_seed(1))
    check(plan, dnas.solve(), choices, moments, budgets, costs)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_what_cannot_be_planned_cannot_be_kept(tmp_path_factory, data):
    """The other way round: a refusal is right by enumeration."""
    choices, moments, budgets, costs = data.draw(searches(tmp_path_factory.mktemp("tables", numbered=True)))
    loose = [Budget(b.kind, 1e12, layers=b.layers, table=b.table) for b in budgets]
    try:
        free = make_plan(loose, choices, BITS, 11, moments)
    except BudgetError as error:
        assert "in one group" in str(error)
        return
    sizes = free.problem.candidates.sum(1)
    if sizes.prod() > 3000:
        return
    try:
        make_plan(budgets, choices, BITS, 11, moments)
        planned = True
    except BudgetError:
        planned = False
    assert free.loose == tuple(loose)
    possible = False
    for candidates in itertools.product(*[np.flatnonzero(row) for row in free.problem.candidates]):
        try:
            check(free, np.array(candidates), choices, moments, budgets, costs)
            possible = True
            break
        except AssertionError:
            continue
    assert planned == possible
