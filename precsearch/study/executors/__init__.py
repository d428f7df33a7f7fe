"""Who runs the trials: executors by name, imported when asked for so that none loads another's libraries."""

from __future__ import annotations

from importlib import import_module
from typing import Final, cast

from precsearch.experiment import Experiment
from precsearch.study.executors.base import Executor

EXECUTORS: Final = {
    "inprocess": "precsearch.study.executors.inprocess:InProcessExecutor",
    "ray": "precsearch.study.executors.ray:RayExecutor",
}


def make_executor(experiment: Experiment) -> Executor:
    """The executor that `executor:` names."""
    module, _, name = EXECUTORS[experiment.executor.name].partition(":")
    return cast(Executor, getattr(import_module(module), name)(experiment))
