"""What is refused before a study begins, and what is not: points that cannot fail alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_trials import Watcher
from real_trials import TINY

from precsearch.errors import BudgetError, ConfigurationError, ModelError, RunDirectoryError
from precsearch.experiment.loading import load_experiment_text
from precsearch.plans import TrialPlan
from precsearch.results import RunDirectory
from precsearch.study.driver import run_study
from precsearch.study.feasibility import inspect_study

# what a limit that nothing reaches is told is tested in test_diagnosis.py
pytestmark = pytest.mark.filterwarnings("ignore:the budget .* binds nowhere")


def inspect(*lines: str, budget: str = "{kind: average_bits, limit: 3}") -> TrialPlan:
    text = TINY.replace("  bits: [2, 3, 4, 8]\n", f"  bits: [2, 3, 4, 8]\n  budget: {budget}\n")
    return inspect_study(load_experiment_text(text + "space:\n" + "".join(f"  {line}\n" for line in lines)))


def test_a_searched_limit_is_judged_by_its_range_not_by_the_value_it_replaces() -> None:
    plan = inspect("inner.budget.limit: {type: float, low: 1e5, high: 1e6}", budget="{kind: bitops, limit: 3}")
    assert plan.budgets[0].limit == 1e5
    plan = inspect("inner.budget.limit: {type: categorical, choices: [4.0, 2.5]}")
    assert plan.budgets[0].limit == 2.5


def test_the_lowest_limit_of_each_target_counts() -> None:
    searched = "inner.budget.limit.{}: {{type: float, low: {}, high: 8}}"
    both = "{kind: average_bits, limit: {weight: 3, activation: 3}}"
    plan = inspect(searched.format("weight", 2), searched.format("activation", 2.5), budget=both)
    assert plan.budgets[0].limit == {"weight": 2.0, "activation": 2.5}
    with pytest.raises(BudgetError, match=r"limit\.activation=1\.0.*of the activations .* at 1 bits.*costs 2"):
        inspect(searched.format("weight", 2), searched.format("activation", 1), budget=both)


@pytest.mark.parametrize(
    "choices",
    [
        ['inner.bits: {type: categorical, choices: ["4,8", "2,8"]}'],
        ["model.activation: {type: categorical, choices: [rleu, relu]}"],
        ["inner.quantizer: {type: categorical, choices: [symmetric, dorefa]}",
         'inner.bits: {type: categorical, choices: ["8", "2,3"], when: {inner.quantizer: [dorefa]}}'],
    ],
)  # fmt: skip
def test_one_combination_that_can_be_trained_is_enough(choices: list[str]) -> None:
    assert inspect(*choices).model == "mlp"


def test_no_combination_names_the_first() -> None:
    with pytest.raises(BudgetError, match=r"\(inner\.bits=4,8\).*at 3 bits.*costs 4"):
        inspect('inner.bits: {type: categorical, choices: ["4,8", "6,8"]}')
    with pytest.raises(ModelError, match="rleu"):
        inspect("model.activation: {type: categorical, choices: [rleu, rulu]}")
    with pytest.raises(ConfigurationError, match="no layer 'fc9'"):
        inspect("inner.pin.fc9: {type: int, low: 2, high: 4}")


def test_a_study_that_cannot_begin_writes_nothing(tmp_path: Path) -> None:
    document = load_experiment_text(TINY.replace("bits: [2, 3, 4, 8]", "bits: [4, 8]"))
    with pytest.raises(BudgetError, match="costs 4"):
        run_study(document, RunDirectory(tmp_path / "run"), Watcher())
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(RunDirectoryError, match=r"thesis\.tex"):  # told first: looking at data may take a while
        run_study(document, RunDirectory(tmp_path), Watcher())
