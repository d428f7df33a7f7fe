"""Every error precsearch raises on purpose: one class a kind, each also the builtin a caller would expect.

A message states the rule, the value that broke it, where (file:line:column, layer name), and what to do.
"""

from __future__ import annotations


class PrecsearchError(Exception):
    """Base of all errors raised on purpose; the command line prints its text without a traceback.

    Attributes:
        exit_status: what the command line exits with (design, section 5).
    """

    exit_status = 1


class ConfigurationError(PrecsearchError, ValueError):
    """The experiment, the command line or an argument asks for something that is not allowed."""

    exit_status = 2


class BudgetError(ConfigurationError):
    """A budget that no allocation can keep, or that does not bind what is searched."""


class AllocationError(PrecsearchError, ValueError):
    """An allocation that cannot be read, or that belongs to another model."""

    exit_status = 2


class ModelError(ConfigurationError):
    """A model that cannot be built or made searchable as asked."""


class DataError(PrecsearchError, RuntimeError):
    """A data set that is missing, unreadable or not of the expected shape."""

    exit_status = 1


class RunDirectoryError(PrecsearchError, RuntimeError):
    """A run directory that cannot be read, written or continued."""


class ClusterError(PrecsearchError, ConnectionError):
    """A Ray cluster that cannot be reached or started, or whose nodes cannot run this experiment."""


class WorkerLostError(PrecsearchError, RuntimeError):
    """A trial whose workers died more often than `executor.max_failures` allows for."""


class ExportError(PrecsearchError, RuntimeError):
    """A network that a format cannot hold, or a written file that does not run as the network does."""


class DivergedError(PrecsearchError, ArithmeticError):
    """A training whose loss or metric is no longer finite."""


class TrialStopped(Exception):  # noqa: N818 -- not an error: the outer search asked for the end of this trial
    """Raised by `Session.report` to end a trial early; the trial is recorded as pruned."""


class PrecsearchWarning(UserWarning):
    """Something a user should know that does not stop the work."""


class StaysFloatWarning(PrecsearchWarning):
    """Something of a model is not quantized though it was asked for; the plan of a trial says it as well."""
