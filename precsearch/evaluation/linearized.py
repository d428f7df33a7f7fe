"""The nearest other answer, as if the network were linear, again and again until it answers so.

Reference:
    Moosavi-Dezfooli et al. 2016 (DeepFool, arXiv:1511.04599), algorithm 2 and section 3.3 for other norms. Here steps
    are kept within the inputs' range.

Legend: B images of a batch, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from precsearch.evaluation.norms import per_image
from precsearch.evaluation.room import Room
from precsearch.evaluation.victims import Victim

_STEPS = 20
_RIVALS = 9  # classes looked at beside the right one: those of the largest logits
_BEYOND = 1.02  # of the way to a boundary: a little over it
_SMALLEST = 1e-30


def linearized(victim: Victim, room: Room) -> Tensor:
    """Perturbations [B, ...] within the room, most of them just over the nearest boundary; 0 where it has no slope."""
    found = torch.zeros_like(room.images.inputs)
    left = torch.arange(len(found), device=found.device)
    for _ in range(_STEPS):
        holds, step = _step(victim, room, found[left])
        left, room = left[holds], room.take(holds)
        if not len(left):
            break
        found[left] = room.put(found[left] + step[holds])
    return found


def _step(victim: Victim, room: Room, at: Tensor) -> tuple[Tensor, Tensor]:
    """Which images hold [B], and the shortest step over any boundary of the linearized network [B, ...]."""
    targets = room.images.targets.unsqueeze(1)
    with torch.enable_grad():
        inputs = room.perturbed(at).detach().requires_grad_()
        answers = victim(inputs)
        rivals = (
            answers.detach().scatter(1, targets, -torch.inf).topk(min(_RIVALS, answers.shape[1] - 1), dim=1).indices
        )
        leads = answers.gather(1, targets) - answers.gather(1, rivals)
    shortest, step = torch.full_like(room.epsilon, torch.inf), torch.zeros_like(at)
    for lead in leads.unbind(1) if leads.requires_grad else ():
        (gradient,) = torch.autograd.grad(lead.sum(), inputs, retain_graph=True, materialize_grads=True)
        gradient = gradient * room.span
        direction = room.norm.steepest(-gradient)
        fall = -(direction * gradient).flatten(1).sum(1)  # of the lead along it: the dual norm of the gradient
        distance = torch.minimum(lead.detach() / fall.clamp_min(_SMALLEST) * _BEYOND, room.epsilon)
        nearer = (distance < shortest) & (fall > 0)
        shortest = torch.where(nearer, distance, shortest)
        step = torch.where(per_image(nearer, at), direction * per_image(distance, at), step)
    return answers.detach().argmax(1) == targets[:, 0], step
