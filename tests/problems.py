"""Random knapsacks for the tests of the solver and the samplers, and their answers by exhaustion."""

import math
from itertools import product

import numpy as np
from hypothesis import strategies as st

from precsearch.precision.budgets import Budget, Footprint
from precsearch.precision.planning import SEARCHED, LayerChoices, make_plan
from precsearch.precision.problem import Slot, make_problem

BITS = [2, 3, 4, 6, 8]
KINDS = ["layer_bits", "average_bits", "model_size", "bitops"]


@st.composite
def problems(draw, most_units=4, most_bits=3):
    """Units of one or two slots, one or two constraints; costs grow with the bits, in eighths: sums are exact."""
    bits = BITS[: draw(st.integers(1, most_bits))]
    count = draw(st.integers(1, most_units))
    constraints = draw(st.integers(1, min(2, count)))
    rng = np.random.default_rng(draw(st.integers(0, 2**30)))
    fraction = draw(st.sampled_from([1.0, 0.125, 1000.0]))
    slots, units = [], []
    for u in range(count):
        own = tuple(range(len(slots), len(slots) + int(rng.integers(1, 3))))
        slots += [Slot(((f"layer{u}", target),)) for target in ("weight", "activation")[: len(own)]]
        table = rng.integers(0, 9, (len(bits),) * len(own)).astype(float)
        for axis in range(table.ndim):
            table = table.cumsum(axis)
        units.append((own, (table + rng.integers(1, 4)) * fraction, u % constraints))
    loose = make_problem(slots, bits, units, [1e9] * constraints)
    low, high = loose.spent(loose.cheapest()), loose.spent(loose.dearest())
    tightness = draw(st.floats(0, 1.1))
    limits = np.floor((low + tightness * (high - low)) / fraction) * fraction
    return make_problem(slots, bits, units, np.maximum(limits, low))


def every_allocation(problem):
    """[N, U] all options that keep the budget."""
    options = np.array(list(product(*[np.flatnonzero(row) for row in problem.valid])))
    cost = problem.cost[np.arange(problem.units), options]
    spent = np.stack([cost[:, problem.constraint == c].sum(1) for c in range(len(problem.limits))], axis=1)
    return options[(spent <= problem.limits).all(1)]


def random_scores(problem, seed, size=1.0):
    scores = np.random.default_rng(seed).normal(size=problem.cost.shape) * size
    return np.where(problem.valid, scores, -np.inf)


def total(scores, options):
    return scores[np.arange(len(scores)), options].sum(-1)


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
    priced = [choice.at(bits[k], bits[k]) for choice in choices]
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
