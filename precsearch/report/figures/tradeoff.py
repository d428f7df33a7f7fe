"""What accuracy costs: validation accuracy against model size and against BitOPs; the generalization gap by bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import TYPE_CHECKING, Final

from precsearch.experiment.outer import ObjectiveSettings
from precsearch.report import words
from precsearch.report.figures import chosen
from precsearch.report.figures.marks import unit
from precsearch.report.figures.scatter import Plane, Value, scatter
from precsearch.selection import front

if TYPE_CHECKING:
    from precsearch.report.figures.base import Figure
    from precsearch.report.reading import RunData, Trained

SECTION: Final = "Trade-off"
GENERALIZATION: Final = "Generalization"
_GAP: Final = "generalization_gap"
_WHAT: Final = {"model_size": ("front-size", "model size", "B"), "bitops": ("front-bitops", "BitOPs of one image", "")}


def against_size(runs: Sequence[RunData]) -> Figure | None:
    """Validation accuracy against model size."""
    return _against(runs, "model_size")


def against_bitops(runs: Sequence[RunData]) -> Figure | None:
    """Validation accuracy against BitOPs."""
    return _against(runs, "bitops")


def gap_by_bits(runs: Sequence[RunData]) -> Figure | None:
    """Generalization gap against average bits."""
    plane = Plane(
        name="gap",
        section=GENERALIZATION,
        title="Generalization gap by average bits",
        x=chosen.average_bits,
        y=metric(_GAP, 100),
        x_label="average bits",
        y_label="training minus validation accuracy, points",
        columns=("average_bits", _GAP),
        raw=(chosen.average_bits, metric(_GAP)),
    )
    return scatter(runs, plane, lambda outside: _gap_caption(runs) + cut(outside))


def metric(name: str, times: float = 1.0) -> Value:
    """The value of a metric, `times` as large; None where a network has none."""

    def value(trained: Trained) -> float | None:
        found = trained.record.metrics.get(name)
        return None if found is None else times * found

    return value


def cut(outside: int) -> str:
    """What a caption adds about trials outside the axes."""
    return f" {words.count(outside, 'trial')} outside the axes." if outside else ""


def _against(runs: Sequence[RunData], cost: str) -> Figure | None:
    name, what, symbol = _WHAT[cost]
    largest = max((each.record.metrics.get(cost, 0.0) for run in runs for each in run.trials), default=0.0)
    factor, prefix = unit(largest)
    plane = Plane(
        name=name,
        section=SECTION,
        title=f"Accuracy against {what.partition(' of')[0]}",
        x=metric(cost, 1 / factor),
        y=metric(chosen.ACCURACY, 100),
        x_label=", ".join(filter(None, (what, prefix + symbol))),
        y_label="validation accuracy, %",
        columns=(cost, chosen.ACCURACY),
        raw=(metric(cost), metric(chosen.ACCURACY)),
        joined=_undominated(cost),
    )
    return scatter(runs, plane, lambda outside: _front_caption(runs, cost, what) + cut(outside))


def _undominated(cost: str) -> Callable[[RunData], list[Trained]]:
    objectives = (
        ObjectiveSettings(metric=chosen.ACCURACY, direction="maximize"),
        ObjectiveSettings(metric=cost, direction="minimize"),
    )

    def joined(run: RunData) -> list[Trained]:
        records = [each.record for each in run.trials if {cost, chosen.ACCURACY} <= each.record.metrics.keys()]
        numbers = {record.number for record in front(records, objectives, run.experiment.study.constraints)}
        return [each for each in run.trials if each.record.number in numbers]

    return joined


def _front_caption(runs: Sequence[RunData], cost: str, what: str) -> str:
    total = sum(len(run.trials) for run in runs)
    text = (
        f"Faint: all {words.count(total, 'complete trial')}{chosen.of_runs(runs)}; the line joins those that no other"
        f" beats in both accuracy and {what.partition(' of')[0]}, a ring marks the best."
    )
    for run in runs:
        best = chosen.best(run)
        if best is None or cost not in best.record.metrics:
            continue
        text += (
            f" The best{'' if len(runs) == 1 else f' of {run.label}'}, {chosen.told(best)}, has {_point(best, cost)}"
        )
        uniform = next((e for e in chosen.beside(run, best, _has(cost)) if e.arm == "uniform"), None)
        text += f"; the uniform allocation at its budget {_point(uniform, cost)}." if uniform is not None else "."
        floats = [each for each in run.baselines if each.arm == chosen.FLOAT and _has(cost)(each)]
        text += f" The float network, drawn as a line, has {_point(floats[0], cost)}." if floats else ""
    return text


def _has(cost: str) -> Callable[[Trained], bool]:
    return lambda trained: {cost, chosen.ACCURACY} <= trained.record.metrics.keys()


def _point(trained: Trained, cost: str) -> str:
    metrics = trained.record.metrics
    spent = words.metric_text(cost, metrics[cost])
    accuracy = words.metric_text(chosen.ACCURACY, metrics.get(chosen.ACCURACY))
    return f"{accuracy} % at {spent}{' BitOPs' if cost == 'bitops' else ''}".replace("  ", " ")


def _gap_caption(runs: Sequence[RunData]) -> str:
    gaps = [each.record.metrics[_GAP] for run in runs for each in run.front if _GAP in each.record.metrics]
    text = "How much better a network does on the images that it was trained on."
    if gaps:
        text += f" Median over the front{chosen.of_runs(runs)}: {100 * median(gaps):.2f} points"
        for arm in ("uniform", "random"):
            own = [
                e.record.metrics[_GAP]
                for run in runs
                for e in run.baselines
                if e.arm == arm and _GAP in e.record.metrics
            ]
            text += f", {arm} baselines {100 * median(own):.2f}" if own else ""
        text += "."
    for run in runs:
        pairs = [
            (bits, each.record.metrics[_GAP])
            for each in run.trials
            if (bits := chosen.average_bits(each)) is not None and _GAP in each.record.metrics
        ]
        text += _ranked(pairs, f" of {run.label}" if len(runs) > 1 else "")
    return text


def _ranked(pairs: Sequence[tuple[float, float]], where: str) -> str:
    from precsearch.analysis.correlation import rank_correlation

    found = rank_correlation([bits for bits, _ in pairs], [gap for _, gap in pairs])
    if found.value is None or found.low is None or found.high is None:
        return ""
    return (
        f" Rank correlation of gap and bits over the trials{where}: {found.value:+.2f}"
        f" (95 % interval {found.low:+.2f} to {found.high:+.2f})."
    )
