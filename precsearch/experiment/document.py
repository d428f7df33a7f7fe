"""The whole document."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from precsearch.experiment.base import Settings
from precsearch.experiment.inner import InnerSettings
from precsearch.experiment.outer import ExecutorSettings, StudySettings
from precsearch.experiment.task import DataSettings, ModelSettings
from precsearch.space import Dimension


class Experiment(Settings):
    """The whole document.

    Attributes:
        version: of the YAML's layout.
        name: of the experiment; names the run directory.
        space: dotted path into this document -> searched dimension.
    """

    version: Literal[1] = 1
    name: str = Field(default="experiment", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    inner: InnerSettings = InnerSettings()
    study: StudySettings = StudySettings()
    space: dict[str, Dimension] = {}
    executor: ExecutorSettings = ExecutorSettings()
