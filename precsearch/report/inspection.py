"""What `inspect` prints: everything that is known of an experiment's model and bits before any training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from precsearch.report import words
from precsearch.report.decisions import decided_text, names_text
from precsearch.report.plan import budget_tables
from precsearch.report.tables import shortened, table

if TYPE_CHECKING:
    from rich.console import Console

    from precsearch.allocation import Target
    from precsearch.experiment import Experiment
    from precsearch.plans import LayerPlan, TrialPlan

_COSTS = {"model_size": "model size", "bitops": "BitOPs", "inputs": "inputs"}
_UNSHOWN = ("weights", "macs")  # like model size and BitOPs, but for pins
# Widths, in characters.
_GAP, _LEAST_NAME, _TYPE_CELLS, _NUMBER_CELLS, _PERCENT_CELLS = 2, 16, 18, 7, 7
_LEAST_BAR, _MOST_BAR = 6, 20
_MOST_LIVE = 8


def inspection_dict(experiment: Experiment, plan: TrialPlan, warned: Sequence[str]) -> dict[str, Any]:
    """The inspection as one JSON object: ``name``, ``plan``, ``space``, ``warnings``."""
    return {
        "name": experiment.name,
        "plan": plan.model_dump(mode="json"),
        "space": {path: dimension.model_dump(mode="json") for path, dimension in experiment.space.items()},
        "warnings": list(warned),
    }


def print_inspection(console: Console, experiment: Experiment, plan: TrialPlan, warned: Sequence[str]) -> None:
    """Layers, shares of costs, decisions, groups, what stays float, budgets, the peak of activation memory."""
    console.print(Text(f"Inspection of {experiment.name} (nothing is trained, nothing is written)", style="bold"))
    console.print(_facts(experiment, plan))
    blocks = (
        _layers(plan, console.width), _shares(plan, console.width), _bits(plan), _groups(plan), *_unshared(plan),
        _float(plan), *budget_tables(experiment, plan), *_peak(plan), _warned(warned),
    )  # fmt: skip
    for block in blocks:
        if isinstance(block, Text) or block.row_count:
            console.print(Padding(block, (0 if isinstance(block, Text) else 1, 0, 0, 0), expand=False))


def _facts(experiment: Experiment, plan: TrialPlan) -> Table:
    own = [layer for layer in plan.layers if layer.tied_to is None]
    macs = words.prefixed(sum(layer.macs for layer in plan.layers))
    weights = words.prefixed(sum(layer.numel for layer in own))
    grid = experiment.inner
    facts = {
        "data": f"{experiment.data.name}: " + ", ".join(f"{n:,} {split}" for split, n in plan.images.items()),
        "model": f"{plan.model}: {words.count(plan.parameters, 'parameter')}, {words.count(len(plan.layers), 'layer')}",
        "one sample": f"{weights.strip()} weights, {macs.strip()} MACs in the layers",
        "outside them": f"{plan.float_elements:,} numbers in float32 (biases, normalization, what is listed below)",
        "bits": f"{', '.join(map(str, plan.bits))} for {' and '.join(plan.targets)}; quantizer {grid.quantizer}, "
        f"scale {grid.scale} per {grid.granularity}, sampler {grid.sampler}",
    }
    if plan.point:
        facts["looked at"] = words.params_text(plan.point)
    made = Table.grid(padding=(0, 2))
    for name, fact in facts.items():
        made.add_row(Text(name, style="dim"), Text(fact))
    return made


def _layers(plan: TrialPlan, width: int) -> Table:
    made = table("layer", "type", "weight", "weights", "inputs", "MACs", left=(0, 1, 2), title="Layers")
    rows = [
        (
            shortened(layer.type, _TYPE_CELLS), _shape(layer), "tied" if layer.tied_to else words.prefixed(layer.numel),
            words.prefixed(layer.inputs), words.prefixed(layer.macs),
        )
        for layer in plan.layers
    ]  # fmt: skip
    taken = sum(max(_NUMBER_CELLS, *map(len, column)) + _GAP for column in zip(*rows, strict=True))
    for name, row in zip(_fitting(plan, width - taken), rows, strict=True):
        made.add_row(Text(name), *map(Text, row))
    return made


def _fitting(plan: TrialPlan, most: int) -> list[str]:
    """Names of the layers, shortened to `most` characters where that tells them apart; whole, to be folded, else."""
    names = [layer.name for layer in plan.layers]
    short = [shortened(name, max(_LEAST_NAME, most)) for name in names]
    return short if len(set(short)) == len(names) else names


def _shape(layer: LayerPlan) -> str:
    shape = "x".join(map(str, layer.shape))
    return shape if layer.channels == layer.shape[0] else f"{shape} ({layer.channels} out)"


def _shares(plan: TrialPlan, width: int) -> Table:
    """Per cost a percentage, and a bar that is full for the layer with the largest."""
    costs = [*_COSTS, *(cost for cost in plan.layers[0].shares if cost not in {*_COSTS, *_UNSHOWN})]
    headers = [_COSTS.get(cost, cost) for cost in costs]
    made = table("layer", *headers, left=range(1 + len(costs)), title="Share of each cost, all at their most bits")
    longest = max(len(layer.name) for layer in plan.layers)
    cells = (width - longest) // len(costs) - _PERCENT_CELLS - _GAP
    cells = max(_LEAST_BAR, min(_MOST_BAR, cells))
    room = width - len(costs) * (cells + _PERCENT_CELLS + _GAP)
    largest = {cost: max(layer.shares[cost] for layer in plan.layers) or 1.0 for cost in costs}
    for layer, name in zip(plan.layers, _fitting(plan, room), strict=True):
        bars = (_bar(layer.shares[cost], layer.shares[cost] / largest[cost], cells) for cost in costs)
        made.add_row(Text(name), *bars)
    return made


def _bar(share: float, part: float, cells: int) -> Text:
    full = round(part * cells)
    return Text.assemble(f"{100 * share:4.1f} % ", ("█" * full, "cyan"), ("·" * (cells - full), "dim"))


def _bits(plan: TrialPlan) -> Table:
    made = table("bits", "of the", "layers", left=(0, 1, 2), title="Bits")
    for target in plan.targets:
        found: dict[tuple[str, bool], list[str]] = {}
        for layer in plan.layers:
            own = layer.targets[target]
            if not own.reason:
                usual = own.decided == "searched" and not own.own
                found.setdefault((decided_text(own.decided, own.bits), usual), []).append(layer.name)
        for (text, usual), names in sorted(found.items(), key=lambda item: not item[0][1]):
            others = f"{words.count(len(names), 'layer')} without bits of their own"
            if len(found) == 1:
                others = "all layers" if len(names) == len(plan.layers) else f"all {len(names)} that can be quantized"
            made.add_row(text, target, Text(others if usual else names_text(names)))
    return made


def _groups(plan: TrialPlan) -> Table:
    made = table("group", "bits", "of the", "layers", left=(0, 1, 2, 3), title="Groups: one bit-width for all of each")
    rows: dict[tuple[str, str, tuple[str, ...]], list[Target]] = {}
    for group in plan.groups:
        for target, names in group.members.items():
            rows.setdefault((group.name, decided_text(group.decided, group.bits), names), []).append(target)
    for (name, text, names), targets in rows.items():
        made.add_row(Text(name), text, " and ".join(targets), Text(names_text(names)))
    return made


def _unshared(plan: TrialPlan) -> Iterator[Table | Text]:
    made = table("tensor", "read by", left=(0, 1), title="Read by several layers, with bits of their own for each")
    for shared in plan.unshared:
        made.add_row(shared.kind, Text(names_text(shared.readers)))
    yield made
    for kind, line in {shared.kind: shared.yaml for shared in plan.unshared}.items():
        yield Text(f"{kind}: one bit-width for each with `{line}` under `inner:`", style="dim")


def _float(plan: TrialPlan) -> Table:
    made = table("what", "of", "why", left=(0, 1, 2), title="Stays in float32")
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, reason in plan.left_float.items():
        reasons.setdefault(("weight", reason), []).append(name)
    for layer in plan.layers:
        if layer.uncovered_input:
            reasons.setdefault(("input", layer.uncovered_input), []).append(layer.name)
        for target, own in layer.targets.items():
            if own.reason and target != "activation":
                reasons.setdefault((target, own.reason), []).append(layer.name)
    for (what, reason), names in reasons.items():
        made.add_row(what, Text(names_text(names)), Text(reason))
    return made


def _peak(plan: TrialPlan) -> Iterator[Table | Text]:
    if not plan.peaks:
        yield Text("\nActivation memory is not known: no layer's input could be followed from the model's.")
        return
    made = table("bits", "peak", "while this runs", left=(0, 2), title="Activation memory, one sample")
    for amount, peak in plan.peaks.items():
        made.add_row(f"all at their {amount}", _bytes(peak.bytes), Text(peak.layer))
    yield made
    peak = plan.peaks["most"]
    made = table(
        "live then", "elements", "bits", "size", left=(0,),
        title=f"Live while {peak.layer} runs",
    )  # fmt: skip
    unread = [tensor for tensor in peak.live if tensor.reader is None]
    read = [tensor for tensor in peak.live if tensor.reader is not None]
    for tensor in read[:_MOST_LIVE]:
        bits = str(tensor.bits or "float")
        made.add_row(Text(f"what {tensor.reader} reads"), f"{tensor.elements:,}", bits, _bytes(tensor.bytes))
    for rest, what, bits in (
        (read[_MOST_LIVE:], "what other layers read", ""),
        (unread, "what no layer reads", "float"),
    ):
        if rest:
            whose = f"{what} ({words.count(len(rest), 'tensor')})"
            made.add_row(whose, f"{sum(t.elements for t in rest):,}", bits, _bytes(sum(t.bytes for t in rest)))
    yield made
    yield Text("What several layers read is there once for each of them.", style="dim")


def _bytes(value: int) -> str:
    return words.metric_text("activation_memory", value)


def _warned(warned: Sequence[str]) -> Table:
    made = table("warnings", left=(0,))
    for text in warned:
        made.add_row(Text(text))
    return made
