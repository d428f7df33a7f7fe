"""Gradient attacks on a network's inputs: a registry, and accuracy under each over a curve of epsilons.

Untargeted, on the cross-entropy, through whatever gradient the network's quantizers pass straight through.
Legend: N images, B of them in a batch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor, nn

from precsearch.evaluation.images import Images
from precsearch.evaluation.norms import NORMS, Norm, per_image
from precsearch.evaluation.room import Effort, Room
from precsearch.evaluation.victims import Victim, answering, right
from precsearch.experiment import EvaluateSettings
from precsearch.measured import AttackCurve

_BATCH = 250
_REACH = 2.5  # PGD's steps together, in epsilons: enough to cross the ball and to turn


class Attack(Protocol):
    """One attack."""

    def effort(self, settings: EvaluateSettings, seed: int) -> Effort:
        """How hard it tries."""

    def find(self, victim: Victim, room: Room, effort: Effort) -> Tensor:
        """Perturbations [B, ...] within the room that raise the loss."""


class Fgsm:
    """One step of length epsilon along the gradient's signs, or in the L2 norm along the gradient.

    Reference:
        Goodfellow et al. 2015 (arXiv:1412.6572), section 4.
    """

    def effort(self, settings: EvaluateSettings, seed: int) -> Effort:
        """One step."""
        return Effort(1, 1, seed)

    def find(self, victim: Victim, room: Room, effort: Effort) -> Tensor:
        """Perturbations [B, ...]; 0 where the gradient is, or the answer wrong as it is."""
        zero = torch.zeros_like(room.images.inputs)
        holds, _, gradient = room.slope(victim, zero)
        return room.put(room.norm.steepest(gradient) * per_image(room.epsilon * holds, zero))


class Pgd:
    """Steps of 2.5 epsilon / steps from random starts, each brought back; an image that is fooled is left at that.

    Reference:
        Madry et al. 2018 (arXiv:1706.06083), section 2.1; the length of the steps is theirs too.
    """

    def effort(self, settings: EvaluateSettings, seed: int) -> Effort:
        """As the settings say."""
        return Effort(settings.steps, settings.restarts, seed)

    def find(self, victim: Victim, room: Room, effort: Effort) -> Tensor:
        """Of each image the first perturbation that fools it, or else the one of largest loss, over all restarts."""
        generator = torch.Generator().manual_seed(effort.seed)
        best = torch.zeros_like(room.images.inputs)
        holds, loss, _ = room.slope(victim, best)
        for _ in range(effort.restarts):
            # drawn for all, so that what one image starts from does not depend on how others fared
            starts = room.norm.inside(best.shape, generator).to(best)
            left = holds.nonzero()[:, 0]
            if not len(left):
                break
            some = room.take(left)
            start = some.put(starts[left] * per_image(some.epsilon, best))
            best[left], loss[left], holds[left] = _climb(victim, some, start, best[left], loss[left], effort.steps)
        return best


def _climb(
    victim: Victim, room: Room, at: Tensor, best: Tensor, loss: Tensor, steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """One run of PGD -> best perturbations, their losses, and which images hold."""
    stays = torch.ones_like(loss, dtype=torch.bool)
    left = torch.arange(len(stays), device=stays.device)
    for step in range(steps + 1):
        holds, now, gradient = room.slope(victim, at)
        better = ~holds | (now > loss[left])
        best[left[better]], loss[left[better]] = at[better], now[better]
        stays[left] = holds
        left, room, at, gradient = left[holds], room.take(holds), at[holds], gradient[holds]
        if step == steps or not len(left):
            break
        at = room.put(at + room.norm.steepest(gradient) * per_image(room.epsilon * _REACH / steps, at))
    return best, loss, stays


ATTACKS: dict[str, Attack] = {"fgsm": Fgsm(), "pgd": Pgd()}


def perturb(
    victim: Victim, images: Images, attack: Attack, norm: Norm, epsilon: float | Tensor, effort: Effort
) -> Tensor:
    """The images [N, ...] under an attack, batch by batch.

    Args:
        victim: what is attacked.
        images: what is perturbed.
        attack: of the registry.
        norm: of the perturbation.
        epsilon: its largest norm, one for all or [N].
        effort: how hard to try; each batch has a seed of its own.
    """
    epsilon_N = torch.as_tensor(epsilon, dtype=torch.float32).expand(len(images))
    made = [images.inputs[:0]]
    for batch, start in enumerate(range(0, len(images), _BATCH)):
        part = slice(start, start + _BATCH)
        room = Room.around(images.take(part), norm, epsilon_N[part])
        made.append(room.perturbed(attack.find(victim, room, replace(effort, seed=effort.seed + batch))))
    return torch.cat(made)


def attack_curves(model: nn.Module, images: Images, settings: EvaluateSettings, seed: int) -> tuple[AttackCurve, ...]:
    """Accuracy under every attack and norm of `settings`, at no perturbation and at each epsilon.

    Every epsilon is attacked on its own, so that a curve that rises shows that an attack fails.

    Args:
        model: one that is still stochastic is attacked as the mean over `settings.draws` draws, see `answering`.
        images: of one split, at least one.
        settings: what to measure.
        seed: of draws and starts; nothing else is random.
    """
    with answering(model, settings.draws, seed) as victim:
        clean = accuracy(victim, images, images.inputs)
        return tuple(
            _curve(victim, images, name, norm, settings, seed, clean)
            for norm in settings.norms
            for name in settings.attacks
        )


def _curve(
    victim: Victim, images: Images, name: str, norm: str, settings: EvaluateSettings, seed: int, clean: float
) -> AttackCurve:
    attack, epsilons = ATTACKS[name], settings.epsilons if norm == "linf" else settings.l2_epsilons
    effort = attack.effort(settings, seed)
    found = [
        accuracy(victim, images, perturb(victim, images, attack, NORMS[norm], epsilon, effort)) for epsilon in epsilons
    ]
    return AttackCurve.model_validate(
        {
            "attack": name,
            "norm": norm,
            "epsilons": (0.0, *epsilons),
            "accuracies": (clean, *found),
            "steps": effort.steps,
            "restarts": effort.restarts,
        }
    )


def accuracy(victim: Victim, images: Images, inputs: Tensor) -> float:
    """Fraction of the images answered right where their inputs are these."""
    return float(right(victim, inputs, images.targets).double().mean())
