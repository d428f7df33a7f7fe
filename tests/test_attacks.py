"""Attacks against foolbox and closed forms; what they may and may not touch."""

from __future__ import annotations

import copy
import importlib
import warnings
from typing import Any

import eagerpy as ep
import pytest
import torch
from attacked_nets import NETS, Rounded, asked, digits, fresh, images, plain, quantized, searchable
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from precsearch import SearchableModel, apply_allocation
from precsearch.data import DataSet, Split
from precsearch.data.look import Look
from precsearch.evaluation.accuracy import measure
from precsearch.evaluation.attacks import ATTACKS, attack_curves, perturb
from precsearch.evaluation.images import Images, InputRange, input_range
from precsearch.evaluation.norms import NORMS
from precsearch.evaluation.room import Effort
from precsearch.evaluation.shadow import float_shadow
from precsearch.evaluation.victims import answering, slope

with warnings.catch_warnings():  # it imports what scipy has moved
    warnings.simplefilter("ignore", DeprecationWarning)
    foolbox = importlib.import_module("foolbox")

EPSILONS = {"linf": (0.05, 0.1, 0.15, 0.25), "l2": (0.3, 0.6, 0.9, 1.5)}
STEPS = 20


class Keeping:
    """For foolbox's PGD, which returns where it ends: starts where ours does, and notes what it fools on the way."""

    def __init__(self, norm: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.norm = NORMS[norm]
        self.on_the_way: list[Tensor] = []

    def get_random_start(self, x0: Any, epsilon: float) -> Any:
        return x0 + epsilon * ep.astensor(self.norm.inside(x0.shape, torch.Generator().manual_seed(0)))

    def get_loss_fn(self, model: Any, labels: Any) -> Any:
        self.on_the_way.append(torch.zeros(len(labels), dtype=torch.bool))
        inner = super().get_loss_fn(model, labels)  # type: ignore[misc]

        def loss(inputs: Any) -> Any:
            with torch.no_grad():
                self.on_the_way[-1] |= (model(inputs).argmax(-1) != labels).raw
            return inner(inputs)

        return loss


class KeepingLinf(Keeping, foolbox.attacks.LinfPGD):
    pass


class KeepingL2(Keeping, foolbox.attacks.L2PGD):
    pass


SETTINGS = {"rel_stepsize": 2.5 / STEPS, "steps": STEPS}
FGSMS = {"linf": foolbox.attacks.LinfFastGradientAttack, "l2": foolbox.attacks.L2FastGradientAttack}
PGDS = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}
KEEPING = {"linf": KeepingLinf, "l2": KeepingL2}
WIDE = InputRange(torch.tensor(-100.0), torch.tensor(100.0))


