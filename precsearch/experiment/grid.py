"""`grid:`, networks of several sizes in float, quantized directly, and retrained (after Sung et al. 2015)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from precsearch.experiment.base import Settings
from precsearch.experiment.compare import Values
from precsearch.experiment.layerwise import Bits, ascending

GridArm = Literal["float", "continued", "direct", "retrained"]
BitsList = Annotated[tuple[Bits, ...], Field(strict=False, min_length=1)]


class GridSettings(Settings):
    """`grid:` sizes x bits x arms x seeds, where `kind: grid`.

    Attributes:
        seeds: of every arm, the same in each; more of them continue a run.
        axes: dotted path -> values; every combination is a cell: one network.
        bits: bit-widths that all layers have alike, one after another.
        arms: ``float``, which the others start from; ``direct``, its weights quantized and nothing trained;
            ``retrained``, trained from there with quantized weights; ``continued``, trained from there in float for
            as long, so that a retrained network does not seem good for its longer training alone.
        retrain: dotted path -> value, for ``retrained`` and ``continued``, such as their epochs.
        layers: whether each layer is also quantized alone, all others in float, at each of `bits`.
        layers_at: dotted path of `axes` -> the value where `layers` holds; in every cell where None.
        margin: a gap in test accuracy (fraction of 1) that is smaller counts as none.
    """

    seeds: int = Field(default=5, ge=1)
    axes: dict[str, Values] = Field(default={})
    bits: BitsList = (2, 3, 4)
    arms: tuple[GridArm, ...] = Field(default=("float", "direct", "retrained"), strict=False)
    retrain: dict[str, Any] = Field(default={})
    layers: bool = False
    layers_at: dict[str, Any] | None = None
    margin: float = Field(default=0.002, gt=0, lt=1)

    @field_validator("bits")
    @classmethod
    def _ascending(cls, value: tuple[Bits, ...]) -> tuple[Bits, ...]:
        return ascending(value)

    @field_validator("arms")
    @classmethod
    def _float_among_them(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "float" not in value or len(set(value)) != len(value):
            raise ValueError(f"each arm once, and float among them, since the others start from it, but got {[*value]}")
        return value

    @model_validator(mode="after")
    def _layers_somewhere(self) -> GridSettings:
        if self.layers_at is not None and not self.layers:
            raise ValueError("`layers_at` goes with `layers: true`, and only with it")
        for path, value in (self.layers_at or {}).items():
            if path not in self.axes:
                raise ValueError(f"`layers_at` must name paths of `axes`, but got {path!r}; they are {[*self.axes]}")
            if value not in self.axes[path]:
                raise ValueError(f"`layers_at` must be on the axis {path} ({[*self.axes[path]]}), but got {value!r}")
        if self.layers and not {"direct", "retrained"} & set(self.arms):
            raise ValueError(f"`layers: true` needs direct or retrained among `arms`, but got {[*self.arms]}")
        return self
