"""Smallest perturbations: the distance to the nearest hyperplane of a linear model, and upper bounds elsewhere."""

from __future__ import annotations

import pytest
import torch
from attacked_nets import asked, images, quantized
from torch import Tensor, nn

from precsearch.evaluation.attacks import attack_curves
from precsearch.evaluation.images import Images, InputRange
from precsearch.evaluation.norms import NORMS
from precsearch.evaluation.perturbation import distances, smallest_perturbations
from precsearch.evaluation.room import Effort
from precsearch.evaluation.victims import answering

WIDE = InputRange(torch.tensor(-8.0), torch.tensor(12.0))


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2)])
@pytest.mark.parametrize("classes", [2, 4])
def test_of_a_linear_model_they_are_the_distances_to_the_nearest_hyperplane(norm: str, dual: int, classes: int) -> None:
    torch.manual_seed(0)
    model, x = nn.Linear(10, classes), numbers(80, 10)
    with torch.no_grad():
        logits = model(x)
        right = logits.argmax(1)
        apart = model.weight[right].unsqueeze(1) - model.weight  # [N, classes, 10]
        lead = logits.gather(1, right.unsqueeze(1)) - logits
        each = lead / torch.linalg.vector_norm(apart, dual, dim=2)
    nearest = each.scatter(1, right.unsqueeze(1), torch.inf).amin(1) / 20  # in parts of the range
    with answering(model, 1, 0) as victim:
        found = distances(victim, Images(x, right, WIDE), NORMS[norm], Effort(10))
    assert bool((found >= nearest * (1 - 1e-3) - 1e-6).all())
    assert bool((found <= nearest * 1.01 + 1e-6).all()), (found / nearest).max()


def test_quartiles_are_those_of_the_images() -> None:
    wanted = asked(norms=["linf", "l2"], perturbation=True, steps=8)
    few = images(60)
    measured = smallest_perturbations(quantized(), few, wanted, seed=0)
    assert measured == smallest_perturbations(quantized(), few, wanted, seed=0)
    assert [(each.norm, each.largest) for each in measured] == [("linf", 1.0), ("l2", 8.0)]
    for each, norm in zip(measured, NORMS.values(), strict=True):
        with answering(quantized(), 1, 0) as victim:
            every = distances(victim, few, norm, Effort(8, 1, 0)).sort().values
        assert each.quartiles == pytest.approx([float(every[place]) for place in (15, 30, 45)])
        assert float(every[-1]) < each.largest


def test_they_are_upper_bounds_no_worse_than_the_curve() -> None:
    """What PGD fools within epsilon has a smallest perturbation within it, or hardly more."""
    epsilons = (0.05, 0.1, 0.15)
    few = images(60)
    (curve,) = attack_curves(quantized(), few, asked(attacks=["pgd"], epsilons=epsilons), seed=0)
    with answering(quantized(), 1, 0) as victim:
        found = distances(victim, few, NORMS["linf"], Effort())
    for epsilon, accuracy in zip(curve.epsilons, curve.accuracies, strict=True):
        assert float((found > epsilon * 1.05).double().mean()) <= accuracy + 2 / 60


def test_a_wrong_answer_is_no_distance_away_and_none_is_none() -> None:
    class Stubborn(nn.Module):
        """Always class 1."""

        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :1] * 0 + torch.tensor([0.0, 1.0])

    some = Images(torch.rand(8, 3), torch.tensor([1, 1, 1, 1, 1, 0, 0, 0]), InputRange(torch.zeros(()), torch.ones(())))
    (measured,) = smallest_perturbations(Stubborn(), some, asked(perturbation=True, steps=3), seed=0)
    assert measured.quartiles == (0.0, None, None)
    assert measured.largest == 1.0


def test_not_asked_for_is_not_measured() -> None:
    assert smallest_perturbations(quantized(), images(5), asked(), seed=0) == ()
