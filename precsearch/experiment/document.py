"""The whole document."""

from __future__ import annotations

import re
from typing import Any, Final, Literal

from pydantic import Field, ValidationInfo, field_validator

from precsearch.experiment.base import Settings
from precsearch.experiment.compare import CompareSettings
from precsearch.experiment.evaluate import EvaluateSettings
from precsearch.experiment.grid import GridSettings
from precsearch.experiment.inner import InnerSettings
from precsearch.experiment.outer import ExecutorSettings, StudySettings
from precsearch.experiment.task import DataSettings, ModelSettings
from precsearch.space import Dimension

Kind = Literal["search", "compare", "grid"]
_LEARN_NOTHING: Final = ("uniform", "fixed", "random", "float")  # samplers that need no epoch to have an allocation


class Experiment(Settings):
    """The whole document.

    Attributes:
        version: of the YAML's layout.
        kind: ``search`` for allocations and settings; ``compare`` arms on the same seeds; ``grid``, networks of
            several sizes in float and at few bits.
        name: of the experiment; names the run directory.
        compare: what ``compare`` compares.
        grid: what ``grid`` trains.
        space: dotted path into this document -> searched dimension.
    """

    version: Literal[1] = 1
    kind: Kind = "search"
    name: str = "experiment"
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    inner: InnerSettings = InnerSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    study: StudySettings = StudySettings()
    compare: CompareSettings | None = None
    grid: GridSettings | None = None
    space: dict[str, Dimension] = Field(default={})
    executor: ExecutorSettings = ExecutorSettings()

    @field_validator("version", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        if type(value) is not int or value != 1:
            raise ValueError(f"`version: 1` must hold, but got {value!r}; this precsearch reads version 1 only")
        return value

    @field_validator("inner")
    @classmethod
    def _something_learns(cls, value: InnerSettings, info: ValidationInfo) -> InnerSettings:
        """Or the weights were learned before, and are measured as they are."""
        epochs, model = value.epochs, info.data.get("model")
        trained = isinstance(model, ModelSettings) and model.starts_trained
        if epochs.warmup + epochs.search + epochs.finetune == 0 and not (trained and value.sampler in _LEARN_NOTHING):
            raise ValueError(
                "at least one epoch in one phase must hold, but all three of `epochs` are 0; to quantize and measure "
                "trained weights as they are, give `model.checkpoint` (or pretrained `model.weights`) and one of the "
                f"samplers {', '.join(_LEARN_NOTHING)}"
            )
        return value

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value):
            raise ValueError(
                "only letters, digits, '.', '_' and '-', first a letter or digit, "
                f"may stand in a name (it names a folder), but got {value!r}"
            )
        return value
