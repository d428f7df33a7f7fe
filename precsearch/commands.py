"""What the larger commands do: call, and print. What takes time to import is imported inside them."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import typer

from precsearch.report.complaints import InterruptedRunError, collected_warnings
from precsearch.report.stdout import stdout_kept

if TYPE_CHECKING:
    from precsearch.experiment import Experiment
    from precsearch.results import RunDirectory


def plan(experiment: Experiment, directory: RunDirectory, as_json: bool) -> int:
    """`run --dry-run`: print the plan -> the exit status."""
    from precsearch.report.console import console
    from precsearch.report.plan import plan_dict, print_plan

    with stdout_kept(as_json), collected_warnings() as warned:
        from precsearch.study.driver import plan_study

        found = plan_study(experiment)
    for text in warned:
        typer.echo(f"warning: {text}", err=True)
    if as_json:
        print_json(plan_dict(experiment, found, directory))
    else:
        print_plan(console(), experiment, found, directory)
    return 0


def inspect(experiment: Experiment, as_json: bool) -> int:
    """`inspect`: print what is known before any training -> the exit status. Everything happens in this process."""
    from precsearch.report.console import console
    from precsearch.report.inspection import inspection_dict, print_inspection

    with stdout_kept(as_json), collected_warnings() as warned:
        from precsearch.study.driver import check_study
        from precsearch.study.feasibility import inspect_study

        check_study(experiment)
        found = inspect_study(experiment)
    if as_json:
        print_json(inspection_dict(experiment, found, warned))
    else:
        print_inspection(console(), experiment, found, warned)
    return 0


def study(experiment: Experiment, directory: RunDirectory, as_json: bool) -> int:
    """`run` and `resume`: run the study to its end and print how it went -> the exit status."""
    from precsearch.report.console import console, watch
    from precsearch.report.summary import print_summary
    from precsearch.report.view import read_run

    observer = watch(experiment, directory, console(stderr=True))
    try:
        with stdout_kept(as_json):
            from precsearch.study.driver import run_study

            with observer:
                summary = run_study(experiment, directory, observer)
    except KeyboardInterrupt:
        if not directory.experiment.is_file():
            raise InterruptedRunError("nothing was begun") from None
        command = f"precsearch resume {shlex.quote(str(directory.path))}"
        raise InterruptedRunError(f"everything done so far is kept; continue with `{command}`") from None
    view = read_run(directory)
    print_summary(console(stderr=as_json), view, finished_before=observer.idle)
    if as_json:
        print_json({**view.to_dict(), "finished": not summary.elsewhere, "exit_status": view.exit_status})
    return view.exit_status


def show(directory: RunDirectory, trial: int | None, baseline: str | None, as_json: bool) -> int:
    """`show`: print one training -> the exit status. Nothing is started or written."""
    from precsearch.report.console import console
    from precsearch.report.show import print_shown
    from precsearch.report.shown import read_shown

    shown = read_shown(directory, trial, baseline)
    if as_json:
        print_json(shown.to_dict())
    else:
        print_shown(console(), shown)
    return 0


def print_json(value: dict[str, Any]) -> None:
    """The one object that ``--json`` puts on stdout."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False))
