"""What `run --dry-run` prints: everything that is known before any training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from precsearch.report import decisions, words
from precsearch.report.tables import table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from precsearch.allocation import BudgetPlan
    from precsearch.experiment import Experiment
    from precsearch.plans import TrialPlan
    from precsearch.results import RunDirectory
    from precsearch.space import Dimension


def plan_dict(experiment: Experiment, plan: TrialPlan, run: RunDirectory) -> dict[str, Any]:
    """The plan as one JSON object: ``name``, ``run``, ``n_trials``, ``baselines``, ``plan``, ``space``."""
    return {
        "name": experiment.name,
        "run": str(run.path),
        "n_trials": experiment.study.n_trials,
        "baselines": list(experiment.study.baselines),
        "plan": plan.model_dump(mode="json"),
        "space": {path: dimension.model_dump(mode="json") for path, dimension in experiment.space.items()},
    }


def print_plan(console: Console, experiment: Experiment, plan: TrialPlan, run: RunDirectory) -> None:
    """Data, model, layers, what the budget allows, what is searched, how many trials."""
    console.print(Text(f"Plan of {experiment.name} (nothing is trained, nothing is written)", style="bold"))
    _print_facts(console, experiment, plan, run)
    for block in (_layers(plan), *budget_tables(experiment, plan), _space(experiment)):
        if block.row_count:
            console.print(Padding(block, (1, 0, 0, 0), expand=False))


def _print_facts(console: Console, experiment: Experiment, plan: TrialPlan, run: RunDirectory) -> None:
    images = ", ".join(f"{number:,} {split}" for split, number in plan.images.items())
    epochs = experiment.inner.epochs
    trials = words.count(experiment.study.n_trials, "trial")
    facts = {
        "data": f"{experiment.data.name}: {images} images",
        "model": f"{plan.model}: {words.count(plan.parameters, 'parameter')}",
        "a trial": f"{epochs.warmup} warm-up + {epochs.search} search + {epochs.finetune} fine-tune epochs, "
        f"sampler {experiment.inner.sampler}{_beside(experiment)}, quantizer {experiment.inner.quantizer}",
        "study": f"{trials}, sampler {experiment.study.sampler.name}, pruner {experiment.study.pruner.name}",
        "objectives": ", ".join(f"{each.direction} {each.metric}" for each in experiment.study.objectives),
        "baselines": words.baselines_text(experiment.study),
        "run directory": str(run.path),
    }
    made = Table.grid(padding=(0, 2))
    for name, fact in facts.items():
        made.add_row(Text(name, style="dim"), Text(fact))
    console.print(made)


def _beside(experiment: Experiment) -> str:
    """What else is said of the sampler."""
    drawn, noise = experiment.inner.stochastic, experiment.inner.noise
    return (" drawn to the end" if drawn else "") + (f" with {noise.kind} noise" if noise.kind != "none" else "")


def _layers(plan: TrialPlan) -> Table:
    made = table("layer", "type", "weights", "MACs", "bits", left=(0, 1, 4), title="Layers")
    for layer in plan.layers:
        made.add_row(
            Text(layer.name), layer.type, f"{layer.numel:,}", f"{layer.macs:,}", Text(decisions.layer_text(layer)),
        )  # fmt: skip
    for name, reason in plan.left_float.items():
        made.add_row(Text(name), "", "", "", Text(f"float: {reason}", style="dim"))
    return made


def budget_tables(experiment: Experiment, plan: TrialPlan) -> Iterator[Table]:
    """For each budget its limit between what all layers cost at their fewest and at their most bits."""
    for budget in plan.budgets:
        path = "inner.budget.limit" if budget.name is None else f"inner.budgets.{budget.name}.limit"
        title = f"Budget {budget.name} ({budget.kind})" if budget.name else f"Budget {budget.kind}"
        made = table("target", "cheapest", "limit", "dearest", title=title)
        for target, cheapest in budget.cheapest.items():
            limits = budget.limit if isinstance(budget.limit, dict) else dict.fromkeys(budget.cheapest, budget.limit)
            limit = _amount(budget.kind, dict[str, float](**limits).get(target)) + " (never reached)" * budget.loose
            limit += _drawn(budget, target)
            searched = experiment.space.get(f"{path}.{target}", experiment.space.get(path))
            made.add_row(
                target, _amount(budget.kind, cheapest), f"searched: {searched}" if searched else limit,
                _amount(budget.kind, budget.dearest.get(target)),
            )  # fmt: skip
        yield made


def _drawn(budget: BudgetPlan, target: str) -> str:
    """What the draws' limits are drawn from, where that is a range."""
    ranges = budget.range if isinstance(budget.range, dict) else dict.fromkeys(budget.cheapest, budget.range)
    ends = dict[str, Any](**ranges).get(target)
    return "" if ends is None else " (drawn from {} to {})".format(*(_amount(budget.kind, end) for end in ends))


def _amount(kind: str, value: float | None) -> str:
    """A cost in its kind's unit; bits for the kinds that are means of bits."""
    return words.metric_text("average_bits" if kind == "layer_bits" else kind, value)


def _space(experiment: Experiment) -> Table:
    made = table("searched", "values", left=(0, 1), title="Search space")
    for path, dimension in experiment.space.items():
        made.add_row(Text(path), Text(_values(dimension)))
    return made


def _values(dimension: Dimension) -> str:
    text = str(dimension)
    if getattr(dimension, "log", False):
        text += ", log scale"
    when = [f"{path} is {' or '.join(map(str, values))}" for path, values in dimension.when.items()]
    return f"{text} (when {' and '.join(when)})" if when else text
