"""What the larger commands do: call, and print. What takes time to import is imported inside them."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from precsearch.errors import ConfigurationError
from precsearch.report.complaints import InterruptedRunError, collected_warnings
from precsearch.report.stdout import stdout_kept

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from precsearch.experiment import Experiment
    from precsearch.results import RunDirectory, TrialRecord
    from precsearch.study.confirm.plan import ConfirmPlan


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


@contextmanager
def resumable(directory: RunDirectory, name: str = "resume", options: str = "") -> Iterator[None]:
    """A context that Ctrl-C ends with a word on what is kept, and on the command that goes on."""
    try:
        yield
    except KeyboardInterrupt:
        if not directory.experiment.is_file():
            raise InterruptedRunError("nothing was begun") from None
        command = f"precsearch {name} {shlex.quote(str(directory.path))}{options}"
        raise InterruptedRunError(f"everything done so far is kept; continue with `{command}`") from None


def study(experiment: Experiment, directory: RunDirectory, as_json: bool) -> int:
    """`run` and `resume`: run the study to its end and print how it went -> the exit status."""
    from precsearch.report.console import console, watch
    from precsearch.report.redraw import Redrawn
    from precsearch.report.summary import print_files, print_summary
    from precsearch.report.view import read_run

    observer = Redrawn(watch(experiment, directory, console(stderr=True)), directory)
    with resumable(directory), stdout_kept(as_json):
        from precsearch.study.driver import run_study

        with observer:
            summary = run_study(experiment, directory, observer)
    view, to = read_run(directory), console(stderr=as_json)
    print_summary(to, view, finished_before=observer.watch.idle)
    page = closing_page(directory, as_json)
    print_files(to, view, page)
    if as_json:
        told = {"finished": not summary.elsewhere, "report": str(page) if page else None}
        print_json({**view.to_dict(), **told, "exit_status": view.exit_status})
    return view.exit_status


def list_run(directory: RunDirectory, as_json: bool) -> int:
    """`list`: print every trial and the front -> the exit status. Starts and changes nothing."""
    from precsearch.report.console import console
    from precsearch.report.summary import print_list
    from precsearch.report.view import read_run

    view = read_run(directory)
    if as_json:
        print_json(view.to_dict())
    else:
        print_list(console(), view)
    return 0


def show(directory: RunDirectory, trial: int | None, baseline: str | None, training: str | None, as_json: bool) -> int:
    """`show`: print one training -> the exit status. Nothing is started or written."""
    from precsearch.report.console import console
    from precsearch.report.show import print_shown
    from precsearch.report.shown import read_shown, read_training_shown

    if training is not None and (trial is not None or baseline is not None):
        raise ConfigurationError("--training goes with no other choice; drop --trial and --baseline")
    shown = read_shown(directory, trial, baseline) if training is None else read_training_shown(directory, training)
    if as_json:
        print_json(shown.to_dict())
    else:
        print_shown(console(), shown)
    return 0


def report(paths: Sequence[Path], output: Path | None, as_json: bool) -> int:
    """`report`: write the page of one run, or of several side by side -> the exit status."""
    from precsearch.report.page import write_report
    from precsearch.results import RunDirectory

    with stdout_kept(as_json):
        written = write_report([RunDirectory(path) for path in paths], output)
    if as_json:
        print_json(written.to_dict())
    else:
        typer.echo(f"wrote {written.path}", err=True)
    return 0


def confirm_plan(
    experiment: Experiment, directory: RunDirectory, seeds: int, trials: Sequence[int], as_json: bool
) -> int:
    """`confirm --dry-run`: print what would be trained -> the exit status."""
    from precsearch.report.confirmed import confirm_plan_dict, print_confirm_plan
    from precsearch.report.console import console
    from precsearch.study.confirm.plan import plan_confirmation

    planned = plan_confirmation(directory, experiment, seeds, trials)
    if as_json:
        print_json(confirm_plan_dict(planned, directory))
    else:
        print_confirm_plan(console(), planned, directory)
    return 0


def confirm(experiment: Experiment, directory: RunDirectory, seeds: int, trials: Sequence[int], as_json: bool) -> int:
    """`confirm`: train a front's allocations again on fresh seeds and print what stands -> the exit status."""
    from precsearch.report.confirmed import confirm_plan_dict, print_claims, print_confirmed, read_confirmed
    from precsearch.report.confirming import watch_confirming
    from precsearch.report.console import console
    from precsearch.report.view import read_run

    observer = watch_confirming(experiment, directory, console(stderr=True))
    named = "".join(f" --trial {number}" for number in trials)
    with resumable(directory, "confirm", f" --seeds {seeds}{named}"), stdout_kept(as_json):
        from precsearch.study.confirm.run import confirm_run

        with observer:
            plan = confirm_run(experiment, directory, observer, seeds, trials)
    view = read_run(directory)
    found, to = read_confirmed(view.confirmed, experiment.inner.budget.kind), console(stderr=as_json)
    print_confirmed(to, found)
    print_claims(to, found)
    page = closing_page(directory, as_json)
    if page is not None:
        to.print(f"The report is {page}", soft_wrap=True)
    status = exit_status_of(plan, view.confirmed)
    if as_json:
        confirmed = [record.model_dump(mode="json") for record in view.confirmed]
        told = found.to_dict() | {"confirmed": confirmed, "report": str(page) if page else None, "exit_status": status}
        print_json({**confirm_plan_dict(plan, directory), **told})
    return status


def closing_page(directory: RunDirectory, as_json: bool) -> Path | None:
    """The page, written once more; None where it could not be, which is said."""
    from precsearch.report.redraw import closing_report

    with stdout_kept(as_json):
        return closing_report(directory, lambda text: typer.echo(f"warning: {text}", err=True))


def exit_status_of(plan: ConfirmPlan, confirmed: Sequence[TrialRecord]) -> int:
    """0 when every training of the plan completed, 1 when none did, 3 when some failed."""
    from precsearch.report.view import exit_status

    numbers, seeds = {member.number for member in plan.members}, set(plan.seeds)
    return exit_status(
        Counter(record.state for record in confirmed if record.number in numbers and record.seed in seeds)
    )


def print_json(value: dict[str, Any]) -> None:
    """The one object that ``--json`` puts on stdout."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False))
