"""What each metric is called, in which unit it is told, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Direction = Literal["minimize", "maximize"]

_SPLITS: Final = ("train", "validation", "test")
# ending of the name -> unit, factor to it, direction, margin of equivalence in the unit
_ENDINGS: Final[dict[str, tuple[str, float, Direction, float | None]]] = {
    "accuracy": ("points", 100.0, "maximize", 0.2),
    "error": ("points", 100.0, "minimize", 0.2),
    "loss_gap": ("nats", 1.0, "minimize", 0.01),
    "loss": ("nats", 1.0, "minimize", 0.01),
    "nll": ("nats", 1.0, "minimize", 0.01),
    "brier": ("", 1.0, "minimize", 0.005),
    "ece": ("points", 100.0, "minimize", 0.5),
    "generalization_gap": ("points", 100.0, "minimize", 0.2),
    "perturbation": ("", 1.0, "maximize", None),
    "model_size": ("bytes", 1.0, "minimize", None),
    "activation_memory": ("bytes", 1.0, "minimize", None),
    "bitops": ("BitOPs", 1.0, "minimize", None),
}
_WORDS: Final = {
    "nll": "negative log-likelihood",
    "brier": "Brier score",
    "ece": "calibration error",
    "fgsm_accuracy": "accuracy under FGSM",
    "fgsm_l2_accuracy": "accuracy under FGSM in L2",
    "pgd_accuracy": "accuracy under PGD",
    "pgd_l2_accuracy": "accuracy under PGD in L2",
    "corrupted_accuracy": "accuracy on corrupted images",
    "bit_flip_accuracy": "accuracy with flipped weight bits",
    "perturbation": "smallest perturbation",
    "bitops": "BitOPs",
}


@dataclass(frozen=True)
class Measure:
    """One metric as people read it.

    Attributes:
        metric: its name in records, such as ``test_accuracy``.
        words: such as ``test accuracy``.
        unit: ``points`` (hundredths) for fractions, ``nats`` for losses, empty where there is none.
        scale: factor from the metric to the unit.
        direction: which way is better.
        margin: difference up to which two networks count as equivalent, in the metric's own unit; None where none
            is agreed on.
    """

    metric: str
    words: str
    unit: str
    scale: float
    direction: Direction
    margin: float | None

    def text(self, value: float) -> str:
        """A difference in the unit, with its sign: ``+0.12``."""
        return f"{value * self.scale:+z.{self.digits}f}"

    def signed(self, value: float) -> str:
        """The same with the unit: ``+0.12 points``."""
        return f"{self.text(value)} {self.unit}".rstrip()

    def amount(self, value: float) -> str:
        """The size of a difference with the unit: ``0.12 points``."""
        return f"{abs(value) * self.scale:.{self.digits}f} {self.unit}".rstrip()

    @property
    def digits(self) -> int:
        """Decimals that a difference is told with."""
        return {"points": 2, "nats": 4, "bytes": 0, "BitOPs": 0}.get(self.unit, 4)


def measure(metric: str) -> Measure:
    """How `metric` is told; one that is not known is taken as a cost, without a unit."""
    split, _, rest = metric.partition("_")
    name = rest if split in _SPLITS else metric
    ending = max((each for each in _ENDINGS if name.endswith(each)), key=len, default=None)
    unit, scale, direction, margin = _ENDINGS[ending] if ending else ("", 1.0, "minimize", None)
    words = _WORDS.get(name, name.replace("_", " "))
    return Measure(
        metric=metric,
        words=f"{split} {words}" if split in _SPLITS else words,
        unit=unit,
        scale=scale,
        direction=direction,
        margin=None if margin is None else margin / scale,
    )
