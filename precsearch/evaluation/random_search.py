"""An attack without gradients: random changes of ever smaller windows, each kept where it hurts.

After Andriushchenko et al. 2020 (arXiv:1912.00049, Square Attack), with few queries: to notice that gradients lead
nowhere, not to find the strongest perturbation. The authors' code takes pictures alone, and seeds torch for everyone.
Legend: B images of a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from precsearch.evaluation.norms import per_image
from precsearch.evaluation.room import Room
from precsearch.evaluation.victims import Victim

_LARGEST = 0.8  # share of the features that the first windows have
_HALVED = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)  # of the queries: when the share is halved
_PICTURES = 4  # dimensions of a batch of them


@torch.no_grad()
def random_search(victim: Victim, room: Room, queries: int, seed: int) -> Tensor:
    """Perturbations [B, ...] within the room that bring the right answer's lead down, as far as `queries` show.

    Args:
        victim: only its answers are read.
        room: images, norm and epsilon.
        queries: answers read for each image.
        seed: of the changes.
    """
    generator = torch.Generator().manual_seed(seed)
    x = room.images.inputs
    best = room.put(room.norm.surface(x.shape, generator).to(x) * per_image(room.epsilon, x))
    lead = _lead(victim, room, best)
    for query in range(queries - 1):
        left = (lead > 0).nonzero()[:, 0]
        if not len(left):
            break
        some = room.take(left)
        window = _windows(x.shape, _share(query / queries), generator)[left.cpu()].to(x.device)
        signs = _signs(x.shape, generator)[left.cpu()].to(x)
        height = per_image(some.epsilon / window.flatten(1).sum(1).sqrt(), x)  # in the L2 norm: as large as epsilon
        changed = room.norm.steepest(torch.where(window, signs * height, best[left]))
        tried = some.put(changed * per_image(some.epsilon, x))
        now = _lead(victim, some, tried)
        better = now < lead[left]
        best[left[better]], lead[left[better]] = tried[better], now[better]
    return best


def _lead(victim: Victim, room: Room, perturbation: Tensor) -> Tensor:
    """[B] logit of the right class less the largest other."""
    answers, targets = victim(room.perturbed(perturbation)), room.images.targets.unsqueeze(1)
    others = answers.scatter(1, targets, -torch.inf).amax(1)
    return answers.gather(1, targets)[:, 0] - others


def _share(progress: float) -> float:
    return _LARGEST / 2.0 ** sum(progress > each for each in _HALVED)


def _signs(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """One sign for each channel of a picture, or each feature: [B, C, 1, 1], or the whole shape."""
    own = (*shape[:2], 1, 1) if len(shape) == _PICTURES else shape
    return torch.randint(2, own, generator=generator) * 2.0 - 1


def _windows(shape: torch.Size, share: float, generator: torch.Generator) -> Tensor:
    """[B, ...] bool, a window an image: a square of pixels, or a run of whatever comes last."""
    sides = shape[2:] if len(shape) == _PICTURES else shape[-1:]
    window = torch.ones(shape, dtype=torch.bool)
    for place, side in enumerate(sides, start=len(shape) - len(sides)):
        length = min(side, max(1, round(side * share ** (1 / len(sides)))))
        first = torch.randint(side - length + 1, (shape[0],), generator=generator)
        along = torch.arange(side).view(-1, *[1] * (len(shape) - 1 - place))
        begin = first.view(-1, *[1] * (len(shape) - 1))
        window = window & (along >= begin) & (along < begin + length)
    return window
