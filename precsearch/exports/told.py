"""What `precsearch export` says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from precsearch.exports.door import Exported
from precsearch.exports.report import ExportReport, Kept
from precsearch.report.console import console


def exported_dict(exported: Exported, output: Path | None) -> dict[str, Any]:
    """What ``--json`` prints."""
    told = {"format": exported.format, "output": None if output is None else str(output)}
    report = {} if exported.report is None else {"report": exported.report.model_dump(mode="json")}
    return {**told, "allocation": exported.allocation.model_dump(mode="json"), **report}


def print_exported(exported: Exported, output: Path | None, as_json: bool) -> int:
    """Print it -> the exit status; the text itself goes to stdout where no file was asked for."""
    if as_json:
        typer.echo(json.dumps(exported_dict(exported, output), indent=2, allow_nan=False))
    elif exported.report is not None:
        print_report(console(stderr=True), exported.report)
    elif output is not None:
        typer.echo(f"wrote {output}", err=True)
    else:
        typer.echo(exported.text, nl=False)
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
    for note in report.written.notes:
        to.print(note, soft_wrap=True)
    to.print(f"wrote {report.output}", soft_wrap=True)


def _bits(kept: Kept) -> str:
    return "float" if kept.bits is None else str(kept.bits)


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
