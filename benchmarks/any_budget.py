"""Does one training answer every budget? Once with a range for each form of preferences, and dedicated trainings.

    python -m benchmarks.any_budget            # trains what the stored table lacks, then writes docs/any-budget.md
    python -m benchmarks.any_budget --report   # only rewrites the page from the stored table

One training draws its limit from the range anew each step. For each limit its weights are then settled there, as they
are ("without"), and fine-tuned for as long as a dedicated training is ("with"). Times are this process's CPU seconds.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from rich.progress import track

from benchmarks.trainings import Row, read_rows, search, write_below, write_rows
from precsearch.data import Batches, DataSet, load_data
from precsearch.evaluation.accuracy import measure
from precsearch.experiment import Experiment, load_experiment
from precsearch.searchable import SearchableModel
from precsearch.training.recalibration import recalibrate
from precsearch.training.stages import FinetuneStage

HERE = Path(__file__).parent
SPACE = HERE / "digits_four_layers.yaml"
PAGE = HERE.parent / "docs" / "any-budget.md"
TABLE = HERE / "tables" / "any-budget.csv"
BITS = (1, 2, 3, 4, 6)
RANGE = (1.5, 5.0)
LIMITS = (1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0)
FORMS = ("free", "sensitivity", "convex")
CHOSEN_ON = (10, 11, 12)
SHOWN = (20, 21, 22, 23)
COLUMNS = ("form", "seed", "limit", "bits", "without loss", "without %", "with loss", "with %", "search s", "tune s")


def experiment(form: str, limit: float) -> Experiment:
    """The digits problem: over the range with this form, or ``dedicated`` to one limit."""
    own = [f"inner.bits={list(BITS)}", f"inner.budget.limit={limit}"]
    ranged = [f"inner.budget.range={list(RANGE)}", f"inner.logits.form={form}"]
    return load_experiment(SPACE, own if form == "dedicated" else own + ranged)


def rows(form: str, seed: int) -> Iterator[Row]:
    """Train one search, or one for each limit where `form` is ``dedicated``, and finish each limit."""
    for limits in [[limit] for limit in LIMITS] if form == "dedicated" else [LIMITS]:
        document = experiment(form, limits[0])
        data = load_data(document.data)
        found = search(document, data, seed)
        for limit in limits:
            asked = None if form == "dedicated" else limit
            row = _finish(copy.deepcopy(found.searchable), asked, document, data, found.batches)
            yield {"form": form, "seed": str(seed), "limit": f"{limit:g}", "search s": f"{found.seconds:.1f}"} | row


def _finish(
    searchable: SearchableModel, limit: float | None, document: Experiment, data: DataSet, batches: Batches
) -> Row:
    began = time.process_time()
    if limit is not None:
        searchable.limit = limit
    bits = "-".join(str(bits) for bits in searchable.allocation().bits().values())
    model = searchable.freeze()
    recalibrate(model, batches)
    before = measure(model.eval(), data.validation)
    stage = FinetuneStage(model, document.inner, batches)
    for _ in range(document.inner.epochs.finetune):
        stage.finetune()
    tuned = time.process_time() - began
    after = measure(model.eval(), data.validation)
    return {
        "bits": bits,
        "without loss": f"{before.loss:.4f}",
        "without %": f"{100 * before.accuracy:.2f}",
        "with loss": f"{after.loss:.4f}",
        "with %": f"{100 * after.accuracy:.2f}",
        "tune s": f"{tuned:.1f}",
    }


def train(seeds: Sequence[int]) -> None:
    """Train what the table lacks."""
    done = {(row["form"], row["seed"]) for row in read_rows(TABLE)}
    jobs = [(form, seed) for seed in seeds for form in (*FORMS, "dedicated") if (form, str(seed)) not in done]
    for form, seed in track(jobs, "training"):
        write_rows(TABLE, COLUMNS, [*read_rows(TABLE), *rows(form, seed)])


def summary(seeds: Sequence[int]) -> str:
    """The tables of the page: loss and accuracy by limit, and allocations of each form."""
    table = [row for row in read_rows(TABLE) if int(row["seed"]) in seeds]
    head = "| | " + " | ".join(f"{limit:g}" for limit in LIMITS) + " |\n" + "| --- " * (len(LIMITS) + 1) + "|\n"
    text = ""
    for what in ("with loss", "without loss", "with %"):
        text += (
            f"\n**Validation {what.replace('with', 'fine-tuned,', 1).replace('fine-tuned,out', 'not fine-tuned,')}**"
        )
        text += f" (mean, standard deviation over {len(seeds)} seeds)\n\n" + head
        for form in (*FORMS, "dedicated"):
            cells = []
            for limit in LIMITS:
                own = [float(r[what]) for r in table if r["form"] == form and float(r["limit"]) == limit]
                spread = statistics.stdev(own) if len(own) > 1 else 0.0
                digits = 2 if "%" in what else 3
                cells.append(f"{statistics.fmean(own):.{digits}f} ({spread:.{digits}f})")
            text += f"| {form} | " + " | ".join(cells) + " |\n"
    text += "\n**Allocations** (first seed)\n\n" + head
    for form in (*FORMS, "dedicated"):
        own = {float(r["limit"]): r["bits"] for r in table if r["form"] == form and int(r["seed"]) == seeds[0]}
        text += f"| {form} | " + " | ".join(own[limit] for limit in LIMITS) + " |\n"
    return text + _times(table, seeds)


def _times(table: Sequence[Row], seeds: Sequence[int]) -> str:
    lines = "\n**CPU seconds for the whole front** (mean a seed)\n\n| | searching | fine-tuning | all |\n"
    lines += "| --- | --- | --- | --- |\n"
    for form in (*FORMS, "dedicated"):
        own = [row for row in table if row["form"] == form]
        search = sum(float(row["search s"]) for row in own) / len(seeds) / (1 if form == "dedicated" else len(LIMITS))
        tune = sum(float(row["tune s"]) for row in own) / len(seeds)
        lines += f"| {form} | {search:.1f} | {tune:.1f} | {search + tune:.1f} |\n"
    return lines


def main() -> None:
    """Train, and write the page's tables below its marker."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", action="store_true", help="train nothing")
    parser.add_argument("--seeds", type=int, nargs="+", default=[*CHOSEN_ON, *SHOWN])
    given = parser.parse_args()
    torch.set_num_threads(1)
    if not given.report:
        train(given.seeds)
    seeds = [seed for seed in SHOWN if str(seed) in {row["seed"] for row in read_rows(TABLE)}]
    if seeds:
        write_below(PAGE, "<!-- made by benchmarks.any_budget -->\n", summary(seeds))


if __name__ == "__main__":
    main()
