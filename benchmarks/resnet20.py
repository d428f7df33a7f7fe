"""ResNet-20 on a folder of CIFAR-10's images, from a float network: searched bits beside uniform and random ones.

    python -m benchmarks.resnet20 --data DIR              # DIR/train/CLASS/*.jpg and DIR/test/CLASS/*.jpg
    python -m benchmarks.resnet20 --report                # only rewrites docs/resnet20.md from the stored table

A float network is trained first (kept in runs/resnet20-float). From its weights, each arm trains as many epochs as
every other, with the same images, learning rate and schedule: `searched` draws its bits and learns them, `random`
has one random allocation at the same cost for each seed, `uniform` the most bits that all can have alike. `any budget`
searches once over a range of limits and fine-tunes its answer to each. Nothing is chosen by the test images; each
network reads them once.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import platform
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from scipy import stats

from benchmarks import trainings
from benchmarks.alone import AloneSession
from precsearch.experiment import load_experiment
from precsearch.precision.front import BudgetFront
from precsearch.report.console import console, watch
from precsearch.results import RunDirectory
from precsearch.study.driver import run_study
from precsearch.training.fronts import FRONT, WEIGHTS
from precsearch.trial import run_trial

HERE = Path(__file__).parent
SPACE = HERE / "resnet20_cifar.yaml"
TABLE = HERE / "tables" / "resnet20.csv"
PAGE = HERE.parent / "docs" / "resnet20.md"
FLOAT = Path("runs") / "resnet20-float"
ARMS = {"searched": "perturb-and-map", "random": "random", "uniform": "uniform"}
ANY = "any budget"
SHOWN = (*ARMS, ANY)
PAIRS = (("searched", "random"), ("searched", "uniform"), ("searched", ANY), (ANY, "random"), (ANY, "uniform"))
LIMITS = (3.0, 2.5)
RANGE = (2.0, 5.0)
FLOAT_OVERRIDES = (
    "data.train_limit=15360", "inner.bits=[16]", "inner.scale=max", "inner.sampler=uniform", "inner.budget.limit=16",
    "inner.epochs={warmup: 16, search: 0, finetune: 0}", "inner.optimizer.lr=3e-3",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One training."""

    limit: float
    arm: str
    seed: int
    weight_bits: float
    activation_bits: float
    validation: float
    test: float
    bitops: float
    model_size: float
    seconds: float
    bits: str


def train_float(data: Path) -> Path:
    """Train the float network, or continue it, or find it trained -> its weights."""
    weights = FLOAT / "trials" / "0000" / "weights.safetensors"
    if not weights.exists():
        experiment, directory = load_experiment(SPACE, [f"data.root={data}", *FLOAT_OVERRIDES]), RunDirectory(FLOAT)
        with watch(experiment, directory, console()) as observer:
            run_study(experiment, directory, observer)
    return weights


def train(data: Path, weights: Path, limit: float, arm: str, seed: int) -> list[Row]:
    """One training from the float network."""
    overrides = [f"model.checkpoint={weights}", f"inner.budget.limit={limit}", f"inner.sampler={ARMS[arm]}"]
    with tempfile.TemporaryDirectory() as folder:
        return [_row(data, overrides, limit, arm, seed, Path(folder))]


def train_any(data: Path, weights: Path, seed: int) -> list[Row]:
    """One search over `RANGE` from the float network, and a fine-tune for each limit."""
    with tempfile.TemporaryDirectory() as name:
        folder, (first, *others) = Path(name), LIMITS
        searched = [
            f"model.checkpoint={weights}", f"inner.budget.limit={first}", f"inner.budget.range={list(RANGE)}",
        ]  # fmt: skip
        rows = [_row(data, searched, first, ANY, seed, folder)]
        front = BudgetFront.read(folder / FRONT)
        for limit in others:
            allocation = folder / f"{limit}.json"
            front.at(limit).to_json(allocation)
            tuned = [
                f"model.checkpoint={folder / WEIGHTS}", f"inner.budget.limit={limit}", "inner.sampler=fixed",
                f"inner.allocation={allocation}", "inner.epochs.search=0",
            ]  # fmt: skip
            rows.append(_row(data, tuned, limit, ANY, seed, folder / f"{limit}"))
        return rows


def _row(data: Path, overrides: Sequence[str], limit: float, arm: str, seed: int, folder: Path) -> Row:
    folder.mkdir(exist_ok=True)
    result = run_trial(load_experiment(SPACE, [f"data.root={data}", *overrides]), AloneSession(seed, folder))
    metrics = result.metrics
    bits = " ".join(f"{layer.bits('weight')}/{layer.bits('activation')}" for layer in result.allocation.layers)
    return Row(
        limit, arm, seed, metrics["average_bits_weight"], metrics["average_bits_activation"],
        metrics["validation_accuracy"], metrics["test_accuracy"], metrics["bitops"], metrics["model_size"],
        result.seconds, bits,
    )  # fmt: skip


def read_table() -> list[Row]:
    """The stored trainings."""
    if not TABLE.exists():
        return []
    with TABLE.open() as file:
        kinds = {"arm": str, "seed": int, "bits": str}
        return [
            Row(**{field.name: kinds.get(field.name, float)(row[field.name]) for field in fields(Row)})
            for row in csv.DictReader(file)
        ]


