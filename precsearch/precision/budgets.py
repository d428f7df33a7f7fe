"""Budgets: what an allocation may spend, and what it does spend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from fractions import Fraction
from math import isnan

from precsearch.allocation import BudgetUse, Cost, LayerPrecision, Target
from precsearch.errors import BudgetError
from precsearch.precision.kinds import (
    ActivationMemory,
    AverageBits,
    BitOps,
    Bits,
    BudgetKind,
    Energy,
    Footprint,
    Latency,
    LayerBits,
    ModelSize,
    Moment,
    Priced,
    Scope,
)
from precsearch.precision.limits import UNSAID, Limit, Range, along, asked, check_limit, check_range
from precsearch.precision.tables import read_table

__all__ = ["BUDGETS", "Bits", "Budget", "BudgetKind", "Footprint", "Moment", "Priced", "Scope"]

_TARGETS: tuple[Target, ...] = ("weight", "activation", "gradient")

BUDGETS: dict[str, type[BudgetKind]] = {
    "layer_bits": LayerBits,
    "average_bits": AverageBits,
    "model_size": ModelSize,
    "bitops": BitOps,
    "activation_memory": ActivationMemory,
    "latency": Latency,
    "energy": Energy,
}


@dataclass(frozen=True)
class Budget:
    """What every allocation keeps.

    Attributes:
        kind: ``layer_bits`` (mean bits over layers), ``average_bits`` (mean bits over elements), ``model_size``
            (bytes), ``bitops`` (MACs x weight bits x activation bits, one sample), ``activation_memory`` (bytes at
            the peak, one sample), ``latency`` or ``energy`` (what a table says, summed over layers).
        limit: in the kind's unit; one number, or one for each target. With a `range`, the one that the search ends
            with; the middle of the range where it is not given.
        layers: names or ``*`` patterns of the layers that it counts (for ``activation_memory``: while they run);
            all where None. What lies outside the layers does not count then.
        table: path of the CSV or JSON file of ``latency`` and ``energy``; see `precsearch.precision.tables`.
        name: what messages and results call it; its kind where None.
        range: (low, high), or that for each target: every draw's limit is drawn from it, so that one search answers
            every limit within it. Not for ``activation_memory``, which is a peak and no sum.

    Raises:
        BudgetError: when the kind is unknown, a limit or range is none or they disagree, or a table is missing or not
            wanted.
    """

    kind: str
    limit: Limit = UNSAID
    layers: Sequence[str] | None = None
    table: str | None = None
    name: str | None = None
    range: Range | None = None

    def __post_init__(self) -> None:
        if self.kind not in BUDGETS:
            raise BudgetError(f"budget kind must be one of {', '.join(BUDGETS)}, but got {self.kind!r}")
        if self.range is not None:
            self._settle_range(self.range)
        check_limit(self.limit, self.kind)
        if BUDGETS[self.kind].takes_table != (self.table is not None):
            raise BudgetError(
                f"`table` must name the file of costs of a {self.kind} budget; give its path"
                if self.table is None
                else f"`table` goes with latency and energy only, but got {self.table!r} for {self.kind}; drop it"
            )
        if isinstance(self.layers, str) or (self.layers is not None and not self.layers):
            raise BudgetError(f"`layers` takes a list of names or patterns, but got {self.layers!r}")

    def _settle_range(self, ends: Range) -> None:
        check_range(ends, self.kind)
        if BUDGETS[self.kind] is ActivationMemory:
            raise BudgetError(f"a range needs a budget that is a sum over layers, but {self.kind} is a peak; drop it")
        unsaid = not isinstance(self.limit, Mapping) and isnan(self.limit)
        limit = along(ends, 0.5) if unsaid else asked(self.limit, ends, self.kind)
        object.__setattr__(self, "limit", limit)

    def at(self, limit: Limit) -> Budget:
        """The same, limited to one limit of its range.

        Raises:
            BudgetError: when it has no range, or the limit is outside.
        """
        if self.range is None:
            raise BudgetError(
                f"only a budget with a range answers other limits, but {self.title} was searched at {self.limit} "
                "alone; search with a `range`"
            )
        return replace(self, limit=asked(limit, self.range, self.title))

    @property
    def title(self) -> str:
        """For messages: its name and kind, and which layers it is for."""
        named = f"{self.name} ({self.kind})" if self.name and self.name != self.kind else self.kind
        return named if self.layers is None else f"{named} over {', '.join(self.layers)}"

    def limit_of(self, scope: Scope) -> Fraction | None:
        """The limit, as written, in one scope; None where it has none.

        Raises:
            BudgetError: when it has limits by target, and the kind does not bind targets on their own.
        """
        if not isinstance(self.limit, Mapping):
            return Fraction(str(self.limit))
        if scope not in _TARGETS:
            raise BudgetError(
                f"{self.kind} binds weights and activations together; give one limit, not {dict(self.limit)}"
            )
        value = next((value for target, value in self.limit.items() if target == scope), None)
        return None if value is None else Fraction(str(value))


@dataclass(frozen=True)
class BoundBudget:
    """A budget, for one model.

    Attributes:
        budget: as it was given.
        kind: that prices.
        counted: names of the layers that count.
        float_elements: elements outside the layers, where they count.
        scopes: those in which something is searched.
    """

    budget: Budget
    kind: BudgetKind
    counted: frozenset[str]
    float_elements: int
    scopes: tuple[Scope, ...] = ()

    @classmethod
    def bind(cls, budget: Budget, names: Sequence[str], float_elements: int, moments: Sequence[Moment]) -> BoundBudget:
        """Resolve patterns, read the table.

        Raises:
            BudgetError: when a pattern matches no layer, or the table names none.
            DataError: when the table cannot be read.
        """
        counted = _matched(budget, names)
        own = [moment for moment in moments if budget.layers is None or moment.layer in counted]
        kind = BUDGETS[budget.kind](read_table(budget.table) if budget.table is not None else None, own)
        kind.check(names)
        if isinstance(kind, ActivationMemory):
            counted = frozenset(names)  # what a moment's layer is not may still lie in memory
        return cls(budget, kind, counted, 0 if budget.layers is not None else float_elements)

    def own(self, layers: Sequence[Priced]) -> list[Priced]:
        """The layers that count; of tied layers whose owner does not, the first stands for it."""
        own, owners = [], set(self.counted)
        for priced in layers:
            if priced.layer.name not in self.counted:
                continue
            tied = priced.layer.tied_to
            stands_for_it = tied is not None and tied not in owners
            own.append(priced._replace(layer=replace(priced.layer, tied_to=None)) if stands_for_it else priced)
            owners.add(tied or priced.layer.name)
        return own

    def spend(self, layers: Sequence[Priced], scope: Scope) -> Fraction:
        """Exactly what all layers spend in `scope`, in the kind's unit."""
        return spend(self.kind, scope, self.own(layers), self.float_elements)

    def use(self, layers: Sequence[Priced]) -> BudgetUse:
        """What an allocation spends of the budget in the scopes that it binds."""
        scopes = [scope for scope in self.kind.scopes() if scope not in _TARGETS or scope in self.scopes]
        achieved = {scope: float(self.spend(layers, scope)) for scope in scopes}
        by_target = {target: achieved[target] for target in _TARGETS if target in achieved}
        limit = self.budget.limit
        spent = max(achieved.values(), default=0.0)
        return BudgetUse(
            kind=self.budget.kind,
            name=self.budget.name,
            layers=None if self.budget.layers is None else tuple(self.budget.layers),
            limit=dict(limit) if isinstance(limit, Mapping) else limit,
            achieved={t: by_target[t] for t in limit if t in by_target} if isinstance(limit, Mapping) else spent,
            by_target=by_target,
        )


