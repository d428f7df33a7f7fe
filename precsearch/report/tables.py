"""The tables and bars that are printed, as rich renderables that fit 80 columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from precsearch.report import words
from precsearch.results import TrialRecord

if TYPE_CHECKING:
    from precsearch.allocation import Allocation, LayerPrecision, Target
    from precsearch.experiment import Experiment
    from precsearch.report.view import Member, RunView

ACCURACY = "validation_accuracy"
TEST = "test_accuracy"
_BAR_CELLS = 16  # a bit a cell for the usual bit-widths
_NAME_WIDTH = 28
_STYLES = {"complete": "", "pruned": "yellow", "failed": "red"}


def table(*headers: str, left: Iterable[int] = (0,), title: str | None = None) -> Table:
    """An empty table: figures to the right, the columns in `left` to the left."""
    made = Table(
        box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False,
        show_edge=False, collapse_padding=True,
    )  # fmt: skip
    for index, header in enumerate(headers):
        side = index in set(left)
        made.add_column(Text(header), justify="left" if side else "right", overflow="fold", no_wrap=not side)
    return made


def shown_metrics(experiment: Experiment) -> list[str]:
    """Validation accuracy, the objectives, then the metric of the budget: one column each."""
    budget = experiment.inner.budget.kind
    wanted = [ACCURACY, *(each.metric for each in experiment.study.objectives)]
    wanted += [budget] if not budget.endswith("_bits") else []
    # both targets' average bits have a column of their own
    return [metric for metric in dict.fromkeys(wanted) if not metric.startswith("average_bits")]


def front_table(view: RunView) -> Table:
    """The front, with uniform and random allocations beside each member at the same budget."""
    metrics = shown_metrics(view.experiment)
    made = table(
        "trial", "allocation", "limit", *map(words.metric_header, metrics), "bits w/a", "test %",
        left=(1,), title="Front, with uniform and random allocations at the same budget",
    )  # fmt: skip
    made.columns[-1].header = Text("test %\n(read once)")
    for member in view.front:
        for row in (member, *member.baselines):
            found = row.record.baseline is None
            best = found and view.best is not None and row.record.number == view.best.record.number
            made.add_row(
                f"{'* ' if best else ''}{row.record.number}" if found else "",
                row.record.baseline or "found",
                words.limit_text(row.record.limit) if found else "",
                *(words.metric_text(metric, row.metrics.get(metric)) for metric in metrics),
                words.allocation_average_bits(row.allocation, row.metrics),
                words.metric_text(TEST, row.metrics.get(TEST)),
                style="bold" if found else "dim",
                end_section=row is (member.baselines[-1] if member.baselines else member),
            )
    return made


def bits_table(front: Iterable[tuple[int, Allocation | None]]) -> Table:
    """Bits per layer of each member of the front, a line each."""
    made = table("trial", "bits per layer", left=(1,))
    for number, allocation in front:
        text = words.bits_text(words.bits_of(allocation.layers)) if allocation else words.NOTHING
        made.add_row(str(number), Text(text))
    return made


def trials_table(view: RunView) -> Table:
    """Every trial of the study: how it ended, what it measured, what was chosen for it."""
    metrics = shown_metrics(view.experiment)
    made = table(
        "trial", "state", *map(words.metric_header, metrics), "bits w/a", "time", "chosen",
        left=(1, 4 + len(metrics)), title="Trials",
    )  # fmt: skip
    members = {member.record.number for member in view.front}
    for record in view.trials:
        made.add_row(
            f"{'* ' if record.number in members else ''}{record.number}",
            Text(record.state, style=_STYLES[record.state]),
            *(words.metric_text(metric, record.metrics.get(metric)) for metric in metrics),
            words.average_bits(record.metrics),
            words.duration(record.seconds),
            Text(words.params_text(record.params, brief=True)),
        )
    return made


def front_so_far(
    experiment: Experiment, front: Iterable[TrialRecord], allocations: dict[int, Allocation | None]
) -> Table:
    """The front while the study runs: objectives, average bits and the bits of each layer."""
    metrics = shown_metrics(experiment)
    made = table(
        "trial", *map(words.metric_header, metrics), "bits w/a", "bits per layer",
        left=(2 + len(metrics),), title="Front so far",
    )  # fmt: skip
    for record in front:
        allocation = allocations.get(record.number)
        made.add_row(
            str(record.number),
            *(words.metric_text(metric, record.metrics.get(metric)) for metric in metrics),
            words.allocation_average_bits(allocation, record.metrics),
            Text(words.bits_text(words.bits_of(allocation.layers)) if allocation else words.NOTHING),
        )
    return made


def bars(allocation: Allocation, candidates: Iterable[int] = ()) -> Table:
    """Bits per layer as bars, one for the weights and one for the activations.

    Args:
        allocation: what is drawn.
        candidates: bit-widths it was chosen from; a full bar is the widest.
    """
    used = (bits or 1 for target in words.TARGETS for bits in allocation.bits(target).values())
    widest = max((*candidates, *used), default=1)
    cells = min(widest, _BAR_CELLS)
    made = table("layer", "weights", "weight bits", "activation bits", left=(0, 2, 3))
    for layer in allocation.layers:
        made.add_row(
            Text(shortened(layer.name)),
            f"{layer.numel:,}",
            *(_bar(layer, target, widest, cells) for target in words.TARGETS),
        )
    return made


def _bar(layer: LayerPrecision, target: Target, widest: int, cells: int) -> Text:
    bits = layer.bits(target)
    if bits is None:
        return Text(f"{'':{cells}}  float", style="dim")
    full = max(1, round(bits * cells / widest))
    return Text.assemble(("█" * full, "cyan"), ("·" * (cells - full), "dim"), f" {bits:2d}")


def shortened(name: str, most: int = _NAME_WIDTH) -> str:
    """The end of a name longer than `most`, which tells layers apart."""
    return name if len(name) <= most else "…" + name[-most + 1 :]


def member_allocations(members: Iterable[Member]) -> list[tuple[int, Allocation | None]]:
    """Trial number and allocation of each member, as `bits_table` takes them."""
    return [(member.record.number, member.allocation) for member in members]