def write_table(rows: list[Row]) -> None:
    """Store the trainings."""
    TABLE.parent.mkdir(exist_ok=True)
    partial = TABLE.with_suffix(".partial")
    with partial.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([field.name for field in fields(Row)])
        writer.writerows(astuple(row) for row in sorted(rows, key=lambda row: (-row.limit, row.arm, row.seed)))
    partial.replace(TABLE)


def fill(data: Path, seeds: int, workers: int) -> None:
    """Train what the table lacks."""
    rows = read_table()
    known = {(row.limit, row.arm, row.seed) for row in rows}
    jobs = [(limit, arm, seed) for seed in range(seeds) for limit in LIMITS for arm in ARMS]
    missing = [job for job in jobs if job not in known]
    ranged = [seed for seed in range(seeds) if not all((limit, ANY, seed) in known for limit in LIMITS)]
    if not missing and not ranged:
        return
    weights = train_float(data)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(train, data, weights, *job) for job in missing]
        futures += [pool.submit(train_any, data, weights, seed) for seed in ranged]
        for future in track(as_completed(futures), f"{len(futures)} trainings", total=len(futures)):
            rows.extend(future.result())
            write_table(rows)


def interval(values: list[float]) -> str:
    """Mean with its 95 % interval (Student's t), in percent."""
    mean, half = trainings.interval([100 * value for value in values])
    return f"{mean:.2f} ± {half:.2f}"


def page(rows: list[Row]) -> str:
    """The page."""
    lines = [
        "| limit | arm | weight bits | activation bits | validation % | test % | BitOPs, M | model size, kB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    verdicts = []
    for limit in LIMITS:
        by_arm = {
            arm: sorted((r for r in rows if (r.limit, r.arm) == (limit, arm)), key=lambda r: r.seed) for arm in SHOWN
        }
        for arm, own in by_arm.items():
            if not own:
                continue
            mean = {
                name: float(np.mean([getattr(r, name) for r in own]))
                for name in ("weight_bits", "activation_bits", "bitops", "model_size")
            }
            lines.append(
                f"| {limit:g} | {arm} | {mean['weight_bits']:.2f} | {mean['activation_bits']:.2f} | "
                f"{interval([r.validation for r in own])} | {interval([r.test for r in own])} | "
                f"{mean['bitops'] / 1e6:.0f} | {mean['model_size'] / 1e3:.1f} |"
            )
        for arm, other in PAIRS:
            if not by_arm[arm] or not by_arm[other]:
                continue
            gain = [a.test - b.test for a, b in zip(by_arm[arm], by_arm[other], strict=True)]
            low, high = (float(x) for x in stats.t.interval(0.95, len(gain) - 1, np.mean(gain), stats.sem(gain)))
            told = "shown" if low > 0 else "shown to be worse" if high < 0 else "not shown with these seeds"
            verdicts.append(
                f"- At {limit:g} bits, {arm} less {other}: {100 * float(np.mean(gain)):+.2f} points of test "
                f"accuracy (95 % interval {100 * low:+.2f} to {100 * high:+.2f}, paired by seed): {told}."
            )
    count = len({row.seed for row in rows})
    lines += ["", f"Mean and 95 % interval over {count} seeds.", "", *verdicts]
    lines += [
        "",
        "| limit | arm | seed | test % | bits of each layer, weight/activation |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [f"| {r.limit:g} | {r.arm} | {r.seed} | {100 * r.test:.2f} | {r.bits} |" for r in rows]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Fill the table, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with train/ and test/")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="trainings at a time, of one thread each")
    parser.add_argument("--report", action="store_true", help="only rewrite the page from the stored table")
    asked = parser.parse_args()
    if not asked.report:
        if asked.data is None:
            parser.error("--data DIR must be given: a folder with train/CLASS/*.jpg and test/CLASS/*.jpg")
        fill(asked.data.absolute(), asked.seeds, asked.workers)
    settings = load_experiment(SPACE)
    epochs = settings.inner.epochs
    PAGE.write_text(
        "# ResNet-20: searched, random and uniform bits, and any budget from one search\n\n"
        "CIFAR-10's images as JPEG files (re-encoded, so these are not CIFAR-10 figures), "
        f"{settings.data.train_limit:,} of them for training, {settings.data.validation:,} for validation, 10,000 "
        "for test. Every arm starts "
        f"from the same float network and trains {epochs.search + epochs.finetune} epochs ({epochs.search} while the "
        f"bits are searched, {epochs.finetune} of fine-tuning) with the same learning rate and schedule; weights and "
        f"activations get {', '.join(map(str, settings.inner.bits))} bits (`{SPACE.name}`). `uniform` at 2.5 bits is 2 "
        "bits everywhere, since no bit-width lies between: it costs less than the limit. `any budget` is one search "
        f"over limits of {RANGE[0]:g} to {RANGE[1]:g} bits a seed, whose answer to each limit is fine-tuned "
        f"{epochs.finetune} epochs.\n\n"
        + page(read_table())
        + f"\nMade by `python -m benchmarks.resnet20 --data DIR` ({datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, "
        f"torch {torch.__version__}, one thread a training); the table is `benchmarks/tables/{TABLE.name}`.\n"
    )


if __name__ == "__main__":
    main()
