"""Puts what a comparison or a grid found onto a page of docs/: tables, answers, and figures, each with its CSV.

precsearch run search_spaces/lacey_mnist.yaml --output runs/lacey
precsearch report runs/lacey
python docs/make_paper_results.py runs/lacey lacey.md arms-error arms-gap

All of it stands on the page between the marks `<!-- results: EXPERIMENT -->` and `<!-- end -->`, which it has to have;
the figures go to docs/images/EXPERIMENT/.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any, Final

from precsearch.experiment import load_experiment
from precsearch.experiment.cells import seeds_of
from precsearch.experiment.loading import fingerprint
from precsearch.report.arms.reading import read_arms_data
from precsearch.report.arms.terminal import answers_dict
from precsearch.results import RunDirectory

DOCS = Path(__file__).parent
MEANS: Final = {  # figure -> heading, and the factor and decimals it is told with
    "arms-error": ("test error, %", 100, 2),
    "arms-gap": ("train-test gap, points", 100, 2),
    "arms-nll": ("test NLL, nats", 1, 3),
    "arms-ece": ("test ECE", 1, 3),
}


def between_marks(name: str) -> re.Pattern[str]:
    """Finds what stands between the marks of an experiment."""
    return re.compile(rf"(?<=<!-- results: {re.escape(name)} -->\n).*?(?=<!-- end -->)", re.DOTALL)


def put_between_marks(text: str, name: str, results: str) -> str:
    """The page with these results between the marks of the experiment."""
    # Once: after marks with nothing between them, a second search would find all up to the next experiment's end.
    return between_marks(name).sub(lambda _: results, text, count=1)


def made_by(run: RunDirectory) -> str:
    """Command, seeds, date, hardware and the experiment's hash, in one line."""
    experiment = load_experiment(run.experiment)
    machine: dict[str, Any] = json.loads(run.environment.read_text(encoding="utf-8"))
    command = shlex.join(machine["command"])
    packages = machine["packages"]
    states = [record.state for _, record in run.trainings()]
    return (
        f"Made by `{command}`: {seeds_of(experiment)} seeds, {states.count('complete')} of {len(states)} trainings "
        f"complete; begun on {machine['started'][:10]}, {machine['cpu_count']} cores ({machine['platform']}), torch "
        f"{packages['torch']}; experiment `{fingerprint(experiment)}`."
    )


def means(run: RunDirectory) -> list[str]:
    """A table of the arms' means over seeds with their 95 % intervals; nothing of a grid."""
    cells: dict[tuple[str, str], list[str]] = {}
    shown = [figure for figure in MEANS if (run.path / "figures" / f"{figure}.csv").exists()]
    for figure in shown:
        _, factor, digits = MEANS[figure]
        for row in _rows(run, figure):
            if row["seed"] == "" and row["low"]:
                value = list(row.values())[5]
                mean, low, high = (factor * float(each) for each in (value, row["low"], row["high"]))
                told = f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
                cells.setdefault((row["at"], f"{row['arm']} | {row['seeds']}"), []).append(told)
    if not shown:
        return []
    headings = ["at", "arm", "seeds", *(MEANS[figure][0] for figure in shown)]
    lines = [f"| {' | '.join(headings)} |", f"|{' --- |' * len(headings)}"]
    return [*lines, *(f"| {' | '.join([*names, *values])} |" for names, values in cells.items()), ""]


