"""Where things are printed: figures on stdout, progress and complaints on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from precsearch.experiment import Experiment
    from precsearch.report.watch import Watch
    from precsearch.results import RunDirectory


def console(stderr: bool = False) -> Console:
    """A console that colours nothing on its own: numbers and names keep the style of their text."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def watch(experiment: Experiment, run: RunDirectory, to: Console) -> Watch:
    """The live view where `to` is a terminal, plain lines elsewhere."""
    from precsearch.report.lines import PlainLines
    from precsearch.report.live import LiveView

    return (
        LiveView(experiment, run, to) if to.is_terminal and not to.is_dumb_terminal else PlainLines(experiment, run, to)
    )
