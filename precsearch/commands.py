"""What the larger commands do: call, and print. What takes time to import is imported inside them."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import typer

from precsearch.report.complaints import InterruptedRunError, collected_warnings
from precsearch.report.stdout import stdout_kept

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    try:
        with stdout_kept(as_json):
            from precsearch.study.confirm.run import confirm_run

            with observer:
                plan = confirm_run(experiment, directory, observer, seeds, trials)
    except KeyboardInterrupt:
        named = "".join(f" --trial {number}" for number in trials)
        command = f"precsearch confirm {shlex.quote(str(directory.path))} --seeds {seeds}{named}"
        raise InterruptedRunError(f"everything done so far is kept; continue with `{command}`") from None
    view = read_run(directory)
    found, to = read_confirmed(view.confirmed, experiment.inner.budget.kind), console(stderr=as_json)
    print_confirmed(to, found)
    print_claims(to, found)
    status = exit_status_of(plan, view.confirmed)
    if as_json:
        confirmed = [record.model_dump(mode="json") for record in view.confirmed]
        print_json(
            {**confirm_plan_dict(plan, directory), **found.to_dict(), "confirmed": confirmed, "exit_status": status}
        )
    return status


def exit_status_of(plan: ConfirmPlan, confirmed: Sequence[TrialRecord]) -> int:
    """0 when every training of the plan completed, 1 when none did, 3 when some failed."""
    numbers, seeds = {member.number for member in plan.members}, set(plan.seeds)
    ours = [record.state for record in confirmed if record.number in numbers and record.seed in seeds]
    if "complete" not in ours:
        return 1
    return 3 if set(ours) != {"complete"} else 0


def print_json(value: dict[str, Any]) -> None:
    """The one object that ``--json`` puts on stdout."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False))
