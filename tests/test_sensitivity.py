"""Sensitivities: each score against brute force, traces against exact ones, allocations within the budget."""

import numpy as np
import pytest
import torch
from torch import nn

from precsearch import Budget, BudgetError, ConfigurationError, ModelError, SearchableModel, calibrate
from precsearch.evaluation.sensitivity import SENSITIVITIES, sensitivity_allocation, sensitivity_scores, traces

X = torch.randn(16, 6, generator=torch.Generator().manual_seed(0))
Y = torch.randint(3, (16,), generator=torch.Generator().manual_seed(1))


def make(targets=("weight",), budget=None, bits=(1, 2, 4), ready=True, **settings):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    budget = budget or Budget("average_bits", 2.5)
    searchable = SearchableModel(model, budget, X[:2], bits=bits, targets=targets, **settings)
    if ready:
        calibrate(searchable, X)
    return searchable


def rounded(searchable, slot, candidate, tensor):
    """What the slot's quantizer makes of a tensor at a candidate."""
    (quantizer,) = searchable.dials.quantizers[slot]
    before = quantizer.bits.index(quantizer.chosen_bits)
    quantizer.choose(candidate)
    with torch.no_grad():
        result = quantizer(tensor)
    quantizer.choose(before)
    return result


def weights(searchable):
    return [searchable.model[i].parametrizations.weight.original for i in (0, 2)]


def test_gradient_scores_are_those_of_brute_force():
    """On a linear loss the first order is all there is: element by element, the loss's own change."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 3, bias=False))
    searchable = SearchableModel(model, Budget("average_bits", 2), X[:2], bits=[1, 2, 3], targets=["weight"])
    calibrate(searchable, X)

    def linear(outputs, _):
        return (outputs * torch.arange(1.0, 4)).sum()

    scores = sensitivity_scores(searchable, [(X, Y)], "gradient", linear)
    (weight,) = [searchable.model[0].parametrizations.weight.original.detach()]
    at = linear(X @ weight.T, Y)
    for k in range(3):
        changed, by_hand = rounded(searchable, 0, k, weight), 0.0
        for i in np.ndindex(*weight.shape):
            moved = weight.clone()
            moved[i] = changed[i]
            by_hand += abs(float(linear(X @ moved.T, Y) - at))
        assert scores[0, k] == pytest.approx(by_hand, rel=1e-4)


def test_traces_agree_with_the_exact_ones_within_their_error():
    searchable = make()
    searchable.quantize(False)
    searchable.eval()
    tensors = weights(searchable)
    first, second = tensors

    def loss(a, b):
        hidden = torch.tanh(X @ a.T + searchable.model[0].bias)
        return nn.functional.cross_entropy(hidden @ b.T + searchable.model[2].bias, Y)

    generator = torch.Generator().manual_seed(0)
    drawn = np.array([[float(t) for t in traces(loss(first, second), tensors, generator)] for _ in range(600)])
    exact = torch.autograd.functional.hessian(loss, (first.detach(), second.detach()))
    for i, tensor in enumerate(tensors):
        trace = float(exact[i][i].reshape(tensor.numel(), tensor.numel()).trace())
        assert abs(drawn[:, i].mean() - trace) < 4 * drawn[:, i].std() / np.sqrt(len(drawn))


def test_hessian_scores_are_exact_for_a_quadratic_loss():
    """Of a diagonal Hessian a single direction tells the trace exactly; equal entries make the score exact too."""
    torch.manual_seed(0)
    searchable = SearchableModel(
        nn.Sequential(nn.Linear(4, 3, bias=False)), Budget("average_bits", 2), torch.eye(4), bits=[1, 2, 3],
        targets=["weight"],
    )  # fmt: skip
    calibrate(searchable, torch.eye(4))
    weight = searchable.model[0].parametrizations.weight.original.detach()
    scores = sensitivity_scores(
        searchable, [(torch.eye(4), torch.eye(4))], "hessian", lambda out, _: out.square().sum()
    )
    for k in range(3):
        assert scores[0, k] == pytest.approx(
            float((rounded(searchable, 0, k, weight) - weight).square().sum()), rel=1e-4
        )


@pytest.mark.parametrize("method", SENSITIVITIES)
def test_more_bits_cost_less_and_nothing_is_left_changed(method):
    searchable = make(("weight", "activation"), bits=(2, 4, 8))
    before = {name: value.clone() for name, value in searchable.state_dict().items()}
    found = searchable.allocation()
    scores = sensitivity_scores(searchable, [(X, Y), (X[:8], Y[:8])], method)
    if method == "gradient":
        assert (np.diff(scores) < 0).all()
    else:
        assert (np.diff(np.abs(scores)) < 0).all()
    assert searchable.training
    assert searchable.allocation().layers == found.layers
    assert all(torch.equal(value, before[name]) for name, value in searchable.state_dict().items())
    assert all(parameter.grad is None for parameter in searchable.parameters())


@pytest.mark.parametrize("method", SENSITIVITIES)
@pytest.mark.parametrize("limit", [1.5, 2.0, 3.3])
def test_allocations_keep_the_budget(method, limit):
    searchable = make(("weight", "activation"), Budget("average_bits", limit))
    allocation = sensitivity_allocation(searchable, [(X, Y)], method)
    assert all(spent <= limit for spent in allocation.budget.by_target.values())


def test_one_scoring_answers_any_limit_of_a_range():
    searchable = make(budget=Budget("average_bits", range=(1.2, 3.8)))
    bits = [
        [layer.bits("weight") for layer in sensitivity_allocation(searchable, [(X, Y)], "gradient", limit).layers]
        for limit in (1.2, 2.5, 3.8)
    ]
    assert bits[0] != bits[2]
    assert np.sum(bits, 1).tolist() == sorted(np.sum(bits, 1))
    with pytest.raises(BudgetError):
        sensitivity_allocation(searchable, [(X, Y)], "gradient", 1.0)


def test_what_cannot_be_scored_is_said():
    with pytest.raises(ConfigurationError, match="gradient, hessian"):
        sensitivity_scores(make(), [(X, Y)], "fisher")
    with pytest.raises(ConfigurationError, match="at least one batch"):
        sensitivity_scores(make(), [], "gradient")
    with pytest.raises(ModelError, match="calibrate"):
        sensitivity_scores(make(("activation",), ready=False), [(X, Y)], "gradient")
