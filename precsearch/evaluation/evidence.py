"""What masking checks look at: a network and its shadow, attacked where attacks can differ.

Legend: N images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from precsearch.evaluation.attacks import ATTACKS, perturb
from precsearch.evaluation.images import Images
from precsearch.evaluation.norms import NORMS, Norm
from precsearch.evaluation.room import Effort
from precsearch.evaluation.victims import Victim, right
from precsearch.measured import AttackCurve

_POINTS = 0.02  # accuracies closer than this are equal
_FEWEST = 2  # or than this many images


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

    def margin(self, count: int | None = None) -> float:
        """What accuracies over all images, or `count` of them, may differ by; of few, one or two decide."""
        return max(_POINTS, _FEWEST / (count or len(self.images)))


def telling_epsilon(curves: Sequence[AttackCurve]) -> float:
    """The epsilon of `Evidence`; the larger of two as good."""
    clean = curves[0].accuracies[0]
    lowest = [min(at) for at in zip(*(curve.accuracies for curve in curves), strict=True)]
    points: list[tuple[float, float]] = list(zip(curves[0].epsilons, lowest, strict=True))[1:]
    epsilon, _ = min(reversed(points), key=lambda point: abs(point[1] - clean / 2))
    return epsilon


def fraction(flags: Tensor) -> float:
    """How many of [N] are true, 0 to 1."""
    return float(flags.double().mean())