def linear(inputs: int, classes: int, seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(inputs, classes)


def labelled(model: nn.Module, inputs: Tensor, range: InputRange = WIDE) -> Images:
    """Images that the model answers right."""
    with torch.no_grad():
        return Images(inputs, model(inputs).argmax(1), range)


def numbers(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def curve_and_oracle(net: str, attack: str, norm: str, oracle: Any) -> tuple[Tensor, Tensor]:
    """Accuracies at `EPSILONS`, ours and where foolbox ends."""
    wanted = asked(attacks=[attack], norms=[norm], steps=STEPS, epsilons=EPSILONS["linf"], l2_epsilons=EPSILONS["l2"])
    (curve,) = attack_curves(NETS[net](), images(), wanted, seed=0)
    ours = torch.tensor(curve.accuracies[1:], dtype=torch.float64)
    assert ours.min() < 0.2 and ours.max() > 0.6
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = foolbox.PyTorchModel(NETS[net](), bounds=(0, 1), device="cpu")
        _, _, fooled = oracle(model, images().inputs, images().targets, epsilons=list(EPSILONS[norm]))
    return ours, 1 - fooled.double().mean(1)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("norm", NORMS)
def test_fgsm_agrees_with_foolbox(net: str, norm: str) -> None:
    ours, theirs = curve_and_oracle(net, "fgsm", norm, FGSMS[norm]())
    assert (ours - theirs).abs().max() <= 0.02


@pytest.mark.parametrize("norm", NORMS)
def test_pgd_agrees_with_foolbox(norm: str) -> None:
    ours, theirs = curve_and_oracle("float", "pgd", norm, PGDS[norm](**SETTINGS))
    assert (ours - theirs).abs().max() <= 0.02


@pytest.mark.parametrize("norm", NORMS)
def test_pgd_agrees_with_foolbox_on_a_quantized_net(norm: str) -> None:
    """On 3 bits steps overshoot: there an attack that keeps what it finds on the way, as ours, hurts more.

    Rounding makes much of the last digit of a gradient, so that single images of 150 fall on either side.
    """
    oracle = KEEPING[norm](norm, **SETTINGS)
    ours, theirs = curve_and_oracle("quantized", "pgd", norm, oracle)
    kept = torch.minimum(theirs, 1 - torch.stack(oracle.on_the_way).double().mean(1))
    assert (ours - kept).abs().mean() <= 0.02 and (ours - kept).abs().max() <= 0.03
    assert (ours - theirs).max() <= 0.015


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2)])
def test_a_linear_model_falls_where_the_closed_form_says(attack: str, norm: str, dual: int) -> None:
    """Of two classes: the margin falls by epsilon times the dual norm of the weights' difference, and no faster."""
    model = linear(12, 2)
    some = labelled(model, numbers(300, 12))
    with torch.no_grad():
        logits = model(some.inputs)
        margin = (logits[:, 0] - logits[:, 1]).abs() / 200  # epsilon is in parts of the range
        slope_of = torch.linalg.vector_norm(model.weight[0] - model.weight[1], dual)
    epsilons = (0.0005, 0.001, 0.002, 0.004)
    wanted = asked(attacks=[attack], norms=[norm], epsilons=epsilons, l2_epsilons=epsilons)
    (curve,) = attack_curves(model, some, wanted, seed=3)
    by_hand = [float((margin > epsilon * slope_of).double().mean()) for epsilon in (0.0, *epsilons)]
    assert all(found >= best - 1e-9 for found, best in zip(curve.accuracies, by_hand, strict=True))
    # PGD's direction in the L2 norm is still turning when it ends
    assert curve.accuracies == pytest.approx(by_hand, abs=0.01 if (attack, norm) == ("pgd", "l2") else 1e-9)
    assert len(set(by_hand)) > 3


@given(
    st.sampled_from(list(ATTACKS)), st.sampled_from(list(NORMS)), st.floats(0, 2), st.integers(0, 1000),
    st.sampled_from([(5,), (2, 6), (3, 4, 4), (1, 8, 8)]), st.sampled_from(["unit", "channels", "narrow"]),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_perturbations_stay_within_epsilon_and_the_range(
    attack: str, norm: str, epsilon: float, seed: int, shape: tuple[int, ...], kind: str
) -> None:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(shape).numel(), 6), nn.Tanh(), nn.Linear(6, 3))
    low, high = torch.zeros(()), torch.ones(())
    if kind == "channels" and len(shape) == 3:
        low = torch.randn(shape[0], 1, 1)
        high = low + 3 * torch.rand(shape[0], 1, 1)
        high[0] = low[0]  # a channel that is always the same
    inputs = low + torch.rand(7, *shape) * (high - low)
    if kind == "narrow":  # images that lie outside
        low, high = torch.full((), 0.3), torch.full((), 0.6)
    some = Images(inputs, torch.randint(3, (7,)), InputRange(low, high))
    with answering(model, 1, 0) as victim:
        made = perturb(victim, some, ATTACKS[attack], NORMS[norm], epsilon, Effort(4, 2, seed))
    assert made.shape == inputs.shape and bool(made.isfinite().all())
    assert bool((made >= torch.minimum(low, inputs)).all() and (made <= torch.maximum(high, inputs)).all())
    moved = torch.where((high - low) > 0, (made - inputs).double() / (high - low).clamp_min(1e-12), 0.0)
    assert bool((made == inputs)[(high - low).expand_as(inputs) == 0].all())
    assert float(NORMS[norm].length(moved).max()) <= epsilon * (1 + 1e-5) + 1e-5
    if epsilon == 0:
        assert torch.equal(made, inputs)


@pytest.mark.parametrize("net", NETS)
def test_no_perturbation_is_the_clean_accuracy(net: str) -> None:
    model, count = NETS[net](), 150
    for curve in attack_curves(model, images(count), asked(norms=["linf", "l2"], steps=2), seed=0):
        assert curve.epsilons[0] == 0
        assert curve.accuracies[0] == pytest.approx(measure(model, digits().validation.first(count)).accuracy)
        assert max(curve.accuracies) == curve.accuracies[0]
    with answering(model, 1, 0) as victim:
        for attack in ATTACKS.values():
            assert torch.equal(perturb(victim, images(), attack, NORMS["l2"], 0.0, Effort(2)), images().inputs)


