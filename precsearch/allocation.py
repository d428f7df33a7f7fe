"""The answer of a search: how many bits each layer gets, as data and as JSON format 1.

No torch here: an allocation is read, compared and exported on machines that train nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from precsearch.documents import as_model, check_header, parse_json
from precsearch.errors import AllocationError
from precsearch.files import write_text

FORMAT: Final = "precsearch-allocation"
VERSION: Final = 1
FLOAT_BITS: Final = 32
TABLED: Final = ("latency", "energy")  # budget kinds whose costs the user measured
_LATER: Final = ("budgets", "name", "layers", "tied_to", "activation_memory")

Target = Literal["weight", "activation", "gradient"]
Name = Annotated[str, Field(min_length=1)]
Amount = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TargetPrecision(_Frozen):
    """How one target of one layer is quantized.

    Attributes:
        bits: bit-width, 1 to 16; None leaves the target in float32.
        signed: whether the grid has negative levels.
        granularity: one scale for the tensor, or one for each output channel.
        scale: the scale rule that sets the range.
        quantizer: the grid, by name.
    """

    bits: int | None = Field(ge=1, le=16)
    signed: bool = True
    granularity: Literal["tensor", "channel"] = "tensor"
    scale: Name = "l2"
    quantizer: Name = "dorefa"


class LayerPrecision(_Frozen):
    """One layer and its bit-widths.

    Attributes:
        name: the module's dotted name in its model.
        type: class name of the module.
        numel: weight elements.
        inputs: elements of the layer's input for one sample.
        macs: multiply-accumulates for one sample.
        group: name shared by layers that must have the same bits, or None.
        tied_to: the layer whose weight this layer uses, or None; the weight is counted there.
        targets: target -> precision; a target that is absent was neither searched nor pinned.
    """

    name: Name
    type: Name
    numel: int = Field(ge=1)
    inputs: Count
    macs: Count
    group: Name | None = None
    tied_to: Name | None = None
    targets: dict[Target, TargetPrecision]

    def bits(self, target: Target = "weight") -> int | None:
        """Bit-width of `target`; None where it stays in float32."""
        precision = self.targets.get(target)
        return precision.bits if precision is not None else None


class ModelIdentity(_Frozen):
    """Which network an allocation is for.

    Attributes:
        name: for people.
        fingerprint: for machines: of the layers' names, types and weight shapes, in hexadecimal digits.
    """

    name: Name
    fingerprint: str = Field(pattern="^[0-9a-f]+$")


class BudgetUse(_Frozen):
    """A budget that an allocation was made under, and what it spends of it.

    Attributes:
        kind: budget kind, such as ``average_bits``.
        limit: what may be spent, in the kind's unit; one number, or one for each target.
        achieved: what is spent, in the shape of `limit`; where one number binds several targets, the largest.
        by_target: what each target spends, for the kinds that bind each target on its own.
        name: of the budget, where it has one.
        layers: names or patterns of the layers that it counts; all where None.
    """

    kind: Name
    limit: Amount | dict[Target, Amount]
    achieved: Amount | dict[Target, Amount]
    by_target: dict[Target, Amount] = {}
    name: str | None = None
    layers: tuple[Name, ...] | None = None


class BudgetPlan(_Frozen):
    """What one budget allows.

    Attributes:
        name: of a further budget; None for `inner.budget`.
        kind: budget kind.
        limit: what it allows.
        cheapest: cost of all at the fewest bits, by target where the kind binds each on its own (else ``all``).
        dearest: the same at the most bits.
        loose: whether no allocation can break it.
        range: (low, high) that every draw's limit is drawn from, or that for each target; None for a fixed limit.
    """

    name: str | None
    kind: str
    limit: float | dict[Target, float]
    cheapest: dict[str, float]
    dearest: dict[str, float]
    loose: bool
    range: tuple[float, float] | dict[Target, tuple[float, float]] | None = None


class Cost(_Frozen):
    """What the whole network costs under the allocation.

    Attributes:
        average_bits: target -> mean bits over the elements that are quantized.
        model_size: bytes of packed weights, scales and float parameters.
        bitops: MACs x weight bits x activation bits for one sample, 32 bits where float.
        activation_memory: bytes of the activations in memory at once, one sample; None where it is not known.
    """

    average_bits: dict[Target, Amount]
    model_size: Count
    bitops: Count
    activation_memory: Count | None = None


class Allocation(_Frozen):
    """Layer -> bit-widths, with the budget it keeps, what it costs and where it comes from.

    Attributes:
        format: always ``precsearch-allocation``.
        version: of the JSON format.
        model: which network it is for.
        budget: the budget it was made under, the first of several, or None.
        budgets: every budget it was made under.
        layers: in the order of the model's modules.
        cost: what the network costs under it.
        metrics: measured with it, such as ``validation_accuracy``.
        provenance: versions, seeds, study, trial, data checksum.
    """

    format: Literal["precsearch-allocation"] = FORMAT
    version: Literal[1] = VERSION
    model: ModelIdentity
    budget: BudgetUse | None = None
    budgets: tuple[BudgetUse, ...] = ()
    layers: tuple[LayerPrecision, ...] = Field(min_length=1)
    cost: Cost
    metrics: dict[str, float] = {}
    provenance: dict[str, Any] = {}

    @model_validator(mode="after")
    def _layers_agree(self) -> Allocation:
        before: set[str] = set()
        for place, layer in enumerate(self.layers):
            if layer.name in before:
                raise ValueError(f"layers.{place}.name: each layer is named once, but {layer.name!r} comes again")
            if layer.tied_to is not None and layer.tied_to not in before:
                raise ValueError(
                    f"layers.{place}.tied_to: a weight is tied to that of a layer before it, but {layer.tied_to!r} is "
                    "none of them"
                )
            before.add(layer.name)
        return self

    def bits(self, target: Target = "weight") -> dict[str, int | None]:
        """Layer name -> bit-width of `target`, in the order of the layers."""
        return {layer.name: layer.bits(target) for layer in self.layers}

    def with_context(self, metrics: Mapping[str, float], provenance: Mapping[str, Any]) -> Allocation:
        """A copy that also says what was measured with it and where it comes from."""
        return self.model_copy(update={"metrics": dict(metrics), "provenance": dict(provenance)})

    def to_json(self, path: str | Path | None = None) -> str:
        """The allocation as JSON text; written to `path` as well where one is given."""
        text = json.dumps(_without_unsaid(self.model_dump(mode="json")), indent=2) + "\n"
        if path is not None:
            write_text(Path(path), text)
        return text

    @classmethod
    def from_json(cls, source: str | Path) -> Allocation:
        """Read an allocation from JSON text or from a file.

        Args:
            source: JSON text (anything whose first character is ``{``), or a path.

        Raises:
            AllocationError: when the file is missing or truncated, is of another format or of a newer version, or
                breaks a rule of the format (`precsearch.allocation_schema`).
        """
        text, where = _text_of(source)
        data = parse_json(text, where)
        check_header(data, where, FORMAT, VERSION)
        return as_model(cls, data, where)


def _without_unsaid(data: Any) -> Any:
    """Without the keys that came to format 1 later, where they say nothing."""
    if isinstance(data, dict):
        return {
            key: _without_unsaid(value) for key, value in data.items() if key not in _LATER or value not in (None, [])
        }
    return [_without_unsaid(entry) for entry in data] if isinstance(data, list) else data


def _text_of(source: str | Path) -> tuple[str, str]:
    if isinstance(source, str) and source.lstrip().startswith("{"):
        return source, "allocation"
    path = Path(source)
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AllocationError(f"cannot read the allocation {path}: {reason}") from None
