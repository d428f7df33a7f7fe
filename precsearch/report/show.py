"""One training in the terminal: what was chosen, how it went, what it found and what stands beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from precsearch.report import disturbed, words
from precsearch.report.lines import progress_text
from precsearch.report.shown import float_costs
from precsearch.report.sparklines import grouped, sparkline
from precsearch.report.tables import bars, table

if TYPE_CHECKING:
    from rich.console import Console

    from precsearch.report.shown import Shown
    from precsearch.results import Progress

_ORDER: Final[tuple[str, ...]] = (
    "validation_accuracy", "validation_loss", "train_accuracy", "train_loss", "generalization_gap", "test_accuracy",
    "test_loss", "average_bits_weight", "average_bits_activation", "average_bits_gradient", "average_bits",
    "model_size", "bitops", "activation_memory",
)  # fmt: skip
_NAMES: Final = {
    "generalization_gap": "generalization gap, points",
    "test_accuracy": "test accuracy (read once), %",
    "average_bits_weight": "average weight bits",
    "average_bits_activation": "average activation bits",
    "average_bits_gradient": "average gradient bits",
    "bitops": "BitOPs",
}
_CURVES: Final = ("train_loss", "validation_loss", "validation_accuracy", "entropy")
_PHASES: Final = {"warmup": "w", "search": "s", "finetune": "f"}


def print_shown(console: Console, shown: Shown) -> None:
    """Print everything there is of one training, each part after an empty line."""
    rank = "".join([", best" if shown.best else "", ", on the front" if shown.on_front else ""])
    name = f"{shown.experiment.name}, {shown.title}: {shown.state}{rank}"
    console.print(Text(name, style="bold"))
    console.print(_facts(shown))
    if shown.steps:
        _print_block(console, _curves(shown.steps))
        console.print(Text("w warm-up, s search, f fine-tune", style="dim"))
    if shown.metrics:
        _print_block(console, _metrics(shown))
        if shown.beside:
            same = "each in one training, with one seed; uniform and random under the same limit"
            console.print(Text(same, style="dim"))
    if shown.allocation is not None:
        _print_block(console, bars(shown.allocation, shown.experiment.inner.bits))
    elif shown.steps and shown.steps[-1].bits:
        console.print()
        console.print(Text(f"bits when last seen: {words.bits_text(shown.steps[-1].bits)}"))
    if shown.evaluation is not None:
        _print_disturbed(console, shown)


def _print_block(console: Console, block: Table) -> None:
    console.print(Padding(block, (1, 0, 0, 0), expand=False))


def _facts(shown: Shown) -> Table:
    made = Table.grid(padding=(0, 2))
    for name, text in _said(shown):
        made.add_row(Text(name, style="dim"), Text(text))
    return made


def _said(shown: Shown) -> Iterator[tuple[str, str]]:
    record = shown.record
    if record is None:
        yield "state", "running or interrupted; `precsearch resume` continues what was interrupted"
    elif record.state != "complete":
        yield "reason", record.reason or "no reason was recorded"
    if shown.steps and shown.state != "complete":
        yield "reached", progress_text(shown.steps[-1])
    if record is not None:
        yield "chosen", words.params_text(record.params) or "nothing is searched"
        if record.limit is not None:
            yield "limit", f"{words.limit_text(record.limit)} ({shown.experiment.inner.budget.kind})"
        yield "seed", str(record.seed)
        yield "trained", words.duration(record.seconds) + (f" on {record.node}" if record.node else "")
    yield "files", str(shown.folder)
    if (error := shown.folder / "error.txt").is_file():
        yield "traceback", error.name


def _curves(steps: Sequence[Progress]) -> Table:
    made = table("epoch by epoch", "first", "", "last", left=(0, 2))
    made.add_row("phase", "", "".join(_PHASES[group[0].phase] for group in grouped(steps)), "")
    for metric in _CURVES:
        values = [step.metrics.get(metric) for step in steps]
        known = [value for value in values if value is not None]
        if known:
            line = Text(sparkline(values), style="cyan")
            made.add_row(_name(metric), _value(metric, known[0]), line, _value(metric, known[-1]))
    return made


def _metrics(shown: Shown) -> Table:
    """A row for each metric; columns for the others of the same budget, and for float32."""
    told = shown.evaluation.metrics() if shown.evaluation is not None else {}  # a table of its own
    names = [name for name in _ORDER if name in shown.metrics]
    names += [name for name in shown.metrics if name not in names and name not in told]
    columns = [(each.arm, each.metrics) for each in (shown, *shown.beside)]
    trained = any(arm == "float" for arm, _ in columns)  # and then its costs are measured
    floats = float_costs(shown.allocation) if shown.allocation is not None and not trained else {}
    columns += [("float32", floats)] if floats else []
    when = "measured" if shown.state == "complete" else "after its last epoch"
    made = table(when, *(name for name, _ in columns))
    objectives = {objective.metric for objective in shown.experiment.study.objectives}
    for name in names:
        cells = [_value(name, values.get(name)) for _, values in columns]
        made.add_row(_name(name), *cells, style="bold" if name in objectives else "")
    return made


def _name(metric: str) -> str:
    """`validation accuracy, %`: a metric with its unit, where its values do not carry it."""
    if metric in _NAMES:
        return _NAMES[metric]
    unit = ", %" if metric.endswith("accuracy") else ", nats" if metric.endswith(("loss", "entropy")) else ""
    return f"{metric.replace('_', ' ')}{unit}"


def _value(metric: str, value: float | None) -> str:
    if value is not None and metric == "generalization_gap":
        return f"{100 * value:.2f}"
    return words.metric_text(metric, value)


def _print_disturbed(console: Console, shown: Shown) -> None:
    found = {each.arm: each.evaluation for each in (shown, *shown.beside)}
    arms = {arm: evaluation for arm, evaluation in found.items() if evaluation is not None}
    own = arms[shown.arm]
    draws = f", mean over {words.count(own.draws, 'draw')}" if own.draws > 1 else ""
    what = f"Disturbed, on {words.count(own.images, f'{own.split} image')}"
    if not any(map(disturbed.is_disturbed, arms.values())):
        what = f"Calibration, on the {own.split} split"
    console.print()
    console.print(Text(f"{what}{draws}", style="bold"))
    for made in disturbed.attack_tables(arms):
        _print_block(console, made)
    for line in disturbed.masking_lines(own):
        console.print(line)
    _print_block(console, disturbed.measured_table(arms))
    if any(map(disturbed.is_disturbed, arms.values())):
        console.print(Text("calibration is that of the whole split", style="dim"))