def test_a_seed_is_a_curve_and_nothing_else_is_touched() -> None:
    model = copy.deepcopy(quantized()).train()
    model[0].eval()  # a layer whose owner keeps it so
    model[4].bias.requires_grad_(False)
    modes = [module.training for module in model.modules()]
    learning = [parameter.requires_grad for parameter in model.parameters()]
    state, numbers_left = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    given = images().inputs.clone()
    # one step, so that where a run starts can be seen in where it ends
    wanted = asked(attacks=["pgd"], norms=["linf", "l2"], steps=1)
    first, again, other = (attack_curves(model, images(), wanted, seed) for seed in (4, 4, 5))
    assert first == again != other
    assert torch.equal(torch.random.get_rng_state(), numbers_left)
    assert torch.equal(images().inputs, given)
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == learning
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in plain().parameters() if not parameter.requires_grad)


def test_restarts_and_steps_hurt() -> None:
    def at(**more: int) -> float:
        (curve,) = attack_curves(quantized(), images(), asked(attacks=["pgd"], epsilons=[0.1], **more), seed=0)
        assert (curve.steps, curve.restarts) == (more["steps"], more.get("restarts", 1))
        return curve.accuracies[1]

    assert at(steps=20) < at(steps=2)
    assert at(steps=5, restarts=5) < at(steps=5)


class TestQuantized:
    """Networks from a search: evaluation mode, gradients passed straight through, the first layer's input too."""

    @staticmethod
    def gradient(model: nn.Module) -> Tensor:
        with answering(model, 1, 0) as victim:
            return slope(victim, images(20).inputs, images(20).targets)[2]

    def test_a_frozen_network_has_gradients_for_its_inputs(self) -> None:
        found = self.gradient(quantized())
        assert bool((found.flatten(1).abs().amax(1) > 0).all())
        assert float((found != 0).double().mean()) > 0.5
        # of pixels that are 0 as well: the ends of the range are inside it
        assert bool((found[images(20).inputs == 0] != 0).any())

    def test_so_has_one_that_an_allocation_was_applied_to(self) -> None:
        searched = searchable("fixed")
        allocation = searched.allocation()
        model = apply_allocation(fresh(), allocation)
        model.load_state_dict(quantized().state_dict())
        assert torch.equal(self.gradient(model.train()), self.gradient(quantized()))

    def test_gradients_are_those_of_the_float_layers_at_the_quantized_numbers(self) -> None:
        """By hand for one layer: of w_q x_q + b, passed straight through to every x within the range."""
        model = copy.deepcopy(quantized())
        layer = model[0]
        x = images(4).inputs.clone()
        reach = float(layer.input_quantizer.reach)
        with answering(nn.Sequential(layer, nn.Flatten(), linear(512, 3)), 1, 0) as victim:
            found = slope(victim, x, torch.tensor([0, 1, 2, 0]))[2]
        assert bool((found[x > reach] == 0).all()) and bool((x > reach).any())
        assert float((found[x <= reach] != 0).double().mean()) > 0.5

    def test_the_shadow_is_the_same_weights_in_float(self) -> None:
        model = quantized()
        before = model(images().inputs)
        weights = {name.replace("parametrizations.weight.original", "weight"): value
                   for name, value in model.state_dict().items()}  # fmt: skip
        by_hand = fresh().eval()
        by_hand.load_state_dict({name: weights[name] for name in by_hand.state_dict()})
        assert torch.equal(float_shadow(model)(images().inputs), by_hand(images().inputs))
        assert torch.equal(model(images().inputs), before)
        assert not torch.equal(before, by_hand(images().inputs))


