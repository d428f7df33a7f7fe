"""Renews what the README shows of real runs: the picture, the command's output, and the Python block's output.

rm -rf runs/digits && precsearch run search_spaces/digits.yaml && python docs/make_readme.py runs/digits
"""

from __future__ import annotations

import argparse
import io
import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from precsearch.report.summary import print_files, print_summary
from precsearch.report.view import read_run
from precsearch.results import RunDirectory

ROOT = Path(__file__).parent.parent
WIDTH = 100


def summary(run: Path) -> str:
    """What `precsearch run` prints at its end."""
    written = io.StringIO()
    view, console = read_run(RunDirectory(run)), Console(file=written, width=WIDTH, color_system=None)
    print_summary(console, view, finished_before=False)
    print_files(console, view, run / "report.html")
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines())


def example(readme: str) -> str:
    """What the README's Python block prints."""
    block = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
    if block is None:
        raise SystemExit("README.md has no Python block")
    env = {**os.environ, "OMP_NUM_THREADS": "1"}  # as its test runs it
    done = subprocess.run([sys.executable, "-c", block[1]], check=True, capture_output=True, text=True, env=env)
    return done.stdout.rstrip()


def replaced(readme: str, name: str, output: str) -> str:
    """The README with another text in the block that follows `<!-- output: name -->`."""
    pattern = rf"(<!-- output: {name} -->\n```text\n).*?(```)"
    changed, count = re.subn(pattern, lambda found: f"{found[1]}{output}\n{found[2]}", readme, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"README.md must have one block `<!-- output: {name} -->`, but has {count}")
    return changed


def main() -> None:
    """Renew everything from one finished run."""
    parser = argparse.ArgumentParser(description="Renew the README's outputs.")
    parser.add_argument("run", type=Path, help="run directory of search_spaces/digits.yaml")
    run = parser.parse_args().run
    page = ROOT / "README.md"
    readme = page.read_text(encoding="utf-8")
    page.write_text(replaced(replaced(readme, "run", summary(run)), "python", example(readme)), encoding="utf-8")
    images = ROOT / "docs" / "images"
    subprocess.run([sys.executable, images / "make_picture.py", run, "-o", images / "digits.svg"], check=True)


if __name__ == "__main__":
    main()
