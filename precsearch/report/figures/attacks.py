"""Accuracy under attack: over epsilon for the arms, and at one epsilon against average bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from precsearch.analysis.robustness import attack_rows
from precsearch.report.figures import chosen
from precsearch.report.figures.base import Cell, Figure, Table
from precsearch.report.figures.marks import curve
from precsearch.report.figures.palette import arm_style, hex_of
from precsearch.report.figures.scatter import Plane, Value, scatter
from precsearch.report.figures.sheet import key, sheet
from precsearch.report.figures.svg import printable
from precsearch.report.figures.tradeoff import cut

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from precsearch.measured import AttackCurve, MaskingCheck
    from precsearch.report.reading import RunData, Trained

SECTION: Final = "Attacks and corruption"
_NORMS: Final = {"linf": "L∞", "l2": "L2"}
_PANEL: Final = 150.0
_attacked = chosen.evaluated(lambda evaluation: evaluation.attacks)


def over_epsilon(runs: Sequence[RunData]) -> Figure | None:
    """Accuracy against epsilon of the best allocation and of what stands beside it, a panel for each attack."""
    arms = [(run, chosen.beside(run, best, _attacked)) for run in runs if (best := chosen.shown(run, _attacked))]
    panels = [(run, networks, which) for run, networks in arms for which in _attacks(networks)]
    if not panels:
        return None
    columns = min(2, max(len(_attacks(networks)) for _, networks in arms))
    rows = sum(-(-len(_attacks(networks)) // columns) for _, networks in arms)
    with sheet(_PANEL * rows + 30 * (rows == 1) + 30, rows, columns, share=(False, True)) as page:
        free = iter(page.panels)
        for run, networks in arms:
            own = _attacks(networks)
            for index in range(-(-len(own) // columns) * columns):
                axes = next(free)
                if index >= len(own):
                    axes.set_visible(False)
                    continue
                title = f"{own[index][0].upper()}, %"
                axes.set_title(printable(f"{run.label}: {title}" if len(runs) > 1 else title))
                _curves(axes, networks, own[index])
        every = list(dict.fromkeys(each.arm for _, networks in arms for each in networks))
        page.legend([*((key(arm), arm) for arm in every), *_noise_key(arms)])
        caption = _caption(runs, arms)
        name, title = "epsilon", "Accuracy against the size of an attack"
        return Figure(name, SECTION, title, caption, _table(runs), page.svg(name, title, caption))


def attacked_by_bits(runs: Sequence[RunData]) -> Figure | None:
    """Accuracy under the strongest attack at one epsilon, against average bits."""
    bests = [best for run in runs if (best := chosen.shown(run, _attacked)) is not None]
    if not bests:
        return None
    attack, norm, epsilon = _telling(bests[0])
    value = _accuracy(attack, norm, epsilon)
    what = f"{attack.upper()} at ε = {epsilon:g} ({_NORMS[norm]})"
    plane = Plane(
        name="attack-bits",
        section=SECTION,
        title="Accuracy under attack by average bits",
        x=chosen.average_bits,
        y=lambda trained: None if (found := value(trained)) is None else 100 * found,
        x_label="average bits",
        y_label=f"accuracy under {what}, %",
        columns=("average_bits", f"{attack}_{norm}_{epsilon:g}_accuracy"),
        raw=(chosen.average_bits, value),
    )
    text = f"{what}: of the epsilons that were measured, the one at which the best network is nearest to half right."
    if any(_failed(each) for run in runs for each in run.trials + run.baselines):
        text += " Some networks fail a masking check, so a high accuracy here may only mean an attack that fails."
    return scatter(runs, plane, lambda outside: text + cut(outside))


def _attacks(networks: Sequence[Trained]) -> list[tuple[str, str]]:
    """(attack, norm) of every curve that any network has."""
    curves = [each for trained in networks if trained.evaluation for each in trained.evaluation.attacks]
    return list(dict.fromkeys((each.attack, each.norm) for each in curves))


def _curve_of(trained: Trained, attack: str, norm: str) -> AttackCurve | None:
    curves = trained.evaluation.attacks if trained.evaluation else ()
    return next((each for each in curves if (each.attack, each.norm) == (attack, norm)), None)


def _failed(trained: Trained) -> list[MaskingCheck]:
    return [each for each in trained.evaluation.masking if not each.passed] if trained.evaluation else []


def _noise(trained: Trained, found: AttackCurve) -> tuple[float, float] | None:
    """Epsilon and accuracy under noise of equal norm, beside the curve that the check holds it against."""
    evaluation = trained.evaluation
    if evaluation is None or found.norm != evaluation.attacks[0].norm:  # the norm that checks are made in
        return None
    check = next((each for each in evaluation.masking if each.check == "noise"), None)
    if check is None or check.epsilon is None:
        return None
    beside = dict(zip(found.epsilons, found.accuracies, strict=True)).get(check.epsilon) == check.bound
    return (check.epsilon, check.value) if beside else None


def _curves(axes: Axes, networks: Sequence[Trained], which: tuple[str, str]) -> None:
    for trained in reversed(networks):  # the found network on top
        found = _curve_of(trained, *which)
        if found is not None:
            heights = [100 * accuracy for accuracy in found.accuracies]
            curve(axes, found.epsilons, heights, trained.arm, hollow=bool(_failed(trained)), clip_on=False)
            noise = _noise(trained, found)
            if noise is not None:
                color = hex_of(arm_style(trained.arm).color)
                axes.plot([noise[0]], [100 * noise[1]], marker="x", color=color, linestyle="none", clip_on=False)
    axes.set_ylim(0, 100)
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel(f"ε ({_NORMS[which[1]]})")


def _noise_key(arms: Sequence[tuple[RunData, Sequence[Trained]]]) -> list[tuple[object, str]]:
    from matplotlib.lines import Line2D

    networks = [each for _, own in arms for each in own]
    drawn = any(_noise(each, found) for each in networks if each.evaluation for found in each.evaluation.attacks)
    look = Line2D([], [], color=hex_of("muted"), marker="x", linestyle="none")
    return [(look, "noise of equal norm")] if drawn else []


def _caption(runs: Sequence[RunData], arms: Sequence[tuple[RunData, Sequence[Trained]]]) -> str:
    first = [networks[0] for _, networks in arms]
    text = f"The found allocation is {chosen.which([run for run, _ in arms], first)}; the others stand beside it."
    failed = [(run, each, check) for run, networks in arms for each in networks for check in _failed(each)]
    if failed:
        text += " Hollow markers: a masking check failed, and the curve may show an attack that fails"
        told = [
            f"{f'{run.label}, ' if len(runs) > 1 else ''}{each.arm}, {check.check}: {check.told.rstrip('.')}"
            for run, each, check in failed
        ]
        text += f" ({'; '.join(told)})."
    elif any(each.evaluation and each.evaluation.masking for _, networks in arms for each in networks):
        text += " Every masking check passed."
    return text


def _table(runs: Sequence[RunData]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for run in runs:
        members = {id(each) for each in run.front} | {id(best) for best in [chosen.shown(run, _attacked)]}
        for trained in [*(each for each in run.trials if id(each) in members), *run.baselines]:
            rows += [
                (run.label, row.of.number, row.of.arm, row.attack, row.norm, row.epsilon, row.accuracy, row.caveat)
                for row in attack_rows(chosen.measured([trained]))
            ]
    names = ("run", "trial", "arm", "attack", "norm", "epsilon", "accuracy", "caveat")
    return Table(names, tuple(rows))


def _telling(trained: Trained) -> tuple[str, str, float]:
    """The strongest attack that was run, and the epsilon at which it leaves nearest to half of the accuracy."""
    curves = trained.evaluation.attacks if trained.evaluation else ()
    strongest = min(curves, key=lambda each: (each.norm != "linf", each.attack != "pgd", -each.steps))
    pairs = zip(strongest.epsilons, strongest.accuracies, strict=True)
    attacked = [(epsilon, accuracy) for epsilon, accuracy in pairs if epsilon > 0]
    epsilon, _ = min(attacked, key=lambda pair: abs(pair[1] - strongest.accuracies[0] / 2))
    return strongest.attack, strongest.norm, epsilon


def _accuracy(attack: str, norm: str, epsilon: float) -> Value:
    def value(trained: Trained) -> float | None:
        found = _curve_of(trained, attack, norm)
        return dict(zip(found.epsilons, found.accuracies, strict=True)).get(epsilon) if found is not None else None

    return value
