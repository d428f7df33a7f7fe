"""Searched dimensions: dotted paths into the experiment, in Optuna's words; `when` is the only conditional."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Scalar = bool | int | float | str | None


class _Dimension(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    when: dict[str, tuple[Any, ...]] = {}


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


class CategoricalDimension(_Dimension):
    """One of `choices`."""

    type: Literal["categorical"]
    choices: tuple[Scalar, ...] = Field(min_length=1)


Dimension = Annotated[FloatDimension | IntDimension | CategoricalDimension, Field(discriminator="type")]


def _check_range(low: float, high: float, log: bool, step: float | None) -> None:
    if low > high:
        raise ValueError(f"`low <= high` must hold, but got low={low} and high={high}")
    if log and low <= 0:
        raise ValueError(f"`low > 0` must hold with `log: true`, but got low={low}")
    if log and step is not None:
        raise ValueError(f"`step` and `log: true` exclude each other, but got step={step}; drop one")
