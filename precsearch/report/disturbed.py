"""How networks do when inputs or weights are disturbed, and whether their probabilities hold: the short form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from precsearch.measured import read_evaluation
from precsearch.report import words
from precsearch.report.tables import table

if TYPE_CHECKING:
    from precsearch.measured import AttackCurve, Evaluation
    from precsearch.report.view import RunView

NORMS: Final = {"linf": "L-inf", "l2": "L2"}
_MOST_EPSILONS: Final = 6  # columns of a table 80 wide

# evaluation -> value, or None where it was not measured
_Row = tuple[str, Callable[["Evaluation"], float | None], str]


def attack_tables(arms: Mapping[str, Evaluation]) -> Iterator[Table]:
    """Accuracy over epsilon, a table a norm, a row for each attack and arm.

    Args:
        arms: ``found`` or a kind of baseline -> what was measured of it.
    """
    for norm, said in NORMS.items():
        curves = [(arm, curve) for arm, each in arms.items() for curve in each.attacks if curve.norm == norm]
        epsilons = _some(sorted({epsilon for _, curve in curves for epsilon in curve.epsilons}))
        if not curves:
            continue
        made = table(
            f"{said} attack", "allocation", *(f"{epsilon:g}" for epsilon in epsilons),
            left=(0, 1), title=f"Accuracy in %, by the largest {said} perturbation",
        )  # fmt: skip
        for name in dict.fromkeys(map(_attack, (curve for _, curve in curves))):
            for arm, curve in curves:
                if _attack(curve) == name:
                    at = dict(zip(curve.epsilons, curve.accuracies, strict=True))
                    made.add_row(name, arm, *(_percent(at.get(epsilon)) for epsilon in epsilons), style=_style(arm))
        yield made


def measured_table(arms: Mapping[str, Evaluation]) -> Table:
    """Corruptions, bit flips, perturbations and calibration: a row for each, a column for each arm."""
    made = table("", *arms)
    for name, value, form in _rows(list(arms.values())):
        found = [value(each) for each in arms.values()]
        if any(each is not None for each in found):
            made.add_row(name, *(words.NOTHING if each is None else format(each, form) for each in found))
    return made


def masking_lines(evaluation: Evaluation) -> Iterator[Text]:
    """The checks on the attacks that failed, or that all passed."""
    failed = [check for check in evaluation.masking if not check.passed]
    for check in failed:
        yield Text(f"masking check failed: {check.check}: {check.told}", style="yellow")
    if evaluation.masking and not failed:
        names = ", ".join(check.check for check in evaluation.masking)
        yield Text(f"no sign that the attacks fail for want of a gradient ({names})", style="dim")


def is_disturbed(found: Evaluation) -> bool:
    """Whether more than calibration was measured, which always is."""
    return bool(found.attacks or found.corruptions or found.bit_flips or found.perturbations)


def members_table(view: RunView) -> Table | None:
    """The front in one row each, with its baselines; None where nothing was disturbed."""
    rows = []
    for member in view.front:
        for row in (member, *member.baselines):
            kind = row.record.baseline
            folder = view.run.trial(row.record.number) if kind is None else view.run.baseline(row.record.number, kind)
            if (found := read_evaluation(folder)) is not None and is_disturbed(found):
                rows.append((str(row.record.number) if kind is None else "", kind or "found", found))
    if not rows:
        return None
    columns = {name: list(map(cell, (found for *_, found in rows))) for name, cell in _COLUMNS.items()}
    columns = {name: cells for name, cells in columns.items() if set(cells) != {words.NOTHING}}
    left = [1, *(2 + at for at, name in enumerate(columns) if name == "by")]
    made = table("trial", "allocation", *columns, left=left, title="The front, disturbed: means of what was measured")
    for at, (number, arm, _) in enumerate(rows):
        made.add_row(number, arm, *(cells[at] for cells in columns.values()), style=_style(arm))
    return made


def _rows(found: Sequence[Evaluation]) -> Iterator[_Row]:
    if any(each.corruptions for each in found):
        yield "corrupted, accuracy in %", lambda each: _percentage(_metric(each, "corrupted_accuracy")), ".2f"
    for name in dict.fromkeys(each.corruption for one in found for each in one.corruptions):
        yield f"  {name.replace('_', ' ')}", partial(_corrupted, name), ".2f"
    for rate in sorted({each.rate for one in found for each in one.bit_flips}):
        yield f"weight bits flipped at {rate:g}, in %", partial(_flipped, rate), ".2f"
    for norm, said in NORMS.items():
        yield f"median perturbation, {said}", partial(_median, norm), ".4g"
    yield "calibration error (ECE), %", lambda each: 100 * each.calibration.ece, ".2f"
    yield "Brier score", lambda each: each.calibration.brier, ".4f"
    yield "negative log-likelihood (NLL), nats", lambda each: each.calibration.nll, ".4f"


def _attack(curve: AttackCurve) -> str:
    steps = f", {words.count(curve.steps, 'step')}" if curve.steps > 1 else ""
    return f"{curve.attack}{steps}" + (f" x {curve.restarts}" if curve.restarts > 1 else "")


def _some(epsilons: list[float]) -> list[float]:
    """At most `_MOST_EPSILONS`, the first and the last among them."""
    if len(epsilons) <= _MOST_EPSILONS:
        return epsilons
    return [epsilons[round(i * (len(epsilons) - 1) / (_MOST_EPSILONS - 1))] for i in range(_MOST_EPSILONS)]


def _strongest(found: Evaluation) -> tuple[str, float | None]:
    """Of the attacks in the first norm the one that leaves the least, averaged over epsilons, and what it leaves."""
    left = {}
    for each in found.attacks:
        if each.norm == found.attacks[0].norm:
            suffix = "" if each.norm == "linf" else f"_{each.norm}"
            left[f"{each.attack}{suffix}"] = _metric(found, f"{each.attack}{suffix}_accuracy")
    known = {name: value for name, value in left.items() if value is not None}
    name = min(known, key=lambda each: known[each], default="")
    return name.replace("_", " "), known.get(name)


def _metric(found: Evaluation, name: str) -> float | None:
    return found.metrics().get(f"{found.split}_{name}")


def _corrupted(name: str, found: Evaluation) -> float | None:
    return next((_mean_percent(each.accuracies) for each in found.corruptions if each.corruption == name), None)


def _flipped(rate: float, found: Evaluation) -> float | None:
    return next((_mean_percent(each.accuracies) for each in found.bit_flips if each.rate == rate), None)


def _median(norm: str, found: Evaluation) -> float | None:
    return next((each.quartiles[1] for each in found.perturbations if each.norm == norm), None)


def _mean_percent(values: Sequence[float]) -> float:
    return 100 * sum(values) / len(values)


def _percentage(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _percent(value: float | None) -> str:
    return words.NOTHING if value is None else f"{100 * value:.2f}"


def _style(arm: str) -> str:
    return "" if arm == "found" else "dim"


_COLUMNS: Final[dict[str, Callable[[Evaluation], str]]] = {
    "attacked %": lambda found: _percent(_strongest(found)[1]),
    "by": lambda found: _strongest(found)[0] or words.NOTHING,
    "corrupted %": lambda found: _percent(_metric(found, "corrupted_accuracy")),
    "bits flipped %": lambda found: _percent(_metric(found, "bit_flip_accuracy")),
    "ECE %": lambda found: _percent(found.calibration.ece),
}