class TestStochastic:
    """A searchable network in training mode: the mean over allocations that it draws."""

    @staticmethod
    def searching() -> SearchableModel:
        model = searchable("perturb-and-map", (2, 4, 8))
        model.train()
        model(digits().train.inputs[:64])
        return model

    def test_answers_are_mean_probabilities_and_gradients_those_of_the_mean(self) -> None:
        model, x, y = self.searching(), images(6).inputs, images(6).targets
        with answering(model, 5, 7) as victim:
            answers, _, found = slope(victim, x, y)
            inputs = x.clone().requires_grad_()
            mean: Any = 0
            for candidates in victim.drawn:  # type: ignore[attr-defined]
                model.dials.set(candidates)
                mean = mean + model.model(inputs).softmax(1) / 5
            assert len({tuple(candidates) for candidates in victim.drawn}) > 1  # type: ignore[attr-defined]
        assert torch.allclose(answers.exp(), mean, atol=1e-6)
        (by_hand,) = torch.autograd.grad(nn.functional.nll_loss(mean.log(), y, reduction="sum"), inputs)
        assert torch.allclose(found, by_hand, atol=1e-5, rtol=1e-3)

    def test_nothing_of_the_search_is_moved(self) -> None:
        model, twin = self.searching(), self.searching()
        wanted = asked(attacks=["pgd"], draws=3, steps=2)
        first, again = (attack_curves(model, images(), wanted, 2) for _ in range(2))
        assert first == again
        assert model.training
        assert torch.equal(model.generator.get_state(), twin.generator.get_state())
        x = digits().train.inputs[:32]
        assert torch.equal(model(x), twin(x))
        model.eval(), twin.eval()
        assert torch.equal(model(x), twin(x))

    def test_one_settled_is_not_left_at_a_draw(self) -> None:
        model = self.searching().eval()
        x = images(8).inputs
        before, chosen, drawn = model(x), [each.chosen_bits for each in model.quantizers], []
        for seed in range(4):
            with answering(model.train(), 1, seed) as victim:
                victim(x)
                drawn.append([each.chosen_bits for each in model.quantizers])
            assert torch.equal(model.eval()(x), before)
        assert any(each != chosen for each in drawn)

    def test_in_evaluation_mode_it_is_settled(self) -> None:
        model = self.searching().eval()
        with answering(model, 5, 7) as victim:
            assert torch.equal(victim(images(8).inputs), model(images(8).inputs))


class TestRange:
    def test_of_data_sets(self) -> None:
        pixels, labels = torch.randint(50, 90, (12, 3, 4, 4), dtype=torch.uint8), torch.arange(12) % 2
        look = Look((0.5, 0.4, 0.3), (0.2, 0.25, 0.5))
        for seen, low, high in (
            (Look(), [0.0], [1.0]),
            (look, [-2.5, -1.6, -0.6], [2.5, 2.4, 1.4]),
        ):
            split = Split(pixels, labels, seen)
            found = input_range(DataSet("mine", split, split, split, 2))
            assert torch.allclose(found.low.flatten(), torch.tensor(low))
            assert torch.allclose(found.high.flatten(), torch.tensor(high))
            assert found.low.shape == (len(low), 1, 1)
        known = input_range(digits())
        assert (float(known.low), float(known.high)) == (0, 1)

    @pytest.mark.parametrize(("shape", "low", "high"), [((2, 3, 3), [[[-1.0]], [[-2.0]]], [[[2.0]], [[3.0]]]),
                                                        ((5,), -2.0, 3.0)])  # fmt: skip
    def test_of_own_data_is_that_of_the_training_images(self, shape: tuple[int, ...], low: Any, high: Any) -> None:
        inputs = torch.zeros(1500, *shape)
        inputs[3, 0], inputs[1400, 0], inputs[7, 1], inputs[1200, 1] = -1, 2, -2, 3
        train = Split(inputs, torch.arange(1500) % 2)
        other = Split(inputs[:9] * 50, torch.arange(9) % 2)
        found = input_range(DataSet("own.data:load", train, other, other, 2))
        assert torch.equal(found.low, torch.tensor(low)) and torch.equal(found.high, torch.tensor(high))

    def test_normalized_inputs_are_attacked_alike(self) -> None:
        """Epsilon means the same whether the data set or the network normalizes."""

        class Normalizing(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return (x - 0.25) / 0.5

        normalized = Images(
            (images().inputs - 0.25) / 0.5, images().targets, InputRange(torch.tensor(-0.5), torch.tensor(1.5))
        )
        inner = plain()
        wanted = asked(norms=["linf", "l2"], steps=5)
        outside = attack_curves(nn.Sequential(Normalizing(), inner), images(), wanted, 0)
        inside = attack_curves(inner, normalized, wanted, 0)
        for one, other in zip(outside, inside, strict=True):
            assert one.accuracies == pytest.approx(other.accuracies, abs=0.011)
        assert outside != attack_curves(inner, images(), wanted, 0)


def test_what_has_no_gradient_is_attacked_all_the_same() -> None:
    class Cut(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return plain()(x.detach()).detach()

    for model in (Cut(), Rounded(plain())):
        (fgsm, pgd) = attack_curves(model, images(), asked(epsilons=[0.3], steps=2), 0)
        assert fgsm.accuracies[1] == fgsm.accuracies[0]
        assert pgd.accuracies[1] < pgd.accuracies[0]  # where it starts
