"""The answers of one search with a range, as a file: the allocation at every limit. No torch here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from precsearch.allocation import Allocation, BudgetUse, Cost, LayerPrecision, Target
from precsearch.errors import RunDirectoryError
from precsearch.files import write_json
from precsearch.precision.limits import Limit, asked

FORMAT: Final = "precsearch-front"
VERSION: Final = 1


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FrontPoint(_Frozen):
    """One answer.

    Attributes:
        bits: target -> bits of each layer, in the order of the layers; None where it is float or not decided.
        budgets: what it spends of every budget.
        cost: what the network costs.
    """

    bits: dict[Target, tuple[int | None, ...]]
    budgets: tuple[BudgetUse, ...]
    cost: Cost

    @classmethod
    def of(cls, allocation: Allocation) -> FrontPoint:
        """What differs from one answer to another."""
        targets = list(dict.fromkeys(target for layer in allocation.layers for target in layer.targets))
        bits = {target: tuple(layer.bits(target) for layer in allocation.layers) for target in targets}
        return cls(bits=bits, budgets=allocation.budgets, cost=allocation.cost)

    def keeps(self, limit: Limit, index: int) -> bool:
        """Whether it spends no more of one of its budgets."""
        use = self.budgets[index]
        spent: dict[Any, float] = {**use.by_target} or {"all": max(_values(use.achieved))}
        return all(
            value <= (limit.get(target, value) if isinstance(limit, Mapping) else limit)
            for target, value in spent.items()
        )

    def fill(self, layer: LayerPrecision, position: int) -> LayerPrecision:
        """`layer` with the bits of this answer."""
        targets = {
            target: precision.model_copy(update={"bits": self.bits[target][position]})
            for target, precision in layer.targets.items()
        }
        return layer.model_copy(update={"targets": targets})


class BudgetFront(_Frozen):
    """The allocation at every limit of a range; `front.json` of a trial's directory.

    Attributes:
        format: always ``precsearch-front``.
        version: of the JSON format.
        ranged: which of the budgets has the range.
        range: (low, high), or that for each target.
        allocation: one of the answers, whose layers the points fill in.
        points: from the least limit to the highest.
    """

    format: Literal["precsearch-front"] = FORMAT
    version: Literal[1] = VERSION
    ranged: int = Field(ge=0)
    range: tuple[float, float] | dict[Target, tuple[float, float]]
    allocation: Allocation
    points: tuple[FrontPoint, ...] = Field(min_length=1)

    def at(self, limit: Limit) -> Allocation:
        """The answer at a limit: the last point that keeps it.

        Args:
            limit: one number, or one for each target of the range.

        Raises:
            BudgetError: when it is not within the range.
        """
        use = self.allocation.budgets[self.ranged]
        limit = asked(limit, self.range, use.name or use.kind)
        point = next((point for point in reversed(self.points) if point.keeps(limit, self.ranged)), self.points[0])
        uses = list(point.budgets)
        uses[self.ranged] = uses[self.ranged].model_copy(update={"limit": limit})
        layers = tuple(point.fill(layer, i) for i, layer in enumerate(self.allocation.layers))
        changed = {"budget": uses[0], "budgets": tuple(uses), "layers": layers, "cost": point.cost}
        return self.allocation.model_copy(update=changed)

    def write(self, path: Path) -> None:
        """Write it, whole or not at all."""
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def read(cls, path: Path) -> BudgetFront:
        """Read a `front.json`.

        Raises:
            RunDirectoryError: when it cannot be read, or is of a version that is not known here.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            version = data.get("version") if isinstance(data, dict) and data.get("format") == FORMAT else None
            if version not in (None, VERSION):
                raise RunDirectoryError(
                    f"{path}: front version {version!r} is not known here (this precsearch reads version {VERSION}); "
                    "upgrade precsearch"
                )
            return cls.model_validate(data)
        except (OSError, ValueError, ValidationError) as error:
            first = str(error).splitlines()[0]
            raise RunDirectoryError(
                f"cannot read {path}: {first}; was the file cut short? train the trial again"
            ) from None


def _values(achieved: float | Mapping[Target, float]) -> list[float]:
    return [*achieved.values()] if isinstance(achieved, Mapping) else [achieved]
