"""One experiment as frozen data: what the YAML of a search space may say, what it means, how it is read."""

from precsearch.experiment.arrays import ArraySettings
from precsearch.experiment.compare import ARM_KINDS, ArmSettings, CompareSettings, TuneSettings
from precsearch.experiment.document import Experiment
from precsearch.experiment.evaluate import EvaluateSettings
from precsearch.experiment.grid import GridSettings
from precsearch.experiment.images import (
    DATA_KEYS,
    Cifar10Settings,
    FolderSettings,
    ImageNetSettings,
    ImageSettings,
)
from precsearch.experiment.inner import (
    EpochSettings,
    InnerSettings,
    LogitSettings,
    OptimizerSettings,
    RegularizationSettings,
    TemperatureSettings,
)
from precsearch.experiment.limited import BudgetSettings
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
from precsearch.experiment.values import data_keys

__all__ = [
    "ARM_KINDS",
    "DATA_KEYS",
    "ArmSettings",
    "ArraySettings",
    "BudgetSettings",
    "Cifar10Settings",
    "CompareSettings",
    "ConstraintSettings",
    "DataSettings",
    "EpochSettings",
    "EvaluateSettings",
    "ExecutorSettings",
    "Experiment",
    "FolderSettings",
    "GridSettings",
    "ImageNetSettings",
    "ImageSettings",
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
    "TuneSettings",
    "apply_point",
    "bundled",
    "data_keys",
    "dump_experiment",
    "fingerprint",
    "load_experiment",
    "load_experiment_text",
    "with_overrides",
]
