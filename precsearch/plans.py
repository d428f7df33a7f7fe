"""What a trial would do, known before any training, as data. No torch here."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from precsearch.allocation import BudgetPlan, Target

Decided = Literal["searched", "fixed", "pinned", "float"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TargetPlan(_Frozen):
    """What is decided about one target of one layer.

    Attributes:
        decided: ``searched``, ``fixed`` by an allocation, ``pinned`` to bits, or left ``float``.
        bits: candidates, ascending, where searched; one bit-width where fixed or pinned; none where float.
        own: whether the candidates are others than those of the plan.
        group: whose members all have one bit-width, or None.
        reason: why it is float though it is not pinned so; empty otherwise.
    """

    decided: Decided
    bits: tuple[int, ...] = ()
    own: bool = False
    group: str | None = None
    reason: str = ""


class LayerPlan(_Frozen):
    """One layer: what it is, what of each cost is its, what is decided about it.

    Attributes:
        name: the module's dotted name in its model.
        type: class name of the module.
        shape: of the weight.
        channels: output channels.
        numel: weight elements.
        inputs: elements of the layer's input for one sample.
        outputs: elements of what its module returns for one sample.
        macs: multiply-accumulates for one sample.
        tied_to: the layer whose weight this layer uses, or None; the weight is counted there.
        uncovered_input: why the input cannot be quantized; empty where it can.
        shares: cost -> the layer's part of all layers' (0 to 1): ``weights`` and ``inputs`` by elements, ``macs``;
            ``model_size``, ``bitops``, and budgets with a table by name or kind, all at the most bits.
        targets: target -> what is decided.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    channels: int
    numel: int
    inputs: int
    outputs: int
    macs: int
    tied_to: str | None = None
    uncovered_input: str = ""
    shares: dict[str, float] = {}
    targets: dict[Target, TargetPlan]


class GroupPlan(_Frozen):
    """What has one bit-width: tied weights, tensors that `share` names, a group of `groups`; or those that met.

    Attributes:
        name: of the group; several joined by ``+`` where groups had a layer in common.
        decided: about all of its members.
        bits: as in `TargetPlan`.
        members: target -> names of layers.
    """

    name: str
    decided: Decided
    bits: tuple[int, ...]
    members: dict[Target, tuple[str, ...]]


class SharedPlan(_Frozen):
    """A tensor that several layers read, each with bits of its own.

    Attributes:
        kind: ``residual`` (joined by sums) or ``shared_input``.
        readers: names of layers.
        yaml: the line under `inner` that would give such tensors one bit-width each.
    """

    kind: str
    readers: tuple[str, ...]
    yaml: str


class LiveTensor(_Frozen):
    """A tensor in memory: the layer that reads it (None: none that quantizes it), elements, bits (None: float32)."""

    reader: str | None
    elements: int
    bits: int | None
    bytes: int


class PeakPlan(_Frozen):
    """When activations take most memory, for one sample.

    Attributes:
        layer: that runs then.
        bytes: of all that is live.
        live: largest first; a tensor that several layers read is there once for each.
    """

    layer: str
    bytes: int
    live: tuple[LiveTensor, ...]


class TrialPlan(_Frozen):
    """What a trial would do, known before any training; `inspect` and `run --dry-run` print it.

    Attributes:
        model: name of the model.
        point: of the searched settings, dotted path -> value that this is the plan at; empty without a space.
        parameters: its trainable parameters, logits not counted.
        targets: what is quantized.
        bits: candidates of all layers that have none of their own.
        layers: in the model's order.
        groups: what has one bit-width.
        unshared: what several layers read and could have one bit-width.
        left_float: layer -> reason why it is not quantized.
        float_elements: parameters and float buffers that are no layer's weight.
        budgets: what each budget allows, `inner.budget` first.
        peaks: ``fewest``, ``most`` -> the peak of activation memory at so many bits; empty where it is not known.
        images: split -> number of images.
        costs: metric -> what the allocation costs, where it is known before any training.
    """

    model: str
    point: dict[str, Any] = {}
    parameters: int
    targets: tuple[Target, ...]
    bits: tuple[int, ...]
    layers: tuple[LayerPlan, ...]
    groups: tuple[GroupPlan, ...] = ()
    unshared: tuple[SharedPlan, ...] = ()
    left_float: dict[str, str] = {}
    float_elements: int = 0
    budgets: tuple[BudgetPlan, ...]
    peaks: dict[Literal["fewest", "most"], PeakPlan] = {}
    images: dict[str, int]
    costs: dict[str, float] = {}
