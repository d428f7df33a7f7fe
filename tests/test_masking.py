"""Masking checks: they fire on nets that hide their gradients, each on what it is for, and are quiet on others."""

from __future__ import annotations

import re

import pytest
import torch
from attacked_nets import HIDING, NETS, Loud, asked, images, plain, quantized
from torch import Tensor, nn

from precsearch.evaluation.attacks import attack_curves
from precsearch.evaluation.evidence import Evidence
from precsearch.evaluation.images import Images, InputRange
from precsearch.evaluation.masking import CHECKS, masking_checks
from precsearch.evaluation.norms import NORMS
from precsearch.evaluation.random_search import random_search
from precsearch.evaluation.room import Effort, Room
from precsearch.evaluation.shadow import float_shadow
from precsearch.evaluation.victims import answering, right
from precsearch.measured import AttackCurve, MaskingCheck

FEW = 60


def checked(model: nn.Module, shadow: nn.Module, norm: str = "linf", seed: int = 0) -> dict[str, MaskingCheck]:
    wanted = asked(norms=[norm], epsilons=[0.1, 0.4], l2_epsilons=[0.5, 2.0])
    curves = attack_curves(model, images(FEW), wanted, seed)
    return {each.check: each for each in masking_checks(model, shadow, images(FEW), curves, wanted, seed)}


def curve(attack: str, *accuracies: float) -> AttackCurve:
    epsilons = tuple(0.1 * place for place in range(len(accuracies)))
    return AttackCurve(attack=attack, norm="linf", epsilons=epsilons, accuracies=accuracies, steps=1, restarts=1)


def evidence(*curves: AttackCurve) -> Evidence:
    return Evidence(plain(), plain(), images(FEW), curves, 0.1, Effort(2))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("net", NETS)
def test_quiet_on_a_plain_net(net: str, norm: str) -> None:
    found = checked(NETS[net](), float_shadow(NETS[net]()), norm)
    assert list(found) == list(CHECKS)
    assert all(each.passed for each in found.values()), [each.told for each in found.values() if not each.passed]
    at = {name: each.epsilon for name, each in found.items() if each.epsilon is not None}
    assert list(at) == ["noise", "transfer", "gradient-free"] and set(at.values()) <= {0.1, 0.4, 0.5, 2.0}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("way", HIDING)
def test_fire_on_one_that_hides_its_gradients(way: str, norm: str) -> None:
    found = checked(HIDING[way](quantized()), float_shadow(quantized()), norm)
    fired = {name for name, each in found.items() if not each.passed}
    # the shadow is one of the net inside, whose gradients are there to be followed
    assert fired >= {"transfer", "unbounded", "gradient-free", "zero gradients"}
    # how much noise hurts depends on the net: in the L2 norm of 2 it may hurt as little as the attacks
    assert "noise" in fired or norm == "l2"


def test_every_sentence_has_both_figures() -> None:
    for each in checked(Loud(plain()), plain()).values():
        percents = re.findall(r"(\d+\.\d)%", each.told)
        assert {f"{each.value:.1%}", f"{each.bound:.1%}"} <= {f"{percent}%" for percent in percents}, each.told


def test_a_seed_is_a_verdict_and_nothing_else_is_touched() -> None:
    numbers_left = torch.random.get_rng_state()
    curves, wanted = [curve("pgd", 0.9, 0.5)], asked(steps=3)
    first, again = (
        masking_checks(quantized(), float_shadow(quantized()), images(20), curves, wanted, 0) for _ in range(2)
    )
    assert first == again
    assert torch.equal(torch.random.get_rng_state(), numbers_left)


@pytest.mark.parametrize(
    ("check", "curves", "passed", "value", "bound"),
    [
        ("iterated", [curve("fgsm", 0.9, 0.4, 0.2), curve("pgd", 0.9, 0.3, 0.4)], False, 0.4, 0.2),
        ("iterated", [curve("fgsm", 0.9, 0.4, 0.2), curve("pgd", 0.9, 0.41, 0.1)], True, 0.41, 0.4),
        ("monotone", [curve("pgd", 0.9, 0.3, 0.4)], False, 0.4, 0.3),
        ("monotone", [curve("pgd", 0.9, 0.3, 0.31)], True, 0.31, 0.3),
    ],
)
def test_what_only_curves_can_tell(
    check: str, curves: list[AttackCurve], passed: bool, value: float, bound: float
) -> None:
    found = CHECKS[check](evidence(*curves))
    assert found is not None and (found.check, found.passed, found.value, found.bound) == (check, passed, value, bound)


def test_what_was_not_asked_for_is_not_checked() -> None:
    assert masking_checks(plain(), plain(), images(FEW), (), asked(), 0) == ()
    assert CHECKS["iterated"](evidence(curve("pgd", 0.9, 0.1))) is None
    assert CHECKS["monotone"](evidence(curve("fgsm", 0.9, 0.1))) is None


def test_attacks_are_compared_where_they_can_differ() -> None:
    """At the epsilon that takes about half of the images, not where nothing or everything is lost."""
    curves = [curve("fgsm", 0.9, 0.88, 0.8, 0.7, 0.6), curve("pgd", 0.9, 0.87, 0.5, 0.01, 0.0)]
    found = masking_checks(plain(), plain(), images(8), curves, asked(steps=1), 0)
    assert "norm 0.2" in next(each for each in found if each.check == "noise").told


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(9,), (2, 7), (2, 5, 4)])
def test_random_search_stays_in_the_room_and_hurts_more_with_more_queries(norm: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(shape).numel(), 12), nn.Tanh(), nn.Linear(12, 4))
    x = torch.rand(60, *shape)
    some = Images(x, model(x).argmax(1), InputRange(torch.zeros(()), torch.ones(())))
    epsilon = torch.full((60,), {"linf": 0.2, "l2": 0.5}[norm])
    room = Room.around(some, NORMS[norm], epsilon)
    left = []
    with answering(model, 1, 0) as victim:
        for queries in (1, 200):
            made = room.perturbed(random_search(victim, room, queries, 0))
            assert bool((made >= 0).all() and (made <= 1).all())
            assert float(NORMS[norm].length(made - x).max()) <= float(epsilon[0]) * (1 + 1e-5)
            left.append(int(right(victim, made, some.targets).sum()))
    assert left[1] < left[0] - 5, left


def test_random_search_reads_answers_alone() -> None:
    class Cut(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert not x.requires_grad
            return plain()(x).detach() * 1e4

    room = Room.around(images(FEW), NORMS["linf"], torch.full((FEW,), 0.15))
    with answering(Cut(), 1, 0) as victim:
        made = room.perturbed(random_search(victim, room, 150, 0))
        assert float(right(victim, made, images(FEW).targets).double().mean()) < 0.5
