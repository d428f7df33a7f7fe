"""What `precsearch export` and `precsearch import` say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from precsearch.experiment.loading import bundled, load_experiment
from precsearch.exports.door import Exported
from precsearch.exports.importing import begin, finish
from precsearch.exports.report import ExportReport, Kept, WrittenText
from precsearch.report.complaints import collected_warnings
from precsearch.report.console import console
from precsearch.report.stdout import stdout_kept


def exported_dict(exported: Exported, output: Path | None) -> dict[str, Any]:
    """What ``--json`` prints."""
    told = {"format": exported.format, "output": None if output is None else str(output)}
    report = {} if exported.report is None else {"report": exported.report.model_dump(mode="json")}
    written, text = exported.written, {}
    if written is not None and written.kept:
        text = {"written": written.model_dump(mode="json")}
    return {**told, "allocation": exported.allocation.model_dump(mode="json"), **text, **report}


def print_exported(exported: Exported, output: Path | None, as_json: bool) -> int:
    """Print it -> the exit status; the text itself goes to stdout where no file was asked for."""
    if as_json:
        typer.echo(json.dumps(exported_dict(exported, output), indent=2, allow_nan=False))
    elif exported.report is not None:
        print_report(console(stderr=True), exported.report)
    elif exported.written is not None:
        if output is None:
            typer.echo(exported.written.text, nl=False)
        print_written(exported.written, output)
    return 0


def print_written(written: WrittenText, output: Path | None) -> None:
    """What a format of text could not hold, a line for each way of holding it; and the file."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for kept in written.kept:
        if kept.why is not None:
            groups.setdefault((kept.target, kept.held_as, kept.why), []).append(f"{kept.layer} ({_bits(kept)})")
    for (target, held_as, why), layers in groups.items():
        typer.echo(f"{target} of {', '.join(layers)}: {held_as}; {why}", err=True)
    for note in written.notes:
        typer.echo(note, err=True)
    if output is not None:
        typer.echo(f"wrote {output}", err=True)


def import_and_print(
    file: Path,
    name: str,
    space: Path | None,
    overrides: Sequence[str],
    missing: str | None,
    output: Path | None,
    as_json: bool,
) -> int:
    """`import`: read the file for the experiment's model, and write or print the allocation -> the exit status."""
    reading = begin(file, name, missing)
    experiment = load_experiment(space or bundled("digits.yaml"), overrides)
    with stdout_kept(as_json or output is None), collected_warnings() as warned:
        imported = finish(reading, experiment)
    allocation = imported.allocation
    if output is not None:
        allocation.to_json(output)
    if as_json:
        told = {"format": name, "output": None if output is None else str(output)}
        content = {"allocation": allocation.model_dump(mode="json"), "notes": list(imported.notes)}
        typer.echo(json.dumps({**told, **content}, indent=2, allow_nan=False))
    elif output is None:
        typer.echo(allocation.to_json(), nl=False)
    for text in (*imported.notes, *(f"warning: {text}" for text in warned)):
        typer.echo(text, err=True)
    if output is not None:
        typer.echo(f"wrote {output}", err=True)
    return 0


def print_report(to: Console, report: ExportReport) -> None:
    """How a network was written, and ran."""
    table = Table("layer", "target", "bits", "held as", "why")
    for kept in report.written.kept:
        table.add_row(kept.layer, kept.target, _bits(kept), kept.held_as, kept.why or "")
    to.print(table)
    share = 100 * report.size / report.float_size
    to.print(
        f"{report.size:,} bytes, {share:.1f} % of the {report.float_size:,} in float32; "
        f"the allocation promised {report.model_size:,}",
        soft_wrap=True,
    )
    rerun = report.rerun
    accuracy = "" if rerun.accuracy is None else f", accuracy {_percent(rerun.accuracy)}"
    torch = "" if rerun.torch_accuracy is None else f" (torch {_percent(rerun.torch_accuracy)})"
    to.print(
        f"run again on {rerun.inputs:,} inputs: outputs within {rerun.difference:.1e} of torch's, "
        f"{_percent(rerun.agreement)} with the same answer{accuracy}{torch}",
        soft_wrap=True,
    )
    if rerun.ties:
        to.print(
            f"{rerun.ties:,} of them aside, where a value lies between two levels, as far as sums of float32 can tell: "
            "rounded up by one program and down by the other",
            soft_wrap=True,
        )
    for note in report.written.notes:
        to.print(note, soft_wrap=True)
    to.print(f"wrote {report.output}", soft_wrap=True)


def _bits(kept: Kept) -> str:
    return "float" if kept.bits is None else str(kept.bits)


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
