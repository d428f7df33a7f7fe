"""What the report of a large run costs: time to read it, to draw, to lay out and write, and the size of the page.

    python -m benchmarks.report                       # 20, 200 and 1,000 trials, made without training

Every trial of a made run has an allocation, an evaluation with attacks and corruptions, and its epochs. Each size runs
in a process of its own, from the start of Python on.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

SIZES = (20, 200, 1000)


def measure(path: Path) -> dict[str, float]:
    """Write the report of the run at `path` -> seconds of each part (processor time of this process), bytes."""
    from precsearch.report.figures import draw
    from precsearch.report.page import write_report
    from precsearch.report.page.content import page_of
    from precsearch.report.page.render import render
    from precsearch.report.reading import read_report_data
    from precsearch.results import RunDirectory

    marks = [time.process_time()]
    data = [read_report_data(RunDirectory(path), "made")]
    marks.append(time.process_time())
    figures = draw(data)
    marks.append(time.process_time())
    render(page_of(data, figures, "figures"))
    marks.append(time.process_time())
    read, drawn, laid_out = (after - before for before, after in itertools.pairwise(marks))
    size = write_report([RunDirectory(path)]).path.stat().st_size
    return {"read": read, "draw": drawn, "lay out": laid_out, "kB": size / 1000}


def main() -> None:
    """Print one line a size."""
    parser = argparse.ArgumentParser(description="Time the report of made runs.")
    parser.add_argument("--of", type=Path, help="run directory, for one size in this process")
    given = parser.parse_args().of
    if given is not None:
        print(json.dumps(measure(given)))
        return
    from made_reports import Made, make_report

    print(f"{'trials':>6} {'read':>6} {'draw':>6} {'lay out':>8} {'all, wall':>10} {'page':>9}")
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            ended_early = size // 50
            made = Made(trials=size - 2 * ended_early, pruned=ended_early, failed=ended_early)
            run = make_report(Path(folder) / "made", made)
            started = time.monotonic()
            command = [sys.executable, "-m", "precsearch", "report", str(run.path)]
            subprocess.run(command, check=True, capture_output=True)
            wall = time.monotonic() - started
            again = [sys.executable, "-m", "benchmarks.report", "--of", str(run.path)]
            told = json.loads(subprocess.run(again, check=True, capture_output=True, text=True).stdout)
        print(
            f"{size:6,} {told['read']:4.1f} s {told['draw']:4.1f} s {told['lay out']:6.1f} s {wall:8.1f} s "
            f"{told['kB']:6.0f} kB"
        )


if __name__ == "__main__":
    main()
