"""Which networks of a run a figure shows, and the numbers of theirs that several figures need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from precsearch.report.words import count

if TYPE_CHECKING:
    from precsearch.measured import Evaluation
    from precsearch.report.reading import RunData, Trained
    from precsearch.results import TrialRecord

FLOAT: Final = "float"
ARMS: Final = ("found", "uniform", "random", FLOAT)
ACCURACY: Final = "validation_accuracy"


def best(run: RunData) -> Trained | None:
    """The trial to take; None where no trial is complete and feasible."""
    number = run.view.best.record.number if run.view.best is not None else None
    return next((trained for trained in run.trials if trained.record.number == number), None)


def few(run: RunData) -> list[tuple[str, Trained]]:
    """What it is -> trial: the best, the cheapest and the most accurate of the front, each once, in that order."""
    members = [member for member in run.front if ACCURACY in member.record.metrics]
    wanted = [("best", best(run))]
    if members:
        wanted.append(("cheapest", min(members, key=lambda each: each.record.metrics.get("bitops", 0.0))))
        wanted.append(("most accurate", max(members, key=lambda each: each.record.metrics[ACCURACY])))
    found: list[tuple[str, Trained]] = []
    for what, trained in wanted:
        if trained is not None and all(trained is not other for _, other in found):
            found.append((what, trained))
    return found


def beside(run: RunData, trained: Trained, has: Callable[[Trained], object]) -> list[Trained]:
    """`trained` and one network of every other arm to hold against it, by arm, of those that `has` is true for.

    A baseline stands beside the trial of its number; a float network has no budget and stands beside every trial.
    """
    found = [trained] if has(trained) else []
    others = [each for each in run.baselines if has(each)]
    for arm in dict.fromkeys([*ARMS, *(each.arm for each in others)]):
        own = [each for each in others if each.arm == arm]
        near = [each for each in own if each.record.number == trained.record.number] or (own if arm == FLOAT else [])
        found += near[:1]
    return found


def shown(run: RunData, has: Callable[[Trained], object]) -> Trained | None:
    """The best trial; where `has` is false for it the first of the front that it is true for, then of all trials."""
    first = best(run)
    ordered = [*([first] if first is not None else []), *run.front, *run.trials]
    return next((trained for trained in ordered if has(trained)), None)


def evaluated(has: Callable[[Evaluation], object]) -> Callable[[Trained], bool]:
    """Whether a network was evaluated, and `has` is true of its evaluation."""
    return lambda trained: trained.evaluation is not None and bool(has(trained.evaluation))


def measured(networks: Iterable[Trained]) -> list[tuple[TrialRecord, Evaluation | None]]:
    """What `precsearch.analysis.robustness` makes rows of."""
    return [(trained.record, trained.evaluation) for trained in networks]


def average_bits(trained: Trained) -> float | None:
    """Mean bit-width over its targets; None for a float network, which has none."""
    bits = trained.record.metrics.get("average_bits")
    if bits is None:
        means = [trained.record.metrics.get(f"average_bits_{each}") for each in ("weight", "activation", "gradient")]
        known = [mean for mean in means if mean is not None]
        bits = sum(known) / len(known) if known else None
    return bits if bits and trained.arm != FLOAT else None


def name_of(trained: Trained) -> str:
    """`trial 12`, or `uniform beside trial 12`."""
    trial = f"trial {trained.record.number}"
    return trial if trained.arm == "found" else f"{trained.arm} beside {trial}"


def told(trained: Trained) -> str:
    """`trial 12 (3.02 bits)`."""
    bits = average_bits(trained)
    return name_of(trained) if bits is None else f"{name_of(trained)} ({bits:.2f} bits)"


def which(runs: Sequence[RunData], shown: Sequence[Trained]) -> str:
    """Which trials a caption speaks of: `trial 3`, or `trial 3 of a, trial 5 of b`."""
    if len(runs) == 1:
        return name_of(shown[0])
    return ", ".join(f"{name_of(each)} of {run.label}" for run, each in zip(runs, shown, strict=True))


def of_runs(runs: Sequence[RunData]) -> str:
    """` of 3 runs` where there are several; nothing for one."""
    return "" if len(runs) == 1 else f" of {count(len(runs), 'run')}"
