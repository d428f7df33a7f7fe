"""`study:` and `executor:`, the outer search and who runs it."""

from __future__ import annotations

import difflib
import re
from typing import Any, Final, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from precsearch.experiment.base import Settings
from precsearch.experiment.storage_url import checked
from precsearch.results import SELECTABLE_METRICS

UNQUANTIZED: Final = "float"
_ADDRESS: Final = r"local|auto|(ray://)?([^/\s:]+|\[[^/\s]+\]):\d{1,5}"


def selectable(metric: str) -> str:
    """`metric`, where something may be selected by it.

    Raises:
        ValueError: when not: it is one of the test split, or none that a trial measures.
    """
    if metric.startswith("test_"):
        raise ValueError(
            f"selection on validation data must hold, but got {metric!r}; "
            f"use {metric.replace('test_', 'validation_', 1)!r}: the test split is read for the report only"
        )
    if metric not in SELECTABLE_METRICS:
        on_validation = f"validation_{metric}"  # what `accuracy` and `loss` mean
        near = [on_validation] if on_validation in SELECTABLE_METRICS else []
        near = near or difflib.get_close_matches(metric, SELECTABLE_METRICS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"one of {', '.join(SELECTABLE_METRICS)} must be given, but got {metric!r}{hint}")
    return metric


class ObjectiveSettings(Settings):
    """One entry of `study.objectives:`; validation metrics and costs only, never `test_*`."""

    metric: str
    direction: Literal["minimize", "maximize"]

    @field_validator("metric")
    @classmethod
    def _not_test(cls, value: str) -> str:
        return selectable(value)


class ConstraintSettings(Settings):
    """One entry of `study.constraints:`; at least one of `min` and `max`."""

    metric: str
    min: float | None = None
    max: float | None = None

    @field_validator("metric")
    @classmethod
    def _not_test(cls, value: str) -> str:
        return selectable(value)

    @model_validator(mode="after")
    def _bounded(self) -> ConstraintSettings:
        if self.min is None and self.max is None:
            raise ValueError(f"`min`, `max` or both must be given for metric {self.metric!r}, but got neither")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"`min <= max` must hold, but got min={self.min} and max={self.max}")
        return self


class SamplerSettings(Settings):
    """`study.sampler:`; every key but `name` is passed to Optuna's sampler."""

    model_config = ConfigDict(extra="allow")

    name: Literal["tpe", "random", "gp", "nsga2", "grid"] = "tpe"


class PrunerSettings(Settings):
    """`study.pruner:`; keys other than these are passed to Optuna's pruner.

    Attributes:
        name: ``none``, ``median``, ``percentile``, ``asha`` or ``hyperband``.
        metric: the metric compared, reported at every epoch.
        bands: trials are compared only within one of so many bands of budget limits.
    """

    model_config = ConfigDict(extra="allow")

    name: Literal["none", "median", "percentile", "asha", "hyperband"] = "none"
    metric: Literal["validation_accuracy", "validation_loss", "train_loss"] = "validation_loss"
    bands: int = Field(default=3, ge=1)


class StudySettings(Settings):
    """`study:` the outer search.

    Attributes:
        objectives: what is searched for; one, or several for a front.
        constraints: what a trial must satisfy to count.
        sampler: Optuna's sampler.
        pruner: Optuna's pruner, within budget bands.
        n_trials: trials in all, failed and pruned ones counted.
        seed: everything random derives from it.
        enqueue: points to try first: dotted path -> value.
        baselines: ``uniform`` and ``random`` allocations are trained beside every member of the front, at equal
            cost; a ``float`` network, in which nothing is quantized, beside the best trial alone.
        storage: URL of a database where several drivers share the study, such as
            ``postgresql+psycopg://user@host/database``, without a password; ``${NAME}`` in it stands for an
            environment variable. The run directory's own journal where None.
        viewers: programs for which more is written in the run directory: ``tensorboard``, logs of every training;
            ``optuna-dashboard``, the allocation of every trial that completes, and a picture of it.
    """

    objectives: tuple[ObjectiveSettings, ...] = Field(
        default=(
            ObjectiveSettings(metric="validation_accuracy", direction="maximize"),
            ObjectiveSettings(metric="bitops", direction="minimize"),
        ),
        min_length=1,
        strict=False,
    )
    constraints: tuple[ConstraintSettings, ...] = Field(default=(), strict=False)
    sampler: SamplerSettings = SamplerSettings()
    pruner: PrunerSettings = PrunerSettings()
    n_trials: int = Field(default=20, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**32)
    enqueue: tuple[dict[str, Any], ...] = Field(default=(), strict=False)
    baselines: tuple[Literal["uniform", "random", "float"], ...] = Field(
        default=("uniform", "random", "float"), strict=False
    )
    storage: str | None = None
    viewers: tuple[Literal["tensorboard", "optuna-dashboard"], ...] = Field(default=(), strict=False)

    def beside(self, best: bool) -> list[str]:
        """The kinds of baselines beside a member of the front, which is the best trial or not."""
        return [kind for kind in self.baselines if best or kind != UNQUANTIZED]

    @field_validator("storage")
    @classmethod
    def _no_password(cls, value: str | None) -> str | None:
        return None if value is None else checked(value)

    @field_validator("viewers")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError(f"each name once must hold, but got {list(value)}")
        return value

    @field_validator("objectives")
    @classmethod
    def _distinct(cls, value: tuple[ObjectiveSettings, ...]) -> tuple[ObjectiveSettings, ...]:
        metrics = [objective.metric for objective in value]
        for metric in metrics:
            if metrics.count(metric) > 1:
                raise ValueError(f"each metric once must hold, but got {metric!r} twice; drop one")
        return value


