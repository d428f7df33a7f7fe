"""precsearch: how many bits does each layer need?

The facade: every public name, imported from its home when it is first used.
`import precsearch` loads no torch, optuna or pydantic.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from precsearch.allocation import Allocation as Allocation
    from precsearch.allocation import LayerPrecision as LayerPrecision
    from precsearch.allocation import TargetPrecision as TargetPrecision
    from precsearch.errors import AllocationError as AllocationError
    from precsearch.errors import BudgetError as BudgetError
    from precsearch.errors import ConfigurationError as ConfigurationError
    from precsearch.errors import DataError as DataError
    from precsearch.errors import DivergedError as DivergedError
    from precsearch.errors import ExportError as ExportError
    from precsearch.errors import ModelError as ModelError
    from precsearch.errors import PrecsearchError as PrecsearchError
    from precsearch.errors import PrecsearchWarning as PrecsearchWarning
    from precsearch.errors import RunDirectoryError as RunDirectoryError
    from precsearch.evaluation.sensitivity import sensitivity_allocation as sensitivity_allocation
    from precsearch.evaluation.sensitivity import sensitivity_scores as sensitivity_scores
    from precsearch.experiment import Experiment as Experiment
    from precsearch.experiment.loading import load_experiment as load_experiment
    from precsearch.exports import export as export
    from precsearch.exports import export_model as export_model
    from precsearch.exports import import_allocation as import_allocation
    from precsearch.exports.network.loading import load_packed as load_packed
    from precsearch.exports.schema import allocation_schema as allocation_schema
    from precsearch.precision.budgets import Budget as Budget
    from precsearch.results import RunDirectory as RunDirectory
    from precsearch.searchable import SearchableModel as SearchableModel
    from precsearch.searchable import apply_allocation as apply_allocation
    from precsearch.searchable import calibrate as calibrate
    from precsearch.study.driver import run_study as run_study
    from precsearch.study.objective import OptunaObjective as OptunaObjective
    from precsearch.study.trainable import tune_trainable as tune_trainable
    from precsearch.study.tune_space import tune_space as tune_space

__version__ = "0.1.0"

_HOMES = {
    "Allocation": "precsearch.allocation",
    "AllocationError": "precsearch.errors",
    "Budget": "precsearch.precision.budgets",
    "BudgetError": "precsearch.errors",
    "ConfigurationError": "precsearch.errors",
    "DataError": "precsearch.errors",
    "DivergedError": "precsearch.errors",
    "ExportError": "precsearch.errors",
    "Experiment": "precsearch.experiment",
    "LayerPrecision": "precsearch.allocation",
    "ModelError": "precsearch.errors",
    "OptunaObjective": "precsearch.study.objective",
    "PrecsearchError": "precsearch.errors",
    "PrecsearchWarning": "precsearch.errors",
    "RunDirectory": "precsearch.results",
    "RunDirectoryError": "precsearch.errors",
    "SearchableModel": "precsearch.searchable",
    "TargetPrecision": "precsearch.allocation",
    "allocation_schema": "precsearch.exports.schema",
    "apply_allocation": "precsearch.searchable",
    "calibrate": "precsearch.searchable",
    "export": "precsearch.exports",
    "export_model": "precsearch.exports",
    "import_allocation": "precsearch.exports",
    "load_experiment": "precsearch.experiment.loading",
    "load_packed": "precsearch.exports.network.loading",
    "run_study": "precsearch.study.driver",
    "sensitivity_allocation": "precsearch.evaluation.sensitivity",
    "sensitivity_scores": "precsearch.evaluation.sensitivity",
    "tune_space": "precsearch.study.tune_space",
    "tune_trainable": "precsearch.study.trainable",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 -- the keys are the names; a test holds them against the imports


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'precsearch' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value  # the next access finds it without coming here
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
