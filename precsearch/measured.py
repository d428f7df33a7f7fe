"""What was measured of one trained network, as data: `evaluation.json` of a trial's directory. No torch here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from precsearch.errors import RunDirectoryError
from precsearch.files import write_json

FILE: Final = "evaluation.json"
DRAWN: Final = "drawn.json"
"""The same of a network that is drawn to the end: `Evaluation.draws` is above 1, unless one was asked for."""
Fraction = Annotated[float, Field(ge=0, le=1)]
Norm = Literal["linf", "l2"]


class _Measured(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ReliabilityBin(_Measured):
    """One bin of the reliability diagram; bins are equal in width and closed above.

    Attributes:
        low: lower edge of the confidences.
        high: upper edge.
        count: images whose largest probability lies in it.
        confidence: their mean largest probability; 0 where there are none.
        accuracy: the fraction of them that is right; 0 where there are none.
    """

    low: Fraction
    high: Fraction
    count: int = Field(ge=0)
    confidence: Fraction
    accuracy: Fraction


class Calibration(_Measured):
    """How well probabilities mean what they say, over the whole split.

    Attributes:
        nll: mean negative log-likelihood, nats.
        brier: mean squared distance of the probabilities from the right class, summed over classes, 0 to 2.
        ece: expected calibration error over `bins`, 0 to 1.
        bins: of the reliability diagram, by confidence.
    """

    nll: float = Field(ge=0)
    brier: float = Field(ge=0, le=2)
    ece: Fraction
    bins: tuple[ReliabilityBin, ...]


class AttackCurve(_Measured):
    """Accuracy under one attack.

    Attributes:
        attack: ``fgsm``, ``pgd``, or another of the registry.
        norm: of the perturbation.
        epsilons: its largest norm, in units of inputs that span 0 to 1; ascending, the first 0 (no attack).
        accuracies: fraction still right at each.
        steps: gradient steps of each run.
        restarts: runs from random starts; an image counts as right when it is right after all of them.
    """

    attack: str
    norm: Norm
    epsilons: tuple[float, ...]
    accuracies: tuple[Fraction, ...]
    steps: int = Field(ge=1)
    restarts: int = Field(ge=1)


class Perturbation(_Measured):
    """The smallest perturbation that changes an answer, as far as the attack finds it.

    Attributes:
        norm: of the perturbation.
        quartiles: 25, 50 and 75 % of the images' distances, an image that is wrong from the start counting 0; None
            for a quartile that lies beyond the largest distance tried.
        largest: largest distance tried.
    """

    norm: Norm
    quartiles: tuple[float | None, float | None, float | None]
    largest: float


class MaskingCheck(_Measured):
    """One sign that an attack fails because its gradients do, and not because the network holds.

    Attributes:
        check: its name, such as ``noise`` or ``transfer``.
        passed: False where the sign is there.
        value: the accuracy measured.
        bound: the accuracy that it is held against.
        told: one sentence with both.
        epsilon: of the perturbations that both are of; None where they are of several, or of none.
    """

    check: str
    passed: bool
    value: float
    bound: float
    told: str
    epsilon: float | None = None


class Corruption(_Measured):
    """Accuracy on images changed without a look at the network.

    Attributes:
        corruption: its name, such as ``gaussian_noise``; ``FOLDER/NAME``, such as ``mnist_c/fog``, of ready images.
        accuracies: by severity, from 1; a folder of ready images has its own number of them.
    """

    corruption: str
    accuracies: tuple[Fraction, ...]


class BitFlips(_Measured):
    """Accuracy with random bits of the packed weights flipped.

    Attributes:
        rate: probability that a bit is flipped.
        accuracies: one for each independent draw of flips.
    """

    rate: Fraction
    accuracies: tuple[Fraction, ...]


class Alone(_Measured):
    """One layer quantized alone, everything else in float32; the network is not trained for it.

    Attributes:
        layer: its name.
        target: ``weight`` or ``activation``.
        bits: its bit-width.
        loss: mean cross-entropy then, nats.
        accuracy: fraction right then.
    """

    layer: str
    target: str
    bits: int
    loss: float
    accuracy: Fraction


class Evaluation(_Measured):
    """Everything that `evaluate:` asked of one network.

    Attributes:
        split: ``validation``, or ``test`` where winners are confirmed.
        images: of the split that attacks, corruptions, bit flips and `alone` ran on; calibration reads the whole.
        seed: of every random choice in it.
        draws: allocations that each answer is the mean probability over; 1 for a settled network.
        calibration: always there.
        attacks: one for each attack and norm.
        perturbations: the smallest that change an answer, one a norm.
        masking: checks on the attacks.
        corruptions: one each.
        bit_flips: one a rate.
        alone: sensitivity of each layer to each candidate, in float32 the loss `float_loss`.
        float_loss: mean cross-entropy of the same weights, nothing quantized, on the same images.
        seconds: wall-clock time of all this.
    """

    format: Literal["precsearch-evaluation"] = "precsearch-evaluation"
    version: Literal[1] = 1
    split: Literal["validation", "test"]
    images: int = Field(ge=0)
    seed: int
    draws: int = Field(default=1, ge=1)
    calibration: Calibration
    attacks: tuple[AttackCurve, ...] = ()
    perturbations: tuple[Perturbation, ...] = ()
    masking: tuple[MaskingCheck, ...] = ()
    corruptions: tuple[Corruption, ...] = ()
    bit_flips: tuple[BitFlips, ...] = ()
    alone: tuple[Alone, ...] = ()
    float_loss: float | None = None
    seconds: float = 0.0

    def metrics(self) -> dict[str, float]:
        """Metric name -> value, the split's name before each.

        ``brier`` and ``ece`` always; where measured the mean accuracy over the epsilons above 0 under each attack
        (``fgsm_accuracy``; ``pgd_l2_accuracy`` in the other norm), over corruptions and severities, ready images left
        out (``corrupted_accuracy``), over rates and draws of flipped bits (``bit_flip_accuracy``), and the median
        smallest perturbation (``perturbation``, of the first norm; the largest tried where it lies beyond).
        """
        found = {"brier": self.calibration.brier, "ece": self.calibration.ece}
        for curve in self.attacks:
            attacked = [a for e, a in zip(curve.epsilons, curve.accuracies, strict=True) if e > 0]
            name = curve.attack if curve.norm == "linf" else f"{curve.attack}_{curve.norm}"
            found[f"{name}_accuracy"] = _mean(attacked)
        # ready images are there for the test split only: with them its figure would mean something else
        if made := [each for each in self.corruptions if "/" not in each.corruption]:
            found["corrupted_accuracy"] = _mean([_mean(each.accuracies) for each in made])
        if self.bit_flips:
            found["bit_flip_accuracy"] = _mean([_mean(each.accuracies) for each in self.bit_flips])
        if self.perturbations:
            median = self.perturbations[0].quartiles[1]
            found["perturbation"] = self.perturbations[0].largest if median is None else median
        return {f"{self.split}_{name}": value for name, value in found.items()}

    def write(self, directory: Path, name: str = FILE) -> None:
        """Write `FILE`, or `DRAWN`, into a trial's directory."""
        write_json(directory / name, self.model_dump(mode="json"))


def read_evaluation(directory: Path, name: str = FILE) -> Evaluation | None:
    """The evaluation of one trial's directory, or that in `DRAWN`; None where it has none.

    Raises:
        RunDirectoryError: when the file is there but cannot be read.
    """
    path = directory / name
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Evaluation.model_validate(found)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise RunDirectoryError(f"cannot read {path}: {first}; delete the file to do without it") from None


def _mean(values: Any) -> float:
    return float(sum(values) / len(values))
