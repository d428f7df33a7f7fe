"""`compare:`, arms trained on the same seeds, in one cell or several."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from precsearch.experiment.base import Settings
from precsearch.experiment.outer import selectable

ArmKind = Literal["float", "uniform", "random", "fixed", "learned", "stochastic", "dropout", "weight-noise"]
_GIVEN: Final = {"inner.allocation": None, "inner.stochastic": False}  # whatever the experiment's own sampler does
# Kind -> what it sets.
ARM_KINDS: Final[dict[ArmKind, dict[str, Any]]] = {
    "float": {"inner.sampler": "float", **_GIVEN},
    "uniform": {"inner.sampler": "uniform", **_GIVEN},
    "random": {"inner.sampler": "random", **_GIVEN},
    "fixed": {"inner.sampler": "fixed", "inner.stochastic": False},
    "learned": {"inner.stochastic": False},
    "stochastic": {"inner.stochastic": True},
    "dropout": {"inner.sampler": "float", **_GIVEN, "inner.noise.kind": "dropout"},
    "weight-noise": {"inner.sampler": "float", **_GIVEN, "inner.noise.kind": "weight"},
}
_RISING: Final = ("accuracy", "perturbation")  # what these metrics end with is better when it is more
_LEAST_ARMS: Final = 2
Values = Annotated[tuple[Any, ...], Field(min_length=1, strict=False)]


class ArmSettings(Settings):
    """One entry of `compare.arms:`.

    Attributes:
        kind: ``float``, ``uniform``, ``random`` (allocations of equal cost), ``fixed`` (an allocation that `set`
            gives), ``learned`` (the experiment's own sampler, then frozen), ``stochastic`` (the same, drawn to the
            end), ``dropout`` and ``weight-noise`` (float networks with noise).
        set: dotted path -> value, on top of what the kind sets.
    """

    kind: ArmKind
    set: dict[str, Any] = Field(default={})


class TuneSettings(Settings):
    """`compare.tune:` the same tuning for every arm, in every cell, on seeds that no other training has.

    Attributes:
        over: dotted path -> values; every combination is tried.
        seeds: of each combination.
        metric: of the validation split, whose mean over the seeds chooses; the better of two equals is the first.
    """

    over: dict[str, Values] = Field(min_length=1)
    seeds: int = Field(default=2, ge=1)
    metric: str = "validation_accuracy"

    @field_validator("metric")
    @classmethod
    def _of_validation(cls, value: str) -> str:
        if not selectable(value).startswith("validation_"):
            raise ValueError(f"a metric of the validation split must be given, but got {value!r}")
        return value

    @property
    def rising(self) -> bool:
        """Whether more of the metric is better."""
        return self.metric.endswith(_RISING)


class CompareSettings(Settings):
    """`compare:` arms x seeds, where `kind: compare`.

    Attributes:
        seeds: of every arm, the same in each; more of them continue a run.
        at: dotted path -> values; every combination is a cell, in which all arms are trained.
        arms: name -> arm; at least two. A name names folders.
        reference: the arm that the others are compared with; the first of kind ``uniform`` where None, or else the
            first.
        tune: what is tuned for each arm before; nothing where None.
        margin: accuracies (fractions of 1) that differ by less are as good as equal.
    """

    seeds: int = Field(default=5, ge=1)
    at: dict[str, Values] = Field(default={})
    arms: dict[str, ArmSettings]
    reference: str | None = None
    tune: TuneSettings | None = None
    margin: float = Field(default=0.005, gt=0, lt=1)

    @property
    def against(self) -> str:
        """The name of the reference arm."""
        uniform = (name for name, arm in self.arms.items() if arm.kind == "uniform")
        return self.reference or next(uniform, next(iter(self.arms)))

    @field_validator("arms")
    @classmethod
    def _several_that_name_folders(cls, value: dict[str, ArmSettings]) -> dict[str, ArmSettings]:
        if len(value) < _LEAST_ARMS:
            raise ValueError(f"at least two arms must be given, but got {', '.join(value) or 'none'}")
        for name in value:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
                raise ValueError(
                    "only letters, digits, '.', '_' and '-', first a letter or digit, may stand in the name of an "
                    f"arm (it names folders), but got {name!r}"
                )
        return value

    @model_validator(mode="after")
    def _reference_is_an_arm(self) -> CompareSettings:
        if self.reference is not None and self.reference not in self.arms:
            raise ValueError(
                f"`reference` must name an arm, but got {self.reference!r}; the arms are {', '.join(self.arms)}"
            )
        return self
