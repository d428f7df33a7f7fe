"""The first steps of a search are looked at, and what is wrong is told once, with the layer and the remedy."""

import warnings

import pytest
import torch
from test_conversion import X, mlp
from torch import nn

from precsearch import Budget, PrecsearchWarning, SearchableModel
from precsearch.precision.diagnosis import STEPS

Y = torch.randint(0, 3, (8,), generator=torch.Generator().manual_seed(1))


def convert(model, budget=None, **options):
    return SearchableModel(model, budget or Budget("layer_bits", 4.0), X, **options)


def train(searchable, steps=STEPS + 5, parameters=None, logits_lr=0.1, loss=nn.functional.cross_entropy):
    """Messages of a training."""
    groups = searchable.parameter_groups(lr=1e-2, logits_lr=logits_lr) if parameters is None else parameters
    optimizer = torch.optim.Adam(groups, lr=1e-2)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", PrecsearchWarning)
        for _ in range(steps):
            optimizer.zero_grad()
            loss(searchable(X), Y).backward()
            optimizer.step()
    return [str(each.message) for each in told if each.category is PrecsearchWarning]


class TestQuiet:
    @pytest.mark.parametrize("sampler", ["perturb-and-map", "multinomial", "gumbel-softmax", "uniform", "random"])
    def test_a_healthy_search_is_told_nothing(self, sampler):
        assert train(convert(mlp(), sampler=sampler), steps=3 * STEPS) == []

    def test_a_warm_up_is_no_search(self):
        searchable = convert(mlp())
        searchable.quantize(False)
        assert train(searchable, steps=2 * STEPS) == []

    def test_one_allocation_is_no_collapse(self):
        assert train(convert(mlp(), Budget("layer_bits", 2.0), bits=[2, 8])) == []

    def test_gradient_bits_have_no_gradient(self):
        assert train(convert(mlp(), targets=["weight", "gradient"])) == []


class TestTold:
    def once(self, searchable, told, **options):
        (message,) = train(searchable, **options)
        assert told in message
        assert train(searchable, **options) == [], "told once"

    def test_logits_that_the_optimizer_does_not_have(self):
        searchable = convert(mlp())
        self.once(searchable, "logits did not move in 50 draws", parameters=list(searchable.model.parameters()))

    def test_a_learning_rate_of_zero(self):
        self.once(convert(mlp()), "see that their learning rate is not 0", logits_lr=0.0)

    def test_a_loss_from_another_output(self):
        searchable = convert(mlp())
        other = nn.Linear(6, 3)
        self.once(
            searchable,
            "no gradient came back to the logits",
            loss=lambda out, y: nn.functional.cross_entropy(other(X) + out.detach(), y),
            parameters=[*other.parameters(), *searchable.parameters()],
        )

    def test_a_layer_that_does_not_reach_the_loss(self):
        class Loose(nn.Module):
            def __init__(self):
                super().__init__()
                self.body, self.side = nn.Linear(6, 3), nn.Linear(6, 3)

            def forward(self, x):
                return self.body(x) + 0 * self.side(x.detach()).detach()

        self.once(convert(Loose(), targets=["weight"]), "no gradient for the bits of side.weight in 50 draws")

    def test_a_search_that_settles_at_once(self):
        searchable, losses = convert(mlp(), bits=[2, 4, 8]), []

        def loss(outputs, targets):
            losses.append(nn.functional.cross_entropy(outputs, targets))
            if len(losses) == 8:  # as a learning rate far too high does
                with torch.no_grad():
                    searchable.sampler.logits[:, 1] += 1e4
            return losses[-1]

        self.once(searchable, "each of the draws 9 to 24 was the same", loss=loss)

    def test_a_budget_that_binds_nowhere(self):
        with pytest.warns(PrecsearchWarning, match=r"the budget layer_bits <= 9.0 binds nowhere.*lower the limit"):
            convert(mlp(), Budget("layer_bits", 9.0))
        with pytest.warns(PrecsearchWarning, match="the budget size"):
            convert(mlp(), [Budget("layer_bits", 4.0), Budget("model_size", 1e6, name="size")])
        with warnings.catch_warnings(action="error"):  # an allocation that is given draws nothing
            convert(mlp(), Budget("layer_bits", 9.0), sampler="fixed", allocation=[2, 4, 8])
