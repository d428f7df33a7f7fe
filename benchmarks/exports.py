"""Exports the best network of each run in every format of whole networks, and tables what was written and how it ran.

precsearch run search_spaces/mnist.yaml --trials 4 --output runs/lenet5
python -m benchmarks.exports runs/lenet5

Each file is run again on the first 1,000 test images, as `precsearch export` does it; a format that refuses the network
says why. Beside them stands torch itself, which sums in another order in batches of one and without oneDNN: what no
file can be asked to agree on.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

import precsearch
from precsearch.errors import PrecsearchError
from precsearch.exports.choice import choose
from precsearch.exports.formats import FORMATS, WholeFormat
from precsearch.exports.network.leave import distances_of, share
from precsearch.exports.network.restore import restore
from precsearch.exports.report import ExportReport
from precsearch.results import RunDirectory

TOLERANCE = 1e-4
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


@torch.no_grad()
def torch_beside_itself(run: Path, images: int) -> Iterator[str]:
    """A line of the table for each other order of summing: of the images beyond 1e-4, and the others."""
    network = restore(choose(RunDirectory(run)), images)
    others = {"batches of 1": (1, True), "without oneDNN": (100, False)}
    for name, (size, with_onednn) in others.items():
        started = time.perf_counter()
        with torch.backends.mkldnn.flags(enabled=with_onednn, allow_tf32=False):
            outputs = torch.cat([network.model(batch) for batch in torch.split(network.inputs, size)])
        distances, answers = distances_of(outputs, network.outputs), outputs.argmax(1)
        far = distances > TOLERANCE
        right = [f"{100 * share(each == network.targets):.2f} %" for each in (answers, network.outputs.argmax(1))]
        cells = (
            run.name, f"torch, {name}", "", "", f"{float(distances[~far].max()):.1e}",
            f"{100 * share(answers == network.outputs.argmax(1)):.1f} %", str(int(far.sum())), *right,
            f"{time.perf_counter() - started:.1f}",
        )  # fmt: skip
        yield f"| {' | '.join(cells)} |"


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
            for line in torch_beside_itself(run, given.images):
                print(line, flush=True)
    for line in refused:
        print(f"\n{line}")


if __name__ == "__main__":
    main()
