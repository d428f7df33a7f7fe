"""The command line: parse, call, print. Whatever takes time to import is imported inside the commands.

Exit status: 0 done, 1 failed, 2 usage or configuration, 3 finished with failed trials, 130 interrupted.

With ``--json`` exactly one JSON object goes to stdout and everything else to stderr:

- ``run``, ``resume``, ``list``: `precsearch.report.view.RunView.to_dict`, for arms
  `precsearch.report.arms_view.ArmsView.to_dict`; the first two add ``report`` and ``exit_status``.
- ``run --dry-run``: `precsearch.report.plan.plan_dict`, for arms `precsearch.report.arms_tables.look_dict`.
- ``inspect``: `precsearch.report.inspection.inspection_dict`.
- ``show``: `precsearch.report.shown.Shown.to_dict`.
- ``report``: `precsearch.report.page.Written.to_dict`.
- ``confirm``: `precsearch.report.confirmed.confirm_plan_dict`, which is all of it with ``--dry-run``; then ``arms``,
  ``claims`` and ``confirmed``, and ``exit_status``.
- ``export``: ``format``, ``output`` (path or null) and ``allocation`` (JSON format 1); for a whole network ``report``,
  `precsearch.exports.report.ExportReport`; for another tool's format ``written``,
  `precsearch.exports.report.WrittenText`.
- ``import``: ``format``, ``output`` (path or null), ``allocation`` (JSON format 1) and ``notes``.
- an error, from any of them: ``error`` and ``exit_status``.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

import precsearch
from precsearch import commands
from precsearch.errors import ConfigurationError
from precsearch.options import Address, Json, Overrides, Runner, RunPath, Space, Training, Trials, of_kind
from precsearch.options import changes as _changes
from precsearch.options import number as _number
from precsearch.report.complaints import InterruptedRunError, complaint

app = typer.Typer(
    name="precsearch",
    help="How many bits does each layer need? Start with `precsearch run`.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: rich would double the time of --help
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"precsearch {precsearch.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None: ...


@app.command()
def run(
    *,
    space: Space = None,
    output: Annotated[Path | None, typer.Option(help="Run directory.  [default: runs/NAME]")] = None,
    overrides: Overrides = None,
    trials: Trials = None,
    executor: Runner = None,
    address: Address = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan; train and write nothing.")] = False,
    as_json: Json = False,
) -> int:
    """Train what an experiment asks for: a search, or arms to compare. Continues an unfinished run directory."""
    from precsearch.experiment.loading import bundled, load_experiment
    from precsearch.results import RunDirectory

    given = [*(overrides or ()), *_changes(trials, executor, address)]
    experiment = load_experiment(space or bundled("digits.yaml"), given)
    directory = RunDirectory(output or Path("runs") / experiment.name)
    commands_of_it = of_kind(experiment, trials)
    return int((commands_of_it.plan if dry_run else commands_of_it.study)(experiment, directory, as_json))


@app.command()
def inspect(space: Space = None, overrides: Overrides = None, as_json: Json = False) -> int:
    """Show layers, costs, groups and budgets before any training. Starts and writes nothing."""
    from precsearch.experiment.loading import bundled, load_experiment

    return commands.inspect(load_experiment(space or bundled("digits.yaml"), overrides or ()), as_json)


@app.command()
def resume(
    path: RunPath, trials: Trials = None, executor: Runner = None, address: Address = None, as_json: Json = False
) -> int:
    """Continue an interrupted run from its directory alone."""
    from precsearch.experiment.loading import load_experiment
    from precsearch.results import RunDirectory

    directory = RunDirectory(path)
    directory.require()
    experiment = load_experiment(directory.experiment, _changes(trials, executor, address))
    return int(of_kind(experiment, trials).study(experiment, directory, as_json))


@app.command(name="list")
def list_(path: RunPath, as_json: Json = False) -> int:
    """List the trials and the front of a run, or its arms. Starts and changes nothing."""
    from precsearch.experiment.loading import load_experiment
    from precsearch.results import RunDirectory

    directory = RunDirectory(path)
    directory.require()
    return int(of_kind(load_experiment(directory.experiment)).list_run(directory, as_json))


@app.command()
def show(
    path: RunPath,
    trial: Annotated[int | None, _number("--trial", "Its number; the best one if left out.")] = None,
    baseline: Annotated[str | None, typer.Option(help="The baseline beside it: uniform, random or float.")] = None,
    training: Training = None,
    as_json: Json = False,
) -> int:
    """Show one trial: its bits, curves and costs, and the baselines beside it. Starts and changes nothing."""
    from precsearch.results import RunDirectory

    return commands.show(RunDirectory(path), trial, baseline, training, as_json)


@app.command()
def report(
    paths: Annotated[list[Path], typer.Argument(metavar="RUN_DIR...", help="Run directories; may be copies.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The page.  [default: RUN_DIR/report.html]")
    ] = None,
    as_json: Json = False,
) -> int:
    """Write one HTML page of a run, or of several side by side: verdicts, figures, trials. Starts no work."""
    return commands.report(paths, output, as_json)


@app.command()
def confirm(
    *,
    path: RunPath,
    seeds: Annotated[int, _number("--seeds", "Fresh seeds in all; the same in every arm.", least=1)],
    trials: Annotated[
        list[int] | None, _number("--trial", "Confirm this trial; may be repeated.  [default: best and ends of front]")
    ] = None,
    executor: Runner = None,
    address: Address = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be trained; train nothing.")] = False,
    as_json: Json = False,
) -> int:
    """Train the front's allocations again on fresh seeds, beside uniform, random and float, and say what stands."""
    from precsearch.experiment.loading import for_searches, load_experiment
    from precsearch.results import RunDirectory

    directory = RunDirectory(path)
    for_searches(directory, "confirm", "its arms have fresh seeds already")
    experiment = load_experiment(directory.experiment, _changes(None, executor, address))
    act = commands.confirm_plan if dry_run else commands.confirm
    return act(experiment, directory, seeds, trials or (), as_json)


