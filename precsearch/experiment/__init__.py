"""One experiment as frozen data: what the YAML of a search space may say, what it means, how it is read."""

from precsearch.experiment.document import Experiment
from precsearch.experiment.inner import (
    BudgetSettings,
    EpochSettings,
    InnerSettings,
    LogitSettings,
    OptimizerSettings,
    RegularizationSettings,
    TemperatureSettings,
)
from precsearch.experiment.loading import (
    apply_point,
    bundled,
    dump_experiment,
    fingerprint,
    load_experiment,
    load_experiment_text,
    with_overrides,
)
from precsearch.experiment.outer import (
    ConstraintSettings,
    ExecutorSettings,
    ObjectiveSettings,
    PrunerSettings,
    SamplerSettings,
    StudySettings,
)
from precsearch.experiment.task import DataSettings, ModelSettings

__all__ = [
    "BudgetSettings",
    "ConstraintSettings",
    "DataSettings",
    "EpochSettings",
    "ExecutorSettings",
    "Experiment",
    "InnerSettings",
    "LogitSettings",
    "ModelSettings",
    "ObjectiveSettings",
    "OptimizerSettings",
    "PrunerSettings",
    "RegularizationSettings",
    "SamplerSettings",
    "StudySettings",
    "TemperatureSettings",
    "apply_point",
    "bundled",
    "dump_experiment",
    "fingerprint",
    "load_experiment",
    "load_experiment_text",
    "with_overrides",
]
