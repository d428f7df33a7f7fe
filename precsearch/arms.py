"""What commands do for the kinds `compare` and `grid`: call, and print. What takes time to import is inside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from precsearch.commands import closing_page, print_json, resumable
from precsearch.report.complaints import collected_warnings
from precsearch.report.stdout import stdout_kept

if TYPE_CHECKING:
    from precsearch.experiment import Experiment
    from precsearch.results import RunDirectory


def plan(experiment: Experiment, directory: RunDirectory, as_json: bool) -> int:
    """`run --dry-run`: print cells, arms, seeds and costs -> the exit status."""
    from precsearch.report.arms_tables import look_dict, print_look
    from precsearch.report.console import console

    with stdout_kept(as_json), collected_warnings() as warned:
        from precsearch.study.arms.run import look_at_run

        look = look_at_run(experiment)
    for text in warned:
        typer.echo(f"warning: {text}", err=True)
    if as_json:
        print_json(look_dict(experiment, look, directory))
    else:
        print_look(console(), experiment, look, directory)
    return 0


def study(experiment: Experiment, directory: RunDirectory, as_json: bool) -> int:
    """`run` and `resume`: train every arm and print how they did -> the exit status."""
    from precsearch.report.arms.reading import read_arms_data
    from precsearch.report.arms.terminal import answers_dict, print_answers
    from precsearch.report.arms_tables import print_arms, print_arms_files
    from precsearch.report.arms_view import read_arms
    from precsearch.report.console import console
    from precsearch.report.redraw import Redrawn
    from precsearch.report.training import watch_arms

    observer = Redrawn(watch_arms(experiment, directory, console(stderr=True)), directory)
    with resumable(directory), stdout_kept(as_json):
        from precsearch.study.arms.run import run_arms

        with observer:
            run_arms(experiment, directory, observer)
    view, to = read_arms(directory), console(stderr=as_json)
    print_arms(to, view, finished_before=observer.watch.idle)
    said = read_arms_data(directory, "")
    print_answers(to, said)
    page = closing_page(directory, as_json)
    print_arms_files(to, view, page)
    if as_json:
        print_json(
            {
                **view.to_dict(),
                **answers_dict(said),
                "report": str(page) if page else None,
                "exit_status": view.exit_status,
            }
        )
    return view.exit_status


def list_run(directory: RunDirectory, as_json: bool) -> int:
    """`list`: print every arm -> the exit status. Starts and changes nothing."""
    from precsearch.report.arms.reading import read_arms_data
    from precsearch.report.arms.terminal import answers_dict, print_answers
    from precsearch.report.arms_tables import print_arms
    from precsearch.report.arms_view import read_arms
    from precsearch.report.console import console

    view, said = read_arms(directory), read_arms_data(directory, "")
    if as_json:
        print_json({**view.to_dict(), **answers_dict(said)})
    else:
        print_arms(console(), view)
        print_answers(console(), said)
    return 0