@app.command()
def export(
    *,
    path: RunPath,
    trial: Annotated[int | None, _number("--trial", "The allocation of this trial.")] = None,
    budget: Annotated[
        float | None, _number("--budget", "At this limit, of a search over a range; else the best one under it.", float)
    ] = None,
    knee: Annotated[bool, typer.Option("--knee", help="The knee of the front.")] = False,
    training: Training = None,
    format_: Annotated[str, typer.Option("--format", help="Export format.")] = "json",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File; stdout if left out.")] = None,
    images: Annotated[int, _number("--images", "Test images that a written network is run on.", least=1)] = 1000,
    as_json: Json = False,
) -> int:
    """Export one allocation of a run, or its network; the best one if nothing else is asked for."""
    from precsearch.exports.told import print_exported

    exported = precsearch.export(
        path, format_, output, trial=trial, budget=budget, knee=knee, training=training, images=images
    )
    return print_exported(exported, output, as_json)


@app.command(name="import")
def import_(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An allocation of another tool, JSON.")],
    space: Space = None,
    format_: Annotated[str, typer.Option("--format", help="Whose format it is: hawq, modelopt, ...")],
    missing: Annotated[
        str | None, typer.Option(metavar="float|N", help="What is not in FILE gets this.  [default: an error]")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File; stdout if left out.")] = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> int:
    """Read an allocation of another tool for the model of an experiment, as JSON format 1."""
    from precsearch.exports.told import import_and_print

    return import_and_print(file, format_, space, overrides or (), missing, output, as_json)


@app.command()
def init(file: Annotated[Path, typer.Argument(help="The file to write.")] = Path("space.yaml")) -> int:
    """Write a commented experiment to start from. Never overwrites."""
    from precsearch.experiment.loading import bundled
    from precsearch.files import write_text

    if file.exists():
        raise ConfigurationError(f"`init` writes new files only, but {file} exists; name another, or remove it")
    write_text(file, bundled("digits.yaml").read_text(encoding="utf-8"))
    typer.echo(f"wrote {file}; next: precsearch run {shlex.quote(str(file))}", err=True)
    return 0


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its status.

    Args:
        arguments: without the program's name; those of this process where None.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        # nothing given is a usage error that the help answers
        status = app(given or ["--help"], standalone_mode=False, prog_name="precsearch") or (0 if given else 2)
    except Exception as error:
        error = InterruptedRunError("nothing was left half done") if isinstance(error, typer.Abort) else error
        message, status = complaint(error)
        label = "interrupted" if isinstance(error, InterruptedRunError) else "error"
        typer.echo(f"{label}: {message}", err=True)
        if "--json" in given:
            commands.print_json({"error": message, "exit_status": status})
    sys.exit(status)