def nearest_layer(pattern: str, names: Sequence[str]) -> str:
    """`; did you mean 'x'?` for the layer nearest to `pattern`, or nothing."""
    near = get_close_matches(pattern, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else "."


def _matched(budget: Budget, names: Sequence[str]) -> frozenset[str]:
    if budget.layers is None:
        return frozenset(names)
    for pattern in budget.layers:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise BudgetError(
                f"`layers` of budget {budget.name or budget.kind} must name a layer, but the model has no layer "
                f"{pattern!r}{nearest_layer(pattern, names)} Its layers: {', '.join(names)}"
            )
    return frozenset(name for name in names if any(fnmatchcase(name, pattern) for pattern in budget.layers))


def footprint(layer: LayerPrecision, shape: tuple[int, ...]) -> Footprint:
    """What a layer of an allocation, with a weight of this shape, is to a budget."""
    weight = layer.targets.get("weight")
    rows = shape[0] if weight is not None and weight.granularity == "channel" else 1
    return Footprint(
        layer.name, layer.numel, rows, layer.inputs, layer.macs, tied_to=layer.tied_to, type=layer.type, shape=shape
    )


def spend(kind: BudgetKind, scope: Scope, layers: Sequence[Priced], float_elements: int) -> Fraction:
    """Exactly what layers spend in `scope`, in the kind's unit."""
    total = Fraction(sum(kind.price(priced, scope) for priced in layers), kind.scale)
    return (total + kind.fixed(float_elements, scope)) / (sum(kind.share(priced, scope) for priced in layers) or 1)


def cost_of(layers: Sequence[Priced], float_elements: int, moments: Sequence[Moment] = ()) -> Cost:
    """What a network costs, in every kind that an allocation reports; the peak memory where moments are known."""
    average: dict[Target, float] = {
        target: float(spend(AverageBits(), target, layers, float_elements))
        for target in _TARGETS
        if any(priced.bits(target) is not None for priced in layers)
    }
    memory = ActivationMemory(moments=moments)
    peak = max((int(spend(memory, scope, layers, float_elements)) for scope in memory.scopes()), default=None)
    return Cost(
        average_bits=average,
        model_size=int(spend(ModelSize(), "all", layers, float_elements)),
        bitops=int(spend(BitOps(), "all", layers, float_elements)),
        activation_memory=peak,
    )
