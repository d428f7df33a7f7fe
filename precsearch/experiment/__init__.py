"""One experiment as frozen data: what the YAML of a search space may say, and what it means."""

from precsearch.experiment.document import Experiment as Experiment
from precsearch.experiment.inner import (
    BudgetSettings as BudgetSettings,
)
from precsearch.experiment.inner import (
    EpochSettings as EpochSettings,
)
from precsearch.experiment.inner import (
    InnerSettings as InnerSettings,
)
from precsearch.experiment.inner import (
    LogitSettings as LogitSettings,
)
from precsearch.experiment.inner import (
    OptimizerSettings as OptimizerSettings,
)
from precsearch.experiment.inner import (
    RegularizationSettings as RegularizationSettings,
)
from precsearch.experiment.inner import (
    TemperatureSettings as TemperatureSettings,
)
from precsearch.experiment.outer import (
    ConstraintSettings as ConstraintSettings,
)
from precsearch.experiment.outer import (
    ExecutorSettings as ExecutorSettings,
)
from precsearch.experiment.outer import (
    ObjectiveSettings as ObjectiveSettings,
)
from precsearch.experiment.outer import (
    PrunerSettings as PrunerSettings,
)
from precsearch.experiment.outer import (
    SamplerSettings as SamplerSettings,
)
from precsearch.experiment.outer import (
    StudySettings as StudySettings,
)
from precsearch.experiment.task import DataSettings as DataSettings
from precsearch.experiment.task import ModelSettings as ModelSettings
