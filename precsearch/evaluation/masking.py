"""Signs that attacks fail because their gradients do, and not because the network holds: a registry of checks.

Reference:
    Athalye et al. 2018 (arXiv:1802.00420), section 3.1, and Carlini et al. 2019 (arXiv:1902.06705), for the signs;
    Gupta and Ajanthan 2020 (arXiv:2003.13511), for how quantized networks show them.

Legend: N images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import nn

from precsearch.evaluation.attacks import ATTACKS, accuracy
from precsearch.evaluation.evidence import Evidence, fraction, telling_epsilon
from precsearch.evaluation.images import Images
from precsearch.evaluation.norms import per_image
from precsearch.evaluation.random_search import random_search
from precsearch.evaluation.room import Room
from precsearch.evaluation.victims import answering, right, slope
from precsearch.experiment import EvaluateSettings
from precsearch.measured import AttackCurve, MaskingCheck

_VANISHED = 0.05
_SEARCHED = 100  # images that the gradient-free attack looks at
_QUERIES = 300
_BATCH = 250


Check = Callable[[Evidence], MaskingCheck | None]


def masking_checks(
    model: nn.Module,
    shadow: nn.Module,
    images: Images,
    curves: Sequence[AttackCurve],
    settings: EvaluateSettings,
    seed: int,
) -> tuple[MaskingCheck, ...]:
    """Every check, on the first norm that was attacked; none where there are no curves.

    Args:
        model: that the curves are of.
        shadow: see `precsearch.evaluation.shadow.float_shadow`.
        images: likewise.
        curves: from `attack_curves`.
        settings: as they were made with.
        seed: likewise.
    """
    if not curves:
        return ()
    first = [curve for curve in curves if curve.norm == curves[0].norm]
    effort = ATTACKS["pgd"].effort(settings, seed)
    with answering(model, settings.draws, seed) as victim, answering(shadow, settings.draws, seed) as float_victim:
        evidence = Evidence(victim, float_victim, images, first, telling_epsilon(first), effort)
        return tuple(found for check in CHECKS.values() if (found := check(evidence)) is not None)


def _noise(evidence: Evidence) -> MaskingCheck:
    """Random noise must not hurt more than any attack does; FGSM and PGD step where the gradient says."""
    images, norm = evidence.images, evidence.norm
    generator = torch.Generator().manual_seed(evidence.effort.seed)
    room = Room.around(images, norm, torch.full((len(images),), evidence.epsilon))
    noise = norm.surface(images.inputs.shape, generator).to(images.inputs) * per_image(room.epsilon, images.inputs)
    found = accuracy(evidence.victim, images, room.perturbed(room.put(noise)))
    curve = max(evidence.curves, key=lambda each: _at(each, evidence.epsilon))
    attacked = _at(curve, evidence.epsilon)
    return MaskingCheck(
        check="noise",
        epsilon=evidence.epsilon,
        passed=found >= attacked - evidence.margin(),
        value=found,
        bound=attacked,
        told=f"Under random noise of {evidence.size} {found:.1%} of the images are right, "
        f"under {curve.attack.upper()} {attacked:.1%}; noise must not hurt more.",
    )


def _transfer(evidence: Evidence) -> MaskingCheck:
    """What was made on the float weights must not hurt more than what was made on the network itself."""
    made = evidence.pgd(evidence.shadow, evidence.epsilon)
    found, attacked = accuracy(evidence.victim, evidence.images, made), fraction(evidence.holds)
    return MaskingCheck(
        check="transfer",
        epsilon=evidence.epsilon,
        passed=found >= attacked - evidence.margin(),
        value=found,
        bound=attacked,
        told=f"Under PGD of {evidence.size} made on the same weights in float32 {found:.1%} of the images are right, "
        f"made on the network itself {attacked:.1%}; the first must not hurt more.",
    )


def _iterated(evidence: Evidence) -> MaskingCheck | None:
    """Many steps must hurt at least as much as one."""
    once, often = evidence.curve("fgsm"), evidence.curve("pgd")
    if once is None or often is None:
        return None
    points = zip(once.epsilons, often.accuracies, once.accuracies, strict=True)
    epsilon, found, bound = max(points, key=lambda point: point[1] - point[2])
    return MaskingCheck(
        check="iterated",
        passed=found <= bound + evidence.margin(),
        value=found,
        bound=bound,
        told=f"At epsilon {epsilon:g}, where they differ least to its favour, PGD leaves {found:.1%} of the images "
        f"right, FGSM {bound:.1%}; many steps must hurt as much as one.",
    )


def _unbounded(evidence: Evidence) -> MaskingCheck:
    """With the whole range to move in, any image can become any other."""
    whole = evidence.norm.whole(evidence.images.inputs[0].numel())
    found = accuracy(evidence.victim, evidence.images, evidence.pgd(evidence.victim, whole))
    margin = evidence.margin()
    return MaskingCheck(
        check="unbounded",
        passed=found <= margin,
        value=found,
        bound=margin,
        told=f"Under PGD with the whole range of the inputs to move in {found:.1%} of the images are right; "
        f"at most {margin:.1%} may be.",
    )


def _monotone(evidence: Evidence) -> MaskingCheck | None:
    """A larger epsilon must hurt at least as much; one step may overshoot, so this is asked of PGD alone."""
    curve = evidence.curve("pgd")
    if curve is None:
        return None
    points = list(zip(curve.epsilons, curve.accuracies, strict=True))
    (low, before), (high, after) = max(pairwise(points), key=lambda pair: pair[1][1] - pair[0][1])
    return MaskingCheck(
        check="monotone",
        passed=after <= before + evidence.margin(),
        value=after,
        bound=before,
        told=f"PGD leaves {before:.1%} of the images right at epsilon {low:g}, and {after:.1%} at {high:g}; "
        "the curve must not rise.",
    )


def _gradient_free(evidence: Evidence) -> MaskingCheck:
    """A short random search must not hurt more than PGD on the same images."""
    images, victim = evidence.images.first(_SEARCHED), evidence.victim
    images_right = images.take(right(victim, images.inputs, images.targets))
    room = Room.around(images_right, evidence.norm, torch.full((len(images_right),), evidence.epsilon))
    made = room.perturbed(random_search(victim, room, _QUERIES, evidence.effort.seed))
    found = float(right(victim, made, images_right.targets).sum()) / len(images)
    attacked = fraction(evidence.holds[:_SEARCHED])
    return MaskingCheck(
        check="gradient-free",
        epsilon=evidence.epsilon,
        passed=found >= attacked - evidence.margin(len(images)),
        value=found,
        bound=attacked,
        told=f"A random search of {_QUERIES} queries in {evidence.size} leaves {found:.1%} of {len(images)} images "
        f"right, PGD {attacked:.1%}; the search, which sees no gradient, must not hurt more.",
    )


def _zero_gradients(evidence: Evidence) -> MaskingCheck:
    """Images that are right must have a gradient to follow, however small."""
    images, victim, gone = evidence.images, evidence.victim, 0
    images = images.take(right(victim, images.inputs, images.targets))
    for start in range(0, len(images), _BATCH):
        some = images.take(slice(start, start + _BATCH))
        _, _, gradient = slope(victim, some.inputs, some.targets)
        gone += int((gradient.flatten(1).abs().amax(1) == 0).sum())
    found = gone / max(1, len(images))
    return MaskingCheck(
        check="zero gradients",
        passed=found <= _VANISHED,
        value=found,
        bound=_VANISHED,
        told=f"The gradient for the input is zero for {found:.1%} of the images that are right; "
        f"at most {_VANISHED:.1%} may be, since there is nothing to follow.",
    )


CHECKS: dict[str, Check] = {
    "noise": _noise,
    "transfer": _transfer,
    "iterated": _iterated,
    "unbounded": _unbounded,
    "monotone": _monotone,
    "gradient-free": _gradient_free,
    "zero gradients": _zero_gradients,
}


def _at(curve: AttackCurve, epsilon: float) -> float:
    return curve.accuracies[curve.epsilons.index(epsilon)]
