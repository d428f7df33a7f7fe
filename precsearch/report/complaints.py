"""What the command line says of an error: one message and an exit status, never a traceback."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from precsearch.errors import PrecsearchError, PrecsearchWarning, StaysFloatWarning


class InterruptedRunError(PrecsearchError):
    """Ctrl-C while trials were running."""

    exit_status = 130


def complaint(error: Exception) -> tuple[str, int]:
    """The message and the exit status for `error`.

    Raises:
        Exception: `error` itself, where nobody raised it on purpose and PRECSEARCH_DEBUG is set.
    """
    if isinstance(error, PrecsearchError):
        return str(error), error.exit_status
    if hasattr(error, "format_message"):  # Typer's usage errors; their base class moved between versions
        return _usage(error), 2
    if os.environ.get("PRECSEARCH_DEBUG"):
        raise error
    return (
        f"{type(error).__name__}: {error} (this is a bug in precsearch, or in your own model or data "
        "function; run with PRECSEARCH_DEBUG=1 for the traceback)"
    ), 1


def _usage(error: Any) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "precsearch"
    return f"{error.format_message().rstrip('.')}; `{command} -h` lists what there is"


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Collect our own warnings, each once, for whoever prints them in their place; others go where they went.

    What stays in float32 is left out: the plan of a trial says it.
    """
    found: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", PrecsearchWarning)
        elsewhere = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any, **named: Any) -> None:
            if not issubclass(category, PrecsearchWarning):
                elsewhere(message, category, *rest, **named)
            elif not issubclass(category, StaysFloatWarning) and str(message) not in found:
                found.append(str(message))

        warnings.showwarning = show
        yield found
