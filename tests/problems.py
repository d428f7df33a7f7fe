"""Random knapsacks for the tests of the solver and the samplers, and their answers by exhaustion."""

import math
from dataclasses import replace
from itertools import product

import numpy as np
from hypothesis import strategies as st

from precsearch.precision.budgets import Budget, Footprint
from precsearch.precision.feasible import make_problem, with_feasible
from precsearch.precision.planning import SEARCHED, LayerChoices, make_plan
from precsearch.precision.problem import Slot

BITS = [2, 3, 4, 6, 8]
KINDS = ["layer_bits", "average_bits", "model_size", "bitops"]


@st.composite
def any_problems(draw, most_slots=5, most_bits=3, most_constraints=3, monotone=None):
    """Stars of slots, own candidates, coupled constraints, feasible or not; costs in eighths or thousands: exact."""
    bits = BITS[: draw(st.integers(1, most_bits))]
    count, constraints = draw(st.integers(1, most_slots)), draw(st.integers(1, most_constraints))
    rng = np.random.default_rng(draw(st.integers(0, 2**30)))
    rising = draw(st.booleans()) if monotone is None else monotone
    k = len(bits)
    hub = np.full(count, count)
    if count > 1 and draw(st.booleans()):
        hubs = rng.permutation(count)[: int(rng.integers(1, count))]
        leaves = [s for s in range(count) if s not in hubs and rng.random() < 0.8]
        hub[leaves] = rng.choice(hubs, len(leaves))
    candidates = rng.random((count, k)) < (0.7 if draw(st.booleans()) else 1.0)
    candidates[np.arange(count), rng.integers(0, k, count)] = True
    coupled = (hub < count).any()
    cost = rng.integers(0, 9, (constraints, count, k if coupled else 1, k)).astype(float)
    if rising:
        cost = cost.cumsum(3).cumsum(2) + rng.integers(0, 4, (constraints, count, 1, 1))
    cost[:, hub == count, 1:] = 0
    spends = rng.random((constraints, count)) < draw(st.sampled_from([0.4, 1.0]))
    if draw(st.booleans()):  # every star of one constraint
        center = np.where(hub < count, hub, np.arange(count))
        spends = (rng.integers(0, constraints, count)[center] == np.arange(constraints)[:, None]) & True
    cost *= spends[:, :, None, None]
    fraction = draw(st.sampled_from([1.0, 0.125, 1000.0]))
    problem = make_problem(
        [Slot(((f"layer{s}", "weight"),)) for s in range(count)],
        bits, cost * fraction, [1e9] * constraints, candidates=candidates, hub=hub,
    )  # fmt: skip
    low = np.array([problem.spent(problem.extreme(c, -1.0))[c] for c in range(constraints)])
    high = np.array([problem.spent(problem.extreme(c, 1.0))[c] for c in range(constraints)])
    tightness = np.array([draw(st.floats(0, 1.1)) for _ in range(constraints)])
    limits = np.maximum(np.floor((low + tightness * (high - low)) / fraction) * fraction, low)
    return make_problem(problem.slots, bits, problem.cost, limits, candidates=candidates, hub=hub)


def problems(**most):
    """Those of `any_problems` that some allocation keeps."""
    return any_problems(**most).map(with_feasible).filter(lambda problem: problem is not None)


def spent_by_hand(problem, chosen):
    """[C] what [S] candidates spend, entry by entry."""
    count = len(problem.slots)
    spent = np.zeros(len(problem.limits))
    for c in range(len(spent)):
        for s in range(count):
            h = chosen[problem.hub[s]] if problem.hub[s] < count else 0
            spent[c] += problem.cost[c, s, h, chosen[s]]
    return spent


def every_allocation(problem):
    """[N, S] all candidates that keep the budgets."""
    chosen = np.array(list(product(*[np.flatnonzero(row) for row in problem.candidates])))
    each, padded = np.arange(len(problem.slots)), np.hstack([chosen, np.zeros((len(chosen), 1), int)])
    h = padded[:, problem.hub]
    spent = problem.cost[:, each, h, chosen].sum(2)
    return chosen[(spent <= problem.limits[:, None]).all(0)]


def random_scores(problem, seed, size=1.0):
    return problem.mask(np.random.default_rng(seed).normal(size=problem.candidates.shape) * size)


def total(scores, chosen):
    return scores[np.arange(len(scores)), chosen].sum(-1)


def without_limits(problem):
    """The problem under limits that nothing breaks."""
    return replace(problem, limits=np.full(len(problem.limits), 1e12))


@st.composite
def plans(draw, most_layers=6, kinds=KINDS):
    """The knapsack of a made-up network under a budget that some allocation keeps; some layers are pinned."""
    kind = draw(st.sampled_from(kinds))
    bits = sorted(draw(st.sets(st.integers(1, 8), min_size=2, max_size=5)))
    rng = np.random.default_rng(draw(st.integers(0, 2**30)))
    weight_only = kind == "model_size" or draw(st.booleans())
    choices = []
    for u in range(draw(st.integers(1, most_layers))):
        numel, rows, inputs, calls = (int(n) for n in np.exp(rng.uniform(0, [9, 4, 7, 4])) + 8)
        pin = SEARCHED if u == 0 else draw(st.sampled_from([SEARCHED] * 4 + [8, None]))
        layer = Footprint(f"layer{u}", numel, rows, inputs, numel * calls)
        choices.append(LayerChoices(layer, pin, None if weight_only else pin))
    float_elements = int(rng.integers(0, 500))
    low, high = (_spent(kind, choices, bits, float_elements, k) for k in (0, -1))
    low = math.ceil(low * 10_000) / 10_000  # a mean of bits is a fraction; its float may lie below it
    limit = draw(st.floats(low, max(high, low) * 1.05))
    return make_plan(Budget(kind, limit), choices, bits, float_elements)


def _spent(kind, choices, bits, float_elements, k):
    """What the dearer target spends with every searched target at ``bits[k]``, by hand."""
    priced = [choice.at(bits[k], bits[k])[:3] for choice in choices]
    if kind == "model_size":
        sizes = [
            -(-f.numel * (w or 32) // 8) + 4 * f.rows * (w is not None) + 4 * (a is not None) for f, w, a in priced
        ]
        return sum(sizes) + 4 * float_elements
    if kind == "bitops":
        return sum(f.macs * (w or 32) * (a or 32) for f, w, a in priced)
    spent = []
    for target in (1, 2):
        counted = [(row[target], 1 if kind == "layer_bits" else (row[0].numel, row[0].inputs)[target - 1])
                   for row in priced if row[target] is not None]  # fmt: skip
        if counted:
            spent.append(sum(b * n for b, n in counted) / sum(n for _, n in counted))
    return max(spent)
