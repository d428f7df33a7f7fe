"""`evaluate:`, what is measured of every trained network beside loss, accuracy and cost."""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from pydantic import Field, field_validator

from precsearch.experiment.base import Settings

Epsilon = Annotated[float, Field(gt=0, le=1)]
Attack = Literal["fgsm", "pgd"]
Norm = Literal["linf", "l2"]
Rate = Annotated[float, Field(ge=0, le=0.5)]
CORRUPTIONS: Final = (
    "gaussian_noise", "impulse_noise", "blur", "contrast", "brightness", "translation", "occlusion",
)  # fmt: skip


class EvaluateSettings(Settings):
    """`evaluate:` on validation images; `precsearch confirm` measures the same on the test images.

    Attributes:
        images: the first so many of the split are used for all that follows; the calibration reads every image.
        attacks: gradient attacks on the inputs: ``fgsm``, ``pgd``.
        norms: of the perturbations: ``linf``, ``l2``.
        epsilons: largest L-infinity norms, in units of inputs that span 0 to 1; ascending.
        l2_epsilons: largest L2 norms, likewise.
        steps: gradient steps of ``pgd``; the step length fits each epsilon.
        restarts: random starts of ``pgd``.
        perturbation: whether to search the smallest perturbation that changes an answer.
        corruptions: changes of the images at five severities, by name.
        corrupted: folder that holds ready corrupted images, such as MNIST-C or CIFAR-10-C; none where None.
        bit_flips: probabilities that a bit of the packed weights flips.
        flip_draws: independent draws of flips for each.
        alone: whether to quantize each layer alone to each candidate (the sensitivity map of the report).
        draws: allocations drawn for the answers of a network that is still stochastic.
    """

    images: int = Field(default=500, ge=1)
    attacks: tuple[Attack, ...] = Field(default=(), strict=False)
    norms: tuple[Norm, ...] = Field(default=("linf",), min_length=1, strict=False)
    epsilons: tuple[Epsilon, ...] = Field(default=(0.05, 0.1, 0.2), min_length=1, strict=False)
    l2_epsilons: tuple[Annotated[float, Field(gt=0)], ...] = Field(default=(0.5, 1.0, 2.0), min_length=1, strict=False)
    steps: int = Field(default=20, ge=1)
    restarts: int = Field(default=1, ge=1)
    perturbation: bool = False
    corruptions: tuple[str, ...] = Field(default=(), strict=False)
    corrupted: str | None = None
    bit_flips: tuple[Rate, ...] = Field(default=(), strict=False)
    flip_draws: int = Field(default=3, ge=1)
    alone: bool = False
    draws: int = Field(default=10, ge=1)

    @field_validator("epsilons", "l2_epsilons", "bit_flips")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError(f"ascending values, each once, must hold, but got {list(value)}")
        return value

    @field_validator("attacks", "norms", "corruptions")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError(f"each name once must hold, but got {list(value)}")
        return value

    @field_validator("corruptions")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in CORRUPTIONS:
                raise ValueError(f"one of {', '.join(CORRUPTIONS)} must be given, but got {name!r}")
        return value


def unmeasured(metric: str, settings: EvaluateSettings) -> str | None:
    """What has to be set for a metric to be measured, where it is one of `evaluate:` and is not; else None."""
    name = metric.removeprefix("validation_")
    wanted = {
        "corrupted_accuracy": (bool(settings.corruptions), "`evaluate.corruptions`, such as [gaussian_noise, blur]"),
        "bit_flip_accuracy": (bool(settings.bit_flips), "`evaluate.bit_flips`, such as [1e-3, 1e-2]"),
        "perturbation": (settings.perturbation, "`evaluate.perturbation: true`"),
    }
    for attack in get_args(Attack):
        for norm in get_args(Norm):
            asked = attack in settings.attacks and norm in settings.norms
            key = f"{attack}_accuracy" if norm == "linf" else f"{attack}_{norm}_accuracy"
            wanted[key] = (
                asked,
                f"`evaluate.attacks` to a list with {attack}, and `evaluate.norms` to one with {norm}",
            )
    measured, key = wanted.get(name, (True, ""))
    return None if measured else key
