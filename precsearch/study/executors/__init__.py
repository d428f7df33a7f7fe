"""Who runs the trials: executors by name, imported when asked for so that none loads another's libraries."""

from __future__ import annotations

from importlib import import_module
from typing import Final, cast

from precsearch.experiment import ExecutorSettings
from precsearch.study.executors.base import Executor

EXECUTORS: Final = {"inprocess": "precsearch.study.executors.inprocess:InProcessExecutor"}


def make_executor(settings: ExecutorSettings) -> Executor:
    """The executor that `executor:` names; each is built from those settings alone."""
    module, _, name = EXECUTORS[settings.name].partition(":")
    return cast(Executor, getattr(import_module(module), name)(settings))
