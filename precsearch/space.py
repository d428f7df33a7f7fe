"""Searched dimensions: dotted paths into the experiment, in Optuna's words; `when` is the only conditional.

No optuna here: `suggest` asks whatever has Optuna's `suggest_*` methods.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from precsearch.errors import ConfigurationError

Scalar = bool | int | float | str | None


class Suggester(Protocol):
    """What `suggest` needs of an Optuna trial."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A real number between `low` and `high`."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """A whole number between `low` and `high`."""

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """One of `choices`."""


class _Dimension(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    when: dict[str, Annotated[tuple[Any, ...], Field(strict=False, min_length=1)]] = {}

    def holds(self, chosen: Mapping[str, Any]) -> bool:
        """Whether the dimensions named in `when` were searched and have one of the values listed."""
        return all(
            path in chosen and any(_same(chosen[path], value) for value in values) for path, values in self.when.items()
        )


class FloatDimension(_Dimension):
    """A real number between `low` and `high`, both included."""

    type: Literal["float"]
    low: float
    high: float
    step: float | None = Field(default=None, gt=0)
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> FloatDimension:
        _check_range(self.low, self.high, self.log, self.step)
        return self

    def suggest(self, trial: Suggester, name: str) -> float:
        """Ask `trial` for a value."""
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def contains(self, value: object) -> bool:
        """Whether `value` can be suggested."""
        return _in_range(value, self.low, self.high, self.step)

    def ends(self) -> dict[str | int, float]:
        """Key of the YAML -> the value to try there."""
        return {"low": self.low, "high": self.high}

    def grid(self, name: str) -> list[float]:
        """Every value.

        Raises:
            ConfigurationError: when there is no step.
        """
        if self.step is None:
            raise ConfigurationError(
                f"a grid needs countable values, but {name} is a float without `step`; "
                "give it a step, or use another `study.sampler`"
            )
        low, step = Decimal(str(self.low)), Decimal(str(self.step))
        return [float(low + i * step) for i in range(_steps(self.low, self.high, self.step) + 1)]

    def __str__(self) -> str:
        return f"{self.low} to {self.high}" + (f" in steps of {self.step}" if self.step else "")


class IntDimension(_Dimension):
    """A whole number between `low` and `high`, both included."""

    type: Literal["int"]
    low: int
    high: int
    step: int | None = Field(default=None, ge=1)
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> IntDimension:
        _check_range(self.low, self.high, self.log, self.step)
        return self

    def suggest(self, trial: Suggester, name: str) -> int:
        """Ask `trial` for a value."""
        return trial.suggest_int(name, self.low, self.high, step=self.step or 1, log=self.log)

    def contains(self, value: object) -> bool:
        """Whether `value` can be suggested."""
        return isinstance(value, int) and _in_range(value, self.low, self.high, self.step)

    def ends(self) -> dict[str | int, int]:
        """Key of the YAML -> the value to try there."""
        return {"low": self.low, "high": self.high}

    def grid(self, _name: str) -> list[int]:
        """Every value."""
        return list(range(self.low, self.high + 1, self.step or 1))

    def __str__(self) -> str:
        return f"{self.low} to {self.high}" + (f" in steps of {self.step}" if self.step else "")


def _scalar(value: object) -> Scalar:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(
        f"a single value must hold for each choice, but got {value!r}; "
        'write a list as text, such as "2,4,8" for inner.bits'
    )


class CategoricalDimension(_Dimension):
    """One of `choices`."""

    type: Literal["categorical"]
    choices: tuple[Annotated[Any, AfterValidator(_scalar)], ...] = Field(min_length=1, strict=False)

    @field_validator("choices")
    @classmethod
    def _distinct(cls, value: tuple[Scalar, ...]) -> tuple[Scalar, ...]:
        for i, choice in enumerate(value):
            if any(_same(choice, earlier) for earlier in value[:i]):
                raise ValueError(f"each choice once must hold, but got {choice!r} twice; drop one")
        return value

    def suggest(self, trial: Suggester, name: str) -> Scalar:
        """Ask `trial` for a value."""
        chosen: Scalar = trial.suggest_categorical(name, list(self.choices))
        return chosen

    def contains(self, value: object) -> bool:
        """Whether `value` can be suggested."""
        return any(_same(value, choice) for choice in self.choices)

    def ends(self) -> dict[str | int, Scalar]:
        """Index of the choice -> the value to try there."""
        return dict(enumerate(self.choices))

    def grid(self, _name: str) -> list[Scalar]:
        """Every value."""
        return list(self.choices)

    def __str__(self) -> str:
        return "one of " + ", ".join(repr(choice) for choice in self.choices)


Dimension = Annotated[FloatDimension | IntDimension | CategoricalDimension, Field(discriminator="type")]


def suggest(trial: Suggester, dimensions: Mapping[str, Dimension]) -> dict[str, Any]:
    """Ask a trial for a point of the search space.

    Args:
        trial: an Optuna trial, or anything with its `suggest_float`, `suggest_int` and `suggest_categorical`.
        dimensions: dotted path -> dimension, such as `experiment.space`.

    Returns:
        Dotted path -> value, without dimensions whose `when` fails: they keep the experiment's value.
    """
    chosen: dict[str, Any] = {}
    for path, dimension in dimensions.items():
        if dimension.holds(chosen):
            chosen[path] = dimension.suggest(trial, path)
    return chosen


def grid(dimensions: Mapping[str, Dimension]) -> dict[str, list[Any]]:
    """Every value of every dimension, as Optuna's `GridSampler` wants them.

    Raises:
        ConfigurationError: when a float has no step.
    """
    return {path: dimension.grid(path) for path, dimension in dimensions.items()}


def _same(left: object, right: object) -> bool:
    return left == right and isinstance(left, bool) == isinstance(right, bool)


def _steps(low: float, high: float, step: float) -> int:
    return round((high - low) / step)


def _in_range(value: object, low: float, high: float, step: float | None) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        return False
    return step is None or math.isclose(low + _steps(low, value, step) * step, value, abs_tol=1e-8 * step)


def _check_range(low: float, high: float, log: bool, step: float | None) -> None:
    if low > high:
        raise ValueError(f"`low <= high` must hold, but got low={low} and high={high}")
    if log and low <= 0:
        raise ValueError(f"`low > 0` must hold with `log: true`, but got low={low}")
    if log and step is not None:
        raise ValueError(f"`step` and `log: true` exclude each other, but got step={step}; drop one")
    if step is not None and not _in_range(high, low, high, step):
        last = Decimal(str(low)) + int((high - low) // step) * Decimal(str(step))
        raise ValueError(
            "a whole number of steps from `low` to `high` must hold, "
            f"but got low={low}, high={high} and step={step}; write high={last}"
        )