class ResourceSettings(Settings):
    """`executor.resources:` what Ray sets aside for one trial.

    Attributes:
        cpu: processor cores; fractions let several trials share one.
        gpu: graphics processors; fractions let several trials share one. This version trains on the processor: only
            a model of your own that moves itself there uses one.
    """

    cpu: float = Field(default=1.0, gt=0)
    gpu: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _countable(self) -> ResourceSettings:
        for name, value in (("cpu", self.cpu), ("gpu", self.gpu)):
            if value > 1 and value != int(value):  # Ray's own rule
                raise ValueError(f"a whole number, or a fraction below 1, must hold for {name}, but got {value}")
        return self


class ExecutorSettings(Settings):
    """`executor:` who runs the trials. What only Ray knows is not looked at in process.

    Attributes:
        name: ``inprocess``, one trial after another in this process; ``ray``, several at a time on a Ray cluster.
        address: of the Ray cluster: ``local`` starts one on this machine and ends it with the study; ``auto``,
            ``HOST:PORT`` and ``ray://HOST:PORT`` join one that runs.
        resources: what Ray sets aside for one trial.
        max_concurrent: trials at a time; as many as the cluster has room for where None.
        storage_path: folder or URL that every node sees, for checkpoints; needed on several nodes.
        max_failures: how often a trial that raised, or whose worker was lost, is tried again from its last
            checkpoint; a lost worker is forgiven three times whatever stands here.
        threads: processor threads a trial uses; small networks are fastest on one. PyTorch's own choice where
            None; on Ray the trial's cores.
        kernels: how quantizing is computed: ``eager``, in plain operations; ``compiled``, in one pass each way that
            `torch.compile` makes with a C++ compiler; ``auto``, compiled for large tensors where that works.
        memory_format: of the weights of convolutions: ``contiguous``, ``channels_last`` (faster on processors), or
            ``auto``, channels last where enough layers are convolutions and the model runs so.
        compile: compile the whole forward of a training step with `torch.compile`, which takes minutes for a deep
            network and pays for large ones that train long; a compiled trial that is resumed equals an
            uninterrupted one only up to rounding.
        autocast: precision that a training step's forward is computed in where `torch.autocast` allows it:
            ``bfloat16``, for accelerators; single precision throughout where None.
    """

    name: Literal["inprocess", "ray"] = "inprocess"
    address: str = "local"
    resources: ResourceSettings = ResourceSettings()
    max_concurrent: int | None = Field(default=None, ge=1)
    storage_path: str | None = Field(default=None, min_length=1)
    max_failures: int = Field(default=0, ge=0)
    threads: int | None = Field(default=None, ge=1)
    kernels: Literal["auto", "eager", "compiled"] = "auto"
    memory_format: Literal["auto", "contiguous", "channels_last"] = "auto"
    compile: bool = False
    autocast: Literal["bfloat16"] | None = None

    @field_validator("address", mode="before")
    @classmethod
    def _known_form(cls, value: Any) -> Any:
        if isinstance(value, str) and not re.fullmatch(_ADDRESS, value):
            raise ValueError(
                f"local, auto, HOST:PORT or ray://HOST:PORT must be given, but got {value!r}; "
                "`ray start --head` prints the address of a cluster"
            )
        return value
