"""Signs that attacks fail because their gradients do, and not because the network holds: a registry of checks.

Reference:
    Athalye et al. 2018 (arXiv:1802.00420), section 3.1, and Carlini et al. 2019 (arXiv:1902.06705), for the signs;
    Gupta and Ajanthan 2020 (arXiv:2003.13511), for how quantized networks show them.

Legend: N images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor, nn

from precsearch.evaluation.attacks import ATTACKS, accuracy, perturb
from precsearch.evaluation.images import Images
from precsearch.evaluation.norms import NORMS, Norm, per_image
from precsearch.evaluation.random_search import random_search
from precsearch.evaluation.room import Effort, Room
from precsearch.evaluation.victims import Victim, answering, right, slope
from precsearch.experiment import EvaluateSettings
from precsearch.measured import AttackCurve, MaskingCheck

_POINTS = 0.02  # accuracies closer than this are equal
_FEWEST = 2  # or than this many images
_VANISHED = 0.05
_SEARCHED = 100  # images that the gradient-free attack looks at
_QUERIES = 300
_BATCH = 250


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the checks look at.

    Attributes:
        victim: the network.
        shadow: the same weights in float32.
        images: N of them.
        curves: of the norm that is checked.
        epsilon: at which attacks are held against each other: where the strongest brings the accuracy closest to
            half of what it is without, since at 0 % or no effect all attacks are alike.
        effort: of PGD.
    """

    victim: Victim
    shadow: Victim
    images: Images
    curves: Sequence[AttackCurve]
    epsilon: float
    effort: Effort

    @property
    def norm(self) -> Norm:
        """That is checked."""
        return NORMS[self.curves[0].norm]

    @property
    def size(self) -> str:
        """Epsilon in words."""
        return f"{'L-infinity' if self.curves[0].norm == 'linf' else 'L2'} norm {self.epsilon:g}"

    @cached_property
    def holds(self) -> Tensor:
        """[N] bool, images right under PGD at epsilon."""
        return right(self.victim, self.pgd(self.victim, self.epsilon), self.images.targets)

    def curve(self, attack: str) -> AttackCurve | None:
        """Of one attack; None where it was not asked for."""
        return next((curve for curve in self.curves if curve.attack == attack), None)

    def pgd(self, victim: Victim, epsilon: float) -> Tensor:
        """The images [N, ...] under PGD, made on `victim`."""
        return perturb(victim, self.images, ATTACKS["pgd"], self.norm, epsilon, self.effort)


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
        evidence = Evidence(victim, float_victim, images, first, _telling(first), effort)
        return tuple(found for check in CHECKS.values() if (found := check(evidence)) is not None)


def _telling(curves: Sequence[AttackCurve]) -> float:
    """The epsilon of `Evidence`; the larger of two as good."""
    clean = curves[0].accuracies[0]
    lowest = [min(at) for at in zip(*(curve.accuracies for curve in curves), strict=True)]
    points: list[tuple[float, float]] = list(zip(curves[0].epsilons, lowest, strict=True))[1:]
    epsilon, _ = min(reversed(points), key=lambda point: abs(point[1] - clean / 2))
    return epsilon


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
        passed=found >= attacked - _margin(evidence),
        value=found,
        bound=attacked,
        told=f"under random noise of {evidence.size} {found:.1%} of the images are right, "
        f"under {curve.attack.upper()} {attacked:.1%}; noise must not hurt more",
    )


def _transfer(evidence: Evidence) -> MaskingCheck:
    """What was made on the float weights must not hurt more than what was made on the network itself."""
    made = evidence.pgd(evidence.shadow, evidence.epsilon)
    found, attacked = accuracy(evidence.victim, evidence.images, made), _fraction(evidence.holds)
    return MaskingCheck(
        check="transfer",
        passed=found >= attacked - _margin(evidence),
        value=found,
        bound=attacked,
        told=f"under PGD of {evidence.size} made on the same weights in float32 {found:.1%} of the images are right, "
        f"made on the network itself {attacked:.1%}; the first must not hurt more",
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
        passed=found <= bound + _margin(evidence),
        value=found,
        bound=bound,
        told=f"at epsilon {epsilon:g}, where they differ least to its favour, PGD leaves {found:.1%} of the images "
        f"right, FGSM {bound:.1%}; many steps must hurt as much as one",
    )


def _unbounded(evidence: Evidence) -> MaskingCheck:
    """With the whole range to move in, any image can become any other."""
    whole = evidence.norm.whole(evidence.images.inputs[0].numel())
    found = accuracy(evidence.victim, evidence.images, evidence.pgd(evidence.victim, whole))
    margin = _margin(evidence)
    return MaskingCheck(
        check="unbounded",
        passed=found <= margin,
        value=found,
        bound=margin,
        told=f"under PGD with the whole range of the inputs to move in {found:.1%} of the images are right; "
        f"at most {margin:.1%} may be",
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
        passed=after <= before + _margin(evidence),
        value=after,
        bound=before,
        told=f"PGD leaves {before:.1%} of the images right at epsilon {low:g}, and {after:.1%} at {high:g}; "
        "the curve must not rise",
    )


def _gradient_free(evidence: Evidence) -> MaskingCheck:
    """A short random search must not hurt more than PGD on the same images."""
    images, victim = evidence.images.first(_SEARCHED), evidence.victim
    images_right = images.take(right(victim, images.inputs, images.targets))
    room = Room.around(images_right, evidence.norm, torch.full((len(images_right),), evidence.epsilon))
    made = room.perturbed(random_search(victim, room, _QUERIES, evidence.effort.seed))
    found = float(right(victim, made, images_right.targets).sum()) / len(images)
    attacked = _fraction(evidence.holds[:_SEARCHED])
    return MaskingCheck(
        check="gradient-free",
        passed=found >= attacked - _margin(evidence, len(images)),
        value=found,
        bound=attacked,
        told=f"a random search of {_QUERIES} queries in {evidence.size} leaves {found:.1%} of {len(images)} images "
        f"right, PGD {attacked:.1%}; the search, which sees no gradient, must not hurt more",
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
        told=f"the gradient for the input is zero for {found:.1%} of the images that are right; "
        f"at most {_VANISHED:.1%} may be, since there is nothing to follow",
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


def _fraction(flags: Tensor) -> float:
    return float(flags.double().mean())


def _margin(evidence: Evidence, count: int | None = None) -> float:
    """What accuracies may differ by; of few images, one or two decide."""
    return max(_POINTS, _FEWEST / (count or len(evidence.images)))
