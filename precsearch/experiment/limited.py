"""`inner.budget:` and `inner.budgets:`, what every allocation keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from precsearch.allocation import Target
from precsearch.experiment.base import Settings


# Unions say which member was meant, so that a wrong value is told once and in that member's words.
def _limit_form(value: object) -> str:
    return "by target" if isinstance(value, Mapping) else "number"


def _by_target(ends: tuple[float, float] | dict[Target, tuple[float, float]]) -> dict[Any, tuple[float, float]]:
    return dict(ends) if isinstance(ends, dict) else {"all": ends}


def show_range(ends: tuple[float, float] | dict[Target, tuple[float, float]]) -> str:
    """As it is written: ``[2, 6]``, or ``{weight: [2, 4]}``."""
    texts = {target: f"[{low:g}, {high:g}]" for target, (low, high) in _by_target(ends).items()}
    return texts.get("all") or "{" + ", ".join(f"{target}: {text}" for target, text in texts.items()) + "}"


Positive = Annotated[float, Field(gt=0)]
Limit = Annotated[
    Annotated[Positive, Tag("number")] | Annotated[dict[Target, Positive], Field(min_length=1), Tag("by target")],
    Discriminator(_limit_form),
]
Ends = Annotated[tuple[Positive, Positive], Field(strict=False)]
Range = Annotated[
    Annotated[Ends, Tag("number")] | Annotated[dict[Target, Ends], Field(min_length=1), Tag("by target")],
    Discriminator(_limit_form),
]
Kind = Literal["layer_bits", "average_bits", "model_size", "bitops", "activation_memory", "latency", "energy"]


class BudgetSettings(Settings):
    """`inner.budget:`.

    Attributes:
        kind: a registered budget kind.
        limit: what may be spent, in the kind's unit (bits, bytes, BitOPs, the table's); one number, or one a target.
            With a `range`, the one that training ends with; the middle of the range where it is not given.
        range: ``[low, high]``, or that a target: every draw's limit is drawn from it, so that one training answers
            every limit within it (`precsearch export RUN_DIR --budget V`); not for ``activation_memory``.
        layers: names or ``*`` patterns of the layers that count; all where it is not given.
        table: path of the CSV or JSON file of costs that ``latency`` and ``energy`` need.
    """

    kind: Kind = "average_bits"
    limit: Limit = 3.0
    range: Range | None = None
    layers: tuple[str, ...] | None = Field(default=None, min_length=1, strict=False)
    table: str | None = None

    @model_validator(mode="after")
    def _table_where_it_is_read(self) -> BudgetSettings:
        if (self.kind in ("latency", "energy")) != (self.table is not None):
            raise ValueError(
                "`table` goes with `kind: latency` and `kind: energy`, and only with them; "
                f"got kind {self.kind!r} and table {self.table!r}"
            )
        return self

    @model_validator(mode="after")
    def _limit_within_range(self) -> BudgetSettings:
        if self.range is None:
            return self
        if self.kind == "activation_memory":
            raise ValueError("`range` needs a budget that is a sum over layers, but activation_memory is a peak")
        if any(low >= high for low, high in _by_target(self.range).values()):
            raise ValueError(f"`range` must be [low, high] with low < high, but got {show_range(self.range)}")
        if "limit" not in self.model_fields_set:
            middle = {target: (low + high) / 2 for target, (low, high) in _by_target(self.range).items()}
            self.__dict__["limit"] = middle if isinstance(self.range, dict) else middle["all"]
        limits: dict[Any, float] = dict(self.limit) if isinstance(self.limit, dict) else {"all": self.limit}
        ranges = _by_target(self.range)
        if limits.keys() != ranges.keys() or any(not ranges[t][0] <= v <= ranges[t][1] for t, v in limits.items()):
            raise ValueError(
                f"`limit` must lie within `range`, which is {show_range(self.range)}, but got {self.limit}; "
                "give a `limit` within it; left out, it is the middle"
            )
        return self


class FurtherBudgetSettings(BudgetSettings):
    """One entry of `inner.budgets:`, under a name of its own; every draw keeps it besides `inner.budget`.

    Attributes:
        kind: a registered budget kind.
        limit: as in `inner.budget`.
        range: None; only `inner.budget` may have one.
        layers: as in `inner.budget`.
        table: as in `inner.budget`.
    """

    kind: Kind
    limit: Limit
    range: None = None
