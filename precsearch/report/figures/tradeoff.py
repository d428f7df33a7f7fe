"""What accuracy costs: validation accuracy against model size and against BitOPs; the generalization gap by bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import TYPE_CHECKING, Final

import numpy as np

from precsearch.analysis.generalization import GAP, gap_correlations, gap_rows
from precsearch.analysis.pareto import Goal, box, hypervolume, values
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
        y=metric(GAP, 100),
        x_label="average bits",
        y_label="training minus validation accuracy, points",
        columns=("average_bits", GAP),
        raw=(chosen.average_bits, metric(GAP)),
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


def _goals(cost: str) -> tuple[Goal, Goal]:
    return Goal.of(chosen.ACCURACY), Goal.of(cost)


def _undominated(cost: str) -> Callable[[RunData], list[Trained]]:
    def joined(run: RunData) -> list[Trained]:
        records = [each.record for each in run.trials if _has(cost)(each)]
        numbers = {record.number for record in front(records, _goals(cost), run.experiment.study.constraints)}
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
        text += _volumes(run, cost)
    return text


def _volumes(run: RunData, cost: str) -> str:
    """Which share of the space that all of them span the front takes, and each arm of baselines beside it."""
    arms = [("the front", run.front)]
    arms += [(arm, tuple(each for each in run.baselines if each.arm == arm)) for arm in ("uniform", "random")]
    goals = _goals(cost)
    points = {arm: values([each.record for each in own if _has(cost)(each)], goals) for arm, own in arms}
    if len(points["the front"]) < 2 or not any(len(own) for arm, own in points.items() if arm != "the front"):  # noqa: PLR2004
        return ""
    within = box(np.concatenate(list(points.values())), goals)
    shares = [f"{arm} {hypervolume(own, goals, within):.2f}" for arm, own in points.items() if len(own)]
    return f" Hypervolume, as a share of the box around these points: {', '.join(shares)}."


def _has(cost: str) -> Callable[[Trained], bool]:
    return lambda trained: {cost, chosen.ACCURACY} <= trained.record.metrics.keys()


def _point(trained: Trained, cost: str) -> str:
    metrics = trained.record.metrics
    spent = words.metric_text(cost, metrics[cost])
    accuracy = words.metric_text(chosen.ACCURACY, metrics.get(chosen.ACCURACY))
    return f"{accuracy} % at {spent}{' BitOPs' if cost == 'bitops' else ''}".replace("  ", " ")


def _gap_caption(runs: Sequence[RunData]) -> str:
    text = "How much better a network does on the images that it was trained on."
    told = {"the front": [each.record for run in runs for each in run.front]} | {
        f"{arm} baselines": [each.record for run in runs for each in run.baselines if each.arm == arm]
        for arm in ("uniform", "random")
    }
    medians = [
        f"{100 * median(row.gap for row in rows):.2f} points over {what}"
        for what, records in told.items()
        if (rows := gap_rows(records))
    ]
    text += f" Median{chosen.of_runs(runs)}: {', '.join(medians)}." if medians else ""
    for run in runs:
        found = gap_correlations(gap_rows([each.record for each in run.trials])).get("found")
        if found is not None and found.value is not None and found.low is not None and found.high is not None:
            text += (
                f" Rank correlation of gap and bits over the trials{f' of {run.label}' if len(runs) > 1 else ''}:"
                f" {found.value:+.2f} (95 % interval {found.low:+.2f} to {found.high:+.2f})."
            )
    return text
