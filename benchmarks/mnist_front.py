"""LeNet-5 on MNIST: the whole front from 2 to 6 average bits out of one training, for at most twice a plain one's time?

    python -m benchmarks.mnist_front --data DIR            # trains what the stored table lacks, then writes the page
    python -m benchmarks.mnist_front --report              # only rewrites docs/mnist-front.md from the stored table

DIR has MNIST/raw, or gets it. Every arm trains the network of search_spaces/mnist.yaml, with its batches, optimizer and
cosine schedule: `plain` in float32, `dedicated` and `uniform` to one limit, `any budget` once over the range, whose
points are then tuned one after another. Times are this process's CPU seconds, on one thread, without evaluation.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import track
from torch import nn

from benchmarks.mnist_page import page
from benchmarks.trainings import Row, Searched, Steps, read_rows, search, write_below, write_rows
from precsearch.data import DataSet, load_data, training_batches
from precsearch.evaluation.accuracy import measure
from precsearch.experiment import Experiment, load_experiment
from precsearch.searchable import SearchableModel
from precsearch.training.building import build_network
from precsearch.training.recalibration import recalibrate
from precsearch.training.stages import FinetuneStage

HERE = Path(__file__).parent
SPACE = HERE.parent / "search_spaces" / "mnist.yaml"
PAGE = HERE.parent / "docs" / "mnist-front.md"
TABLE = HERE / "tables" / "mnist-front.csv"
COLUMNS = ("arm", "seed", "limit", "bits", "validation %", "test %", "search s", "tune s", "evaluation s")

RANGE = (2.0, 6.0)
LIMITS = (2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0)
SAMPLERS = {"dedicated": "perturb-and-map", "uniform": "uniform"}
EVERYWHERE = (2.0, 3.0, 4.0, 6.0)  # limits that are candidate bit-widths
CHOSEN_ON = (10,)
SHOWN = (20, 21, 22, 23, 24)
EPOCHS = 6
ALONE = "{warmup: 1, search: 3, finetune: 2}"  # of `EPOCHS`, as mnist.yaml's 1, 6 and 3 of ten
TOGETHER = "{warmup: 1, search: 1, finetune: 1}"  # the fine-tunes' lengths are those of `TUNED`
# Epochs of each fine-tune, in their order; each starts from the weights of the one before.
TUNED = {6.0: 2.6, 5.0: 0.5, 4.0: 0.5, 3.5: 0.4, 3.0: 0.5, 2.5: 0.5, 2.0: 0.7}
LR = 2e-3  # what mnist.yaml tries first; of every arm, and of these fine-tunes


def experiment(data: Path, *overrides: str) -> Experiment:
    """The experiment of mnist.yaml with one limit or a range of our own."""
    free = [f"space.inner.{name}=null" for name in ("budget.limit", "optimizer.lr")]
    return load_experiment(SPACE, [f"data.root={data}", *free, f"inner.optimizer.lr={LR}", *overrides])


def plain(root: Path, data: DataSet, seed: int) -> Iterator[Row]:
    """A float32 training as a user writes it, in the layout that is the faster one."""
    document = experiment(root)
    torch.manual_seed(seed)
    batches = training_batches(data.train, document.data, torch.Generator().manual_seed(seed))
    began = time.process_time()
    model, _ = build_network(document, data)
    optimizer = torch.optim.Adam(model.parameters(), lr=document.inner.optimizer.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS * len(batches))
    for _ in range(EPOCHS):
        for inputs, targets in batches:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), targets)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    spent = time.process_time() - began
    yield {"search s": f"{spent:.2f}", "tune s": "0"} | _measured(model, data, seed)


def dedicated(root: Path, data: DataSet, seed: int, limit: float, sampler: str) -> Iterator[Row]:
    """A trial of mnist.yaml at one limit."""
    document = experiment(
        root, f"inner.budget.limit={limit}", f"inner.sampler={sampler}", f"inner.epochs={ALONE}"
    )  # fmt: skip
    found = search(document, data, seed)
    bits = _bits(found.searchable)
    began = time.process_time()
    model = found.searchable.freeze()
    recalibrate(model, found.batches)
    stage = FinetuneStage(model, document.inner, found.batches)
    for _ in range(document.inner.epochs.finetune):
        stage.finetune()
    spent = time.process_time() - began
    yield {"limit": f"{limit:g}", "bits": bits} | _times(found.seconds, spent) | _measured(model, data, seed)


def any_budget(root: Path, data: DataSet, seed: int) -> Iterator[Row]:
    """One search over the range, then its points, each tuned from the weights of the one before."""
    document = experiment(
        root, f"inner.budget.range={list(RANGE)}", f"inner.epochs={TOGETHER}",
        f"inner.optimizer.finetune_lr={LR}",
    )  # fmt: skip
    found = search(document, data, seed)
    for limit, epochs in TUNED.items():
        bits, model, spent = tuned(found, limit, epochs, document)
        yield {"limit": f"{limit:g}", "bits": bits} | _times(found.seconds, spent) | _measured(model, data, seed)


def tuned(found: Searched, limit: float, epochs: float, document: Experiment) -> tuple[str, nn.Module, float]:
    """Tune the answer at a limit; its weights become those of the search, for the next point to start from.

    Returns:
        Its bits, the model, and the CPU seconds that it took. Ranges are not brought to its bits beforehand by a pass
        over the images, as a trial does: without BatchNorm the first steps do it, and the pass costs as many as 200.
    """
    began = time.process_time()
    point = copy.deepcopy(found.searchable)
    point.limit = limit
    bits = _bits(point)
    model = point.freeze()
    FinetuneStage(model, document.inner, Steps(found.batches, round(epochs * len(found.batches)))).finetune()
    with torch.no_grad():
        for weight, better in zip(found.searchable.model.parameters(), model.parameters(), strict=True):
            weight.copy_(better)
    return bits, model, time.process_time() - began


def _bits(searchable: SearchableModel) -> str:
    layers = searchable.allocation().layers
    return " ".join(f"{layer.bits('weight')}/{layer.bits('activation')}" for layer in layers)


def _times(search_seconds: float, tune_seconds: float) -> Row:
    return {"search s": f"{search_seconds:.2f}", "tune s": f"{tune_seconds:.2f}"}


def _measured(model: nn.Module, data: DataSet, seed: int) -> Row:
    """Validation accuracy; that of the test images once, and not for the seeds that choices are made on."""
    began = time.process_time()
    validation = measure(model, data.validation).accuracy
    spent = time.process_time() - began
    test = f"{100 * measure(model, data.test).accuracy:.2f}" if seed in SHOWN else ""
    return {"validation %": f"{100 * validation:.2f}", "test %": test, "evaluation s": f"{spent:.2f}"}


@dataclass(frozen=True)
class Job:
    """One training; without a limit where it has none of its own."""

    arm: str
    seed: int
    limit: float | None = None

    def rows(self, root: Path, data: DataSet) -> Iterator[Row]:
        """Train it."""
        if self.limit is not None:
            return dedicated(root, data, self.seed, self.limit, SAMPLERS[self.arm])
        return (plain if self.arm == "plain" else any_budget)(root, data, self.seed)

    def known(self, rows: Sequence[Row]) -> bool:
        """Whether the table has it."""
        return any(
            (row["arm"], row["seed"]) == (self.arm, str(self.seed))
            and (self.limit is None or float(row["limit"]) == self.limit)
            for row in rows
        )


def jobs(seeds: Sequence[int]) -> list[Job]:
    """All trainings, those first whose times are compared."""
    between = [("dedicated", (limit,)) for limit in LIMITS if limit not in EVERYWHERE]
    groups = [("dedicated", EVERYWHERE), *between, ("uniform", EVERYWHERE)]
    first = [Job(arm, seed) for seed in seeds for arm in ("plain", "any budget")]
    return first + [Job(arm, seed, limit) for arm, limits in groups for seed in seeds for limit in limits]


def train(root: Path, seeds: Sequence[int]) -> None:
    """Train what the table lacks."""
    data, stored = load_data(experiment(root).data), read_rows(TABLE)
    missing = [job for job in jobs(seeds) if not job.known(stored)]
    for job in track(missing, f"{len(missing)} trainings"):
        stored += [{"arm": job.arm, "seed": str(job.seed)} | row for row in job.rows(root, data)]
        write_rows(TABLE, COLUMNS, stored)


def main() -> None:
    """Train, and write the page's tables below its marker."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with MNIST/raw; downloaded into it where it is missing")
    parser.add_argument("--seeds", type=int, nargs="+", default=[*SHOWN], help=f"not shown: {CHOSEN_ON}, for choosing")
    parser.add_argument("--report", action="store_true", help="train nothing")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if not given.report:
        if given.data is None:
            parser.error("--data DIR must be given: a folder with MNIST/raw, or for it")
        train(given.data.absolute(), given.seeds)
    rows = [row for row in read_rows(TABLE) if int(row["seed"]) in SHOWN]
    write_below(PAGE, "<!-- made by benchmarks.mnist_front -->\n", page(rows))


if __name__ == "__main__":
    main()
