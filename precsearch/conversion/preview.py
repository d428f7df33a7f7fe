"""What a conversion and its budgets come to, as the data that people are shown before any training."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from precsearch.allocation import FLOAT_BITS, Allocation, Target
from precsearch.conversion.decisions import Choice, Part, uncovered
from precsearch.conversion.plan import SHARED, Conversion
from precsearch.layers import Layer
from precsearch.plans import GroupPlan, LayerPlan, LiveTensor, PeakPlan, SharedPlan, TargetPlan, TrialPlan
from precsearch.precision.budgets import BUDGETS, BoundBudget, BudgetKind, Moment, Priced
from precsearch.precision.planning import Plan


def preview(
    conversion: Conversion,
    plan: Plan | None,
    fixed: Allocation | None,
    *,
    model: str,
    parameters: int,
    images: dict[str, int],
) -> TrialPlan:
    """Put together what a trial would do.

    Args:
        conversion: what is quantized.
        plan: under which budgets; None where nothing is quantized and none holds.
        fixed: the allocation of the ``fixed`` sampler, None for all others.
        model: name of the model.
        parameters: its trainable ones.
        images: split -> number of images.
    """
    choices = conversion.choices()
    unquantized = [Priced(choice.layer, None, None, None) for choice in choices]
    fewest, most = (unquantized, unquantized) if plan is None else plan.ends(choices)
    ends: dict[Literal["fewest", "most"], list[Priced]] = {"fewest": fewest, "most": most}
    moments = conversion.inventory.moments if plan is None else plan.moments
    shares = _shares(() if plan is None else plan.bound, most)
    return TrialPlan(
        model=model,
        parameters=parameters,
        images=images,
        targets=conversion.targets,
        bits=conversion.default,
        layers=tuple(_layer(layer, conversion, fixed, shares) for layer in conversion.layers),
        groups=_groups(conversion, fixed),
        unshared=_unshared(conversion),
        left_float=conversion.inventory.left_float,
        float_elements=conversion.inventory.float_elements,
        budgets=() if plan is None else plan.describe(choices),
        peaks={name: peak for name, at in ends.items() if (peak := _peak(moments, at)) is not None},
    )


def _layer(
    layer: Layer, conversion: Conversion, fixed: Allocation | None, shares: dict[str, dict[str, float]]
) -> LayerPlan:
    return LayerPlan(
        name=layer.name,
        type=layer.type,
        shape=layer.shape,
        channels=layer.channels,
        numel=layer.numel,
        inputs=layer.inputs,
        outputs=layer.outputs,
        macs=layer.macs,
        tied_to=layer.tied_to,
        uncovered_input=layer.uncovered_input,
        shares={cost: own.get(layer.name, 0.0) for cost, own in shares.items()},
        targets={target: _target(layer, target, conversion, fixed) for target in conversion.targets},
    )


def _target(layer: Layer, target: Target, conversion: Conversion, fixed: Allocation | None) -> TargetPlan:
    decisions, part = conversion.decisions, (layer.name, target)
    if part not in decisions.choices:
        return TargetPlan(decided="float", reason=uncovered(layer, target, conversion.layers))
    choice, group = decisions.choices[part], decisions.group(*part)
    made = _decided(choice, part, fixed)
    own = made.decided == "searched" and choice != conversion.default
    return made.model_copy(update={"own": own, "group": group.name if group is not None else None})


def _decided(choice: Choice, part: Part, fixed: Allocation | None) -> TargetPlan:
    if choice is None:
        return TargetPlan(decided="float")
    if isinstance(choice, int):
        return TargetPlan(decided="pinned", bits=(choice,))
    bits = fixed.bits(part[1])[part[0]] if fixed is not None else None
    return TargetPlan(decided="searched", bits=choice) if bits is None else TargetPlan(decided="fixed", bits=(bits,))


def _groups(conversion: Conversion, fixed: Allocation | None) -> tuple[GroupPlan, ...]:
    found = []
    for group in conversion.decisions.groups:
        made = _decided(conversion.decisions.choices[group.parts[0]], group.parts[0], fixed)
        members: dict[Target, list[str]] = {}
        for layer, target in group.parts:
            members.setdefault(target, []).append(layer)
        named = {target: tuple(names) for target, names in members.items()}
        found.append(GroupPlan(name=group.name, decided=made.decided, bits=made.bits, members=named))
    return tuple(found)


def _unshared(conversion: Conversion) -> tuple[SharedPlan, ...]:
    """What several layers read with bits of their own, where one of them is searched."""
    decisions, found = conversion.decisions, {}
    for shared in conversion.inventory.shared:
        names = tuple(name for name in shared.readers if (name, "activation") in decisions.choices)
        groups = {decisions.group(name, "activation") for name in names}
        together = len(groups) == 1 and None not in groups
        searched = any(isinstance(decisions.choice(name, "activation"), tuple) for name in names)
        if len(names) > 1 and searched and not together:
            line = f"share: [{', '.join(kind for kind in SHARED if kind == shared.kind or kind in conversion.share)}]"
            found[names] = SharedPlan(kind=shared.kind, readers=names, yaml=line)
    return tuple(found.values())


def _shares(bound: Sequence[BoundBudget], layers: Sequence[Priced]) -> dict[str, dict[str, float]]:
    """Cost -> layer -> its part of all layers' cost."""
    tables = {each.budget.name or each.budget.kind: each for each in bound if each.kind.takes_table}
    spent = {
        "weights": {each.layer.name: each.layer.elements("weight") for each in layers},
        "macs": {each.layer.name: each.layer.macs for each in layers},
        "inputs": {each.layer.name: each.layer.inputs for each in layers},
        **{name: _priced(BUDGETS[name](), layers) for name in ("model_size", "bitops")},
        **{name: _priced(each.kind, each.own(layers)) for name, each in tables.items()},
    }
    return {
        cost: {name: float(Fraction(value, sum(own.values()) or 1)) for name, value in own.items()}
        for cost, own in spent.items()
    }


def _priced(kind: BudgetKind, layers: Sequence[Priced]) -> dict[str, int]:
    return {each.layer.name: kind.price(each, "all") for each in layers}


def _peak(moments: Sequence[Moment], layers: Sequence[Priced]) -> PeakPlan | None:
    """The largest moment; None where no activation could be followed."""
    bits = {each.layer.name: each.activation for each in layers}
    peaks = [
        (sum(tensor.bytes for tensor in live), moment.layer, live)
        for moment in moments
        for live in [[_live(reader, elements, bits) for reader, elements in moment.live]]
    ]
    total, layer, live = max(peaks, key=lambda peak: peak[0], default=(0, "", []))
    return (
        None
        if not total
        else PeakPlan(layer=layer, bytes=total, live=tuple(sorted(live, key=lambda tensor: -tensor.bytes)))
    )


def _live(reader: str | None, elements: int, bits: dict[str, int | None]) -> LiveTensor:
    own = bits[reader] if reader is not None else None
    # as `ActivationMemory` prices it: what is read, rounded up to bytes; what nobody quantizes, in float32
    return LiveTensor(reader=reader, elements=elements, bits=own, bytes=-(-elements * (own or FLOAT_BITS) // 8))
