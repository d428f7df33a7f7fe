"""How soon do Optuna's samplers and pruners find the front of a real search? Studies of LeNet-5 on a part of MNIST.

    python -m benchmarks.outer --data DIR              # DIR holds MNIST/raw, or it is downloaded there
    python -m benchmarks.outer --data DIR --seeds 4 5  # more seeds
    python -m benchmarks.outer --report                # only rewrites docs/outer.md from the stored table

`search_spaces/mnist.yaml` with fewer images, epochs and trials; objectives are its own, validation accuracy and
BitOPs. Every contestant is a whole study, run by precsearch's own driver; what it costs is processor time of this
process, the choice of points included. Studies with one seed begin with the same points, and a pruned trial is the
beginning of the whole one: each training is done once, and repeated with its time to whoever asks for it again
(`benchmarks.replay`). An interrupted benchmark goes on where it was.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.outer_report import Row, write_page
from benchmarks.replay import Trainer
from precsearch.experiment import load_experiment
from precsearch.results import Progress, RunDirectory, TrialRecord
from precsearch.study.driver import run_study

HERE = Path(__file__).parent
SPACE = HERE.parent / "search_spaces" / "mnist.yaml"
TABLE = HERE / "tables" / "outer.csv"
TRAININGS = Path("runs") / "outer-trainings"
SEEDS = (0, 1, 2, 3)
TRIALS = 20
SETTINGS = (
    "data.name=benchmarks.few_mnist:few_images", "data.images=1200", "data.validation_images=1500",
    "data.test_images=200", "data.batch_size=32", "inner.epochs={warmup: 1, search: 2, finetune: 1}",
    "study.enqueue=[]", "space.inner.optimizer.lr={type: float, low: 3e-3, high: 3e-2, log: true}",
    "study.baselines=[]", f"study.n_trials={TRIALS}", "executor.name=inprocess", "executor.threads=1",
)  # fmt: skip


@dataclass(frozen=True)
class Contestant:
    """A sampler with a pruner, as the YAML has them."""

    sampler: str
    pruner: str
    pruner_settings: str = ""

    @property
    def overrides(self) -> list[str]:
        """`--set` lines of it."""
        pruner = f"{{name: {self.pruner}{self.pruner_settings and ', '}{self.pruner_settings}}}"
        return [f"study.sampler={{name: {self.sampler}}}", f"study.pruner={pruner}"]


# A trial has four epochs and a band of budgets seven trials: Optuna's own settings would hardly ever prune.
PRUNERS = (
    ("none", ""), ("median", "n_startup_trials: 2"), ("percentile", "n_startup_trials: 2"),
    ("asha", "reduction_factor: 2"), ("hyperband", "reduction_factor: 2"),
)  # fmt: skip
CONTESTANTS = (
    *(Contestant("random", *pruner) for pruner in PRUNERS),
    *(Contestant(sampler, "none") for sampler in ("tpe", "gp", "nsga2")),
    Contestant("tpe", *PRUNERS[3]),
)


class Watch:
    """An observer that makes a row of every trial that ended.

    Args:
        contestant: whose study it is.
        seed: of the study.
        trainer: of its trials.
    """

    def __init__(self, contestant: Contestant, seed: int, trainer: Trainer) -> None:
        self.rows: list[Row] = []
        self._contestant = contestant
        self._seed = seed
        self._trainer = trainer
        self._epochs = 0
        self._mark = 0.0

    def study_started(self, n_trials: int, finished: list[TrialRecord]) -> None:
        """Look at the clock."""
        self._mark = self._own_time()

    def trial_started(self, number: int, params: dict[str, Any], resumed: bool, baseline: str | None) -> None:
        """Count epochs anew."""
        self._epochs = 0

    def trial_progressed(self, number: int, progress: Progress, baseline: str | None) -> None:
        """Count an epoch."""
        self._epochs = progress.step

    def trial_finished(self, record: TrialRecord, front: list[TrialRecord]) -> None:
        """Keep a row.

        Raises:
            RuntimeError: when the trial failed.
        """
        if record.state == "failed":
            raise RuntimeError(f"trial {record.number} failed: {record.reason}")
        now = self._own_time()
        self.rows.append(
            Row(
                sampler=self._contestant.sampler,
                pruner=self._contestant.pruner,
                seed=self._seed,
                trial=record.number,
                state=record.state,
                epochs=self._epochs,
                training_s=round(self._trainer.spent, 3),
                driver_s=round(now - self._mark, 3),
                limit=float(record.params["inner.budget.limit"]),
                accuracy=record.metrics.get("validation_accuracy", float("nan")),
                bitops=record.metrics.get("bitops", float("nan")),
            )
        )
        self._mark = now

    def trial_dropped(self, number: int, reason: str) -> None:
        """Nothing: nobody shares the study."""

    def noted(self, text: str) -> None:
        """Nothing."""

    def _own_time(self) -> float:
        """Processor seconds of everything but trainings: choosing points, and keeping the study."""
        return time.process_time() - self._trainer.used


def stored() -> list[Row]:
    """Rows of the table, none where there is none."""
    if not TABLE.is_file():
        return []
    with TABLE.open(newline="") as file:
        return [Row.read(row) for row in csv.DictReader(file)]


def run(contestant: Contestant, seed: int, data: Path, trainer: Trainer) -> None:
    """One study from start to end, added to the table when it is whole."""
    overrides = [f"data.root={data.absolute()}", f"study.seed={seed}", *SETTINGS, *contestant.overrides]
    watch = Watch(contestant, seed, trainer)
    with tempfile.TemporaryDirectory(prefix="precsearch-outer-") as folder:
        run_study(load_experiment(SPACE, overrides), RunDirectory(Path(folder)), watch, trainer)
    new = not TABLE.is_file()
    with TABLE.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow([field.name for field in fields(Row)])
        writer.writerows(row.cells() for row in watch.rows)


def fill(data: Path, seeds: Sequence[int]) -> None:
    """Run every study that the table lacks, one seed after another."""
    done = {(row.sampler, row.pruner, row.seed) for row in stored()}
    jobs = [(seed, each) for seed in seeds for each in CONTESTANTS if (each.sampler, each.pruner, seed) not in done]
    trainer = Trainer(TRAININGS)
    TABLE.parent.mkdir(exist_ok=True)
    for seed, contestant in jobs:
        began, before = time.process_time(), trainer.trained
        run(contestant, seed, data, trainer)
        seconds, trained = time.process_time() - began, trainer.trained - before
        print(
            f"seed {seed}: {contestant.sampler}, {contestant.pruner}: {seconds:.0f} s, {trained} trainings", flush=True
        )


def main() -> None:
    """Run what is missing, then write the page's tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the images, as data.root")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="of the studies (0 1 2 3)")
    parser.add_argument("--report", action="store_true", help="only rewrite the page from the stored table")
    asked = parser.parse_args()
    if not asked.report:
        if asked.data is None:
            parser.error("--data DIR is needed, or --report")
        fill(asked.data, asked.seeds)
    write_page(stored())


if __name__ == "__main__":
    main()
