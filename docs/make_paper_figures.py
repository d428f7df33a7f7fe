"""Copies figures of a run onto a page of docs/, each with its CSV and a line that says what made it.

precsearch run search_spaces/lacey_mnist.yaml --output runs/lacey
python docs/make_paper_figures.py runs/lacey lacey.md arms-error arms-gap

The figures go to docs/images/EXPERIMENT/, and stand on the page between the marks `<!-- figures: EXPERIMENT -->` and
`<!-- end -->`, which it has to have.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from pathlib import Path
from typing import Any

from precsearch.experiment import load_experiment
from precsearch.experiment.cells import seeds_of
from precsearch.experiment.loading import fingerprint
from precsearch.results import RunDirectory

DOCS = Path(__file__).parent


def made_by(run: RunDirectory) -> str:
    """Command, seeds, date, hardware and the experiment's hash, in one line."""
    experiment = load_experiment(run.experiment)
    machine: dict[str, Any] = json.loads(run.environment.read_text(encoding="utf-8"))
    command = " ".join(machine["command"])
    packages = machine["packages"]
    states = [record.state for _, record in run.trainings()]
    return (
        f"Made by `{command}`: {seeds_of(experiment)} seeds, {states.count('complete')} of {len(states)} trainings "
        f"complete; begun on {machine['started'][:10]}, {machine['cpu_count']} cores ({machine['platform']}), torch "
        f"{packages['torch']}; experiment `{fingerprint(experiment)}`."
    )


def figures(run: RunDirectory, names: list[str]) -> str:
    """Copy the figures; what shows them, as Markdown."""
    name = load_experiment(run.experiment).name
    folder = DOCS / "images" / name
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for figure in names:
        for ending in ("svg", "csv"):
            shutil.copyfile(run.path / "figures" / f"{figure}.{ending}", folder / f"{figure}.{ending}")
        at = f"images/{name}/{figure}"
        lines.append(f"![{figure}]({at}.svg)\n\n[{figure}.csv]({at}.csv)\n")
    return "\n".join([*lines, made_by(run) + "\n"])


def main() -> None:
    """Copy, and put between the marks."""
    parser = argparse.ArgumentParser(description="Put figures of a run on a page.")
    parser.add_argument("run", type=Path, help="run directory with its report")
    parser.add_argument("page", help="page of docs/")
    parser.add_argument("names", nargs="+", help="figures")
    arguments = parser.parse_args()
    run = RunDirectory(arguments.run)
    name, page = load_experiment(run.experiment).name, DOCS / arguments.page
    marks = re.compile(rf"(?<=<!-- figures: {re.escape(name)} -->\n).*?(?=<!-- end -->)", re.DOTALL)
    text = page.read_text(encoding="utf-8")
    if not marks.search(text):
        raise SystemExit(f"{page} has no marks `<!-- figures: {name} -->` and `<!-- end -->`")
    shown = figures(run, arguments.names)
    page.write_text(marks.sub(lambda _: f"\n{shown}\n", text), encoding="utf-8")
    print(f"wrote {len(arguments.names)} figures of {name} onto {page}")


if __name__ == "__main__":
    main()
