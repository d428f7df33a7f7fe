"""Exports the best network of each run in every format of whole networks, and tables what was written and how it ran.

precsearch run search_spaces/mnist.yaml --trials 4 --output runs/lenet5
python -m benchmarks.exports runs/lenet5

Each file is run again on the first 1,000 test images, as `precsearch export` does it; a format that refuses the network
says why.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import precsearch
from precsearch.errors import PrecsearchError
from precsearch.exports.formats import FORMATS, WholeFormat
from precsearch.exports.report import ExportReport

HEADER = (
    "| network | format | bytes | of float32 | furthest from torch | same answer | ties | accuracy | torch | s |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


def row(name: str, report: ExportReport, seconds: float) -> str:
    """One line of the table."""
    rerun = report.rerun
    cells = (
        name,
        report.format,
        f"{report.size:,}",
        f"{100 * report.size / report.float_size:.1f} %",
        f"{rerun.difference:.1e}",
        f"{100 * rerun.agreement:.1f} %",
        str(rerun.ties),
        f"{100 * (rerun.accuracy or 0):.2f} %",
        f"{100 * (rerun.torch_accuracy or 0):.2f} %",
        f"{seconds:.1f}",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Export, and print the table."""
    parser = argparse.ArgumentParser(description="Export the best network of runs in every format.")
    parser.add_argument("runs", type=Path, nargs="+", help="run directories")
    parser.add_argument("--images", type=int, default=1000, help="test images to run on again")
    given = parser.parse_args()
    refused = []
    print(HEADER)
    with tempfile.TemporaryDirectory() as folder:
        for run in given.runs:
            for name in (name for name, how in FORMATS.items() if isinstance(how, WholeFormat)):
                started = time.perf_counter()
                try:
                    exported = precsearch.export(run, name, Path(folder) / name, images=given.images)
                except PrecsearchError as error:
                    refused.append(f"{run.name}, {name}: {error}")
                    continue
                if exported.report is not None:
                    print(row(run.name, exported.report, time.perf_counter() - started), flush=True)
    for line in refused:
        print(f"\n{line}")


if __name__ == "__main__":
    main()
