"""The smallest perturbation that changes an answer, as far as attacks find it: an upper bound.

Legend: N images.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from precsearch.evaluation.attacks import ATTACKS, perturb
from precsearch.evaluation.images import Images
from precsearch.evaluation.linearized import linearized
from precsearch.evaluation.norms import NORMS, Norm, per_image
from precsearch.evaluation.room import Effort, Room, span_of
from precsearch.evaluation.victims import Victim, answering, right
from precsearch.experiment import EvaluateSettings
from precsearch.measured import Perturbation

_ROUNDS = 10
_CLOSE = 0.02  # of a distance: where its bounds are so close, it is known well enough
_HALVINGS = 8
_BATCH = 250
_QUARTILES = (0.25, 0.5, 0.75)


def smallest_perturbations(
    model: nn.Module, images: Images, settings: EvaluateSettings, seed: int
) -> tuple[Perturbation, ...]:
    """One for each norm of `settings`; none where it does not ask for them.

    Args:
        model: one that is still stochastic is attacked as the mean over `settings.draws` draws.
        images: of one split, at least one.
        settings: steps and restarts of PGD.
        seed: of draws and starts; nothing else is random.
    """
    if not settings.perturbation:
        return ()
    found = []
    with answering(model, settings.draws, seed) as victim:
        effort = ATTACKS["pgd"].effort(settings, seed)
        for name in settings.norms:
            distances_N = distances(victim, images, NORMS[name], effort).cpu().numpy()
            # an entry, and the farther of two: nothing is interpolated towards one that was not found
            quartiles = np.quantile(distances_N, _QUARTILES, method="higher")
            found.append(
                Perturbation(
                    norm=name,
                    quartiles=tuple(float(value) if math.isfinite(value) else None for value in quartiles),
                    largest=_largest(images, NORMS[name]),
                )
            )
    return tuple(found)


def distances(victim: Victim, images: Images, norm: Norm, effort: Effort) -> Tensor:
    """[N] norms of the smallest perturbations found; 0 where an answer is wrong as it is, inf where none was found.

    Steps over the nearest boundary of the linearized network give a first one, or else PGD with the whole range as
    epsilon; PGD bisects for smaller ones. Each is drawn back towards its image as long as it fools the network.
    """
    near = torch.zeros(len(images), device=images.inputs.device)
    largest = torch.full_like(near, _largest(images, norm))
    found = torch.where(right(victim, images.inputs, images.targets), torch.inf, near)
    left = found.isinf().nonzero()[:, 0]
    found[left] = _lengths(victim, images.take(left), norm, _over(victim, images.take(left), norm, largest[left]))
    for _ in range(_ROUNDS):
        if not len(left):
            break
        tried = torch.where(found.isinf(), largest, (near + found) / 2)[left]
        some = images.take(left)
        reached = _lengths(victim, some, norm, perturb(victim, some, ATTACKS["pgd"], norm, tried, effort))
        near[left] = torch.where(reached.isinf(), tried, near[left])
        found[left] = torch.minimum(reached, found[left])
        left = (found.isfinite() & (found - near > _CLOSE * found)).nonzero()[:, 0]
    return found


def _largest(images: Images, norm: Norm) -> float:
    return norm.whole(images.inputs[0].numel())


def _over(victim: Victim, images: Images, norm: Norm, epsilon: Tensor) -> Tensor:
    """The images [N, ...] stepped over the nearest boundary."""
    made = [images.inputs[:0]]
    for start in range(0, len(images), _BATCH):
        part = slice(start, start + _BATCH)
        room = Room.around(images.take(part), norm, epsilon[part])
        made.append(room.perturbed(linearized(victim, room)))
    return torch.cat(made)


def _lengths(victim: Victim, images: Images, norm: Norm, ends: Tensor) -> Tensor:
    """[N] norms of the perturbations to these inputs, drawn back; inf for those that do not fool the network."""
    holds = right(victim, ends, images.targets)
    some, ends = images.take(~holds), ends[~holds]
    inside = torch.zeros(len(some), device=ends.device)
    outside = torch.ones_like(inside)
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        still = right(victim, _between(some, ends, middle), some.targets)
        inside, outside = torch.where(still, middle, inside), torch.where(still, outside, middle)
    lengths = torch.full((len(images),), torch.inf, device=ends.device)
    lengths[~holds] = norm.length((_between(some, ends, outside) - some.inputs) / span_of(some.range))
    return lengths


def _between(images: Images, ends: Tensor, share: Tensor) -> Tensor:
    return torch.lerp(images.inputs, ends, per_image(share, ends))