def networks(run: RunDirectory) -> list[str]:
    """Tables of a grid's networks: float errors and gaps to them, and what sizes are worth; nothing of a comparison."""
    if not (run.path / "figures" / "grid-gap.csv").exists():
        return []
    gaps: dict[str, dict[str, str]] = {}
    for row in _rows(run, "grid-error"):
        if row["bits"] == "":
            cells = gaps.setdefault(row["network"], {"float, kB": f"{float(row['size']) / 1000:.0f}"})
            cells["its error, %"] = f"{100 * float(row['test_error']):.2f}"
    for row in _rows(run, "grid-gap"):
        gap, low, high = (f"{100 * float(row[name]):+.2f}" for name in ("gap", "low", "high"))
        gaps[row["network"]][f"{row['arm']}, {row['bits']} bits"] = f"{gap} ({low} to {high})"
    ratios: dict[str, dict[str, str]] = {}
    for row in _rows(run, "grid-ratio"):
        if row["curve"] == "all cells":
            ratios.setdefault(row["network"], {})[f"{row['arm']}, {row['bits']} bits"] = _ratio(row)
    return [
        "Gaps in points of test error with 95 % intervals: of directly quantized networks to the float one they are",
        "made of, of retrained ones to that trained on for as long, whose error stands in front of them:",
        "",
        *_table("network", gaps),
        "",
        "Effective compression ratios on the curve over all networks ([what they are](compression.md)):",
        "",
        *_table("network", ratios),
        "",
    ]


def _ratio(row: dict[str, str]) -> str:
    ratio = f"{float(row['ratio']):.2g}"
    if row["bound"] != "exact":
        return f"{row['bound']} {ratio}"
    low, high = (row[name] and f"{float(row[name]):.2g}" for name in ("low", "high"))
    inside = f"{low} to {high}" if low and high else f"{high} or less" if high else f"{low} or more"
    return f"{ratio} ({inside})"


def _table(first: str, rows: dict[str, dict[str, str]]) -> list[str]:
    columns = list(dict.fromkeys(name for cells in rows.values() for name in cells))
    lines = [f"| {first} | {' | '.join(columns)} |", f"|{' --- |' * (len(columns) + 1)}"]
    return [
        *lines,
        *(f"| {row} | {' | '.join(cells.get(each, '') for each in columns)} |" for row, cells in rows.items()),
    ]


def _rows(run: RunDirectory, figure: str) -> list[dict[str, str]]:
    with (run.path / "figures" / f"{figure}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def answers(run: RunDirectory) -> list[str]:
    """Every question with its answers, word for word as `precsearch list` tells them."""
    lines, question = [], None
    for each in answers_dict(read_arms_data(run, ""))["answers"]:
        if each["question"] != question:
            question = each["question"]
            lines += ["", f"**{question}**", ""]
        lines.append(f"- *{each['answer']}*: {each['sentence']}")
    return [*lines, ""]


def figures(name: str, wanted: list[str]) -> list[str]:
    """What shows the figures, as Markdown."""
    lines = []
    for figure in wanted:
        at = f"images/{name}/{figure}"
        lines += [f"![{figure}]({at}.svg)", "", f"[{figure}.csv]({at}.csv)", ""]
    return lines


def results(run: RunDirectory, name: str, wanted: list[str]) -> str:
    """What stands between the marks."""
    parts = [made_by(run), "", *means(run), *networks(run), *figures(name, wanted), *answers(run)]
    return "\n".join(["", *parts, ""])


def copy_figures(run: RunDirectory, name: str, wanted: list[str]) -> None:
    """Put the figures and their numbers beside the page."""
    folder = DOCS / "images" / name
    folder.mkdir(parents=True, exist_ok=True)
    for figure in wanted:
        for ending in ("svg", "csv"):
            shutil.copyfile(run.path / "figures" / f"{figure}.{ending}", folder / f"{figure}.{ending}")


def main() -> None:
    """Copy, and put between the marks."""
    parser = argparse.ArgumentParser(description="Put the results of a run on a page.")
    parser.add_argument("run", type=Path, help="run directory with its report")
    parser.add_argument("page", help="page of docs/")
    parser.add_argument("figures", nargs="+", help="names of figures")
    arguments = parser.parse_args()
    run = RunDirectory(arguments.run)
    name, page = load_experiment(run.experiment).name, DOCS / arguments.page
    text = page.read_text(encoding="utf-8")
    if not between_marks(name).search(text):
        raise SystemExit(f"{page} has no marks `<!-- results: {name} -->` and `<!-- end -->`")
    copy_figures(run, name, arguments.figures)
    page.write_text(put_between_marks(text, name, results(run, name, arguments.figures)), encoding="utf-8")
    print(f"wrote the results of {name} onto {page}")


if __name__ == "__main__":
    main()
