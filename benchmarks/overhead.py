"""What the driver costs a trial: studies of trials that train nothing, in process, on Ray, and by stock Ray Tune.

    python -m benchmarks.overhead                     # a quarter of an hour on two cores
    python -m benchmarks.overhead --quick             # a minute: does it run?
    python -m benchmarks.overhead --json figures.json

Every measurement is a process of its own, and repetitions are interleaved: what else the machine does meets all
alike. Time runs from the start of the first trial to the end of the last; what comes before (starting Ray, its
workers' imports) is told on its own. Processor time is that of the driver's process alone, from the first report on.
Stock Tune is given a cluster without dashboard, as ours is; everything else is its default. Files of the trials
themselves count as well.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import trivial

CONCURRENT = 2
PARTS = 10  # of the long study, each timed on its own
MEGABYTE = 2**20

Figures = dict[str, Any]


def in_process(trials: int, folder: Path) -> Figures:
    """The default sampler, two objectives, one trial after another."""
    return study(trials, folder)


def on_ray(trials: int, folder: Path) -> Figures:
    """The same with two trials at a time on a local cluster."""
    return study(trials, folder, "executor.name=ray", f"executor.max_concurrent={CONCURRENT}")


def study(trials: int, folder: Path, *overrides: str) -> Figures:
    """Run a study -> seconds a trial, and seconds before the first."""
    from precsearch.results import RunDirectory
    from precsearch.study.driver import run_study

    clock, began = trivial.Clock(), time.time()
    document = trivial.experiment(f"study.n_trials={trials}", *overrides)
    summary = run_study(document, RunDirectory(folder / "run"), clock, trivial.run_trial)
    if summary.complete != trials:
        raise RuntimeError(f"{trials} trials must be complete, but got {summary}")
    return {
        "seconds": (clock.ended[-1] - clock.began) / trials,
        "cpu": clock.used / trials,
        "start": clock.began - began,
    }


def stock(trials: int, folder: Path) -> Figures:
    """Ray Tune's own `OptunaSearch`, as its guide has it."""
    return tune_study(trials, folder)


def stock_reusing(trials: int, folder: Path) -> Figures:
    """The same, with actors kept from trial to trial."""
    return tune_study(trials, folder, reuse_actors=True)


def tune_study(trials: int, folder: Path, **settings: Any) -> Figures:
    """Run trivial trials by stock Tune -> seconds a trial, and seconds before the first."""
    began = time.time()
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    ray.init(address="local", num_cpus=CONCURRENT, include_dashboard=False, log_to_driver=False)
    space = {
        "limit": tune.quniform(2.0, 6.0, 0.5),
        "temperature": tune.loguniform(0.5, 5.0),
        "strength": tune.loguniform(1e-3, 1.0),
    }
    tuner = tune.Tuner(
        _trainable,
        param_space=space,
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(metric=["validation_accuracy", "bitops"], mode=["max", "min"], seed=0),
            num_samples=trials,
            max_concurrent_trials=CONCURRENT,
            **settings,
        ),
        run_config=tune.RunConfig(name="stock", storage_path=str(folder)),
    )
    results = tuner.fit()
    ended = time.time()
    metrics = [results[index].metrics for index in range(len(results)) if results[index].error is None]
    if len(metrics) != trials:
        raise RuntimeError(f"{trials} trials must be complete, but got {len(metrics)}")
    first = min(each["started"] for each in metrics if each)
    return {"seconds": (ended - first) / trials, "start": first - began}


def _trainable(config: dict[str, float]) -> None:
    from ray import tune

    started = time.time()
    accuracy = trivial.score(config["limit"], config["strength"], config["temperature"])
    trivial.allocation(int(config["limit"])).to_json("allocation.json")
    for _ in range(trivial.REPORTS):
        tune.report({"validation_accuracy": accuracy, "bitops": 1000 * config["limit"], "started": started})


def many(trials: int, folder: Path) -> Figures:
    """A long study of random points -> seconds a trial and memory grown, for each tenth of it."""
    from precsearch.results import RunDirectory, TrialRecord
    from precsearch.study.driver import run_study

    part = max(1, trials // PARTS)

    class Watch(trivial.Clock):
        def __init__(self) -> None:
            super().__init__()
            self.marks: list[tuple[float, int]] = []

        def trial_finished(self, record: TrialRecord, front: list[TrialRecord]) -> None:
            if record.number % part == 0:
                self.marks.append((time.perf_counter(), resident()))

    run_study(trivial.experiment("study.n_trials=5"), RunDirectory(folder / "warm"), Watch(), trivial.run_trial)
    watch = Watch()
    document = trivial.experiment(f"study.n_trials={part * PARTS + 1}", "study.sampler.name=random")
    run_study(document, RunDirectory(folder / "run"), watch, trivial.run_trial)
    pairs = list(zip(watch.marks, watch.marks[1:], strict=False))
    seconds = [(after[0] - before[0]) / part for before, after in pairs]
    grown = [after[1] - before[1] for before, after in pairs]
    return {
        "part": part,
        "seconds": seconds,
        "resident": [after[1] for _, after in pairs],
        "time ratio": seconds[-1] / seconds[0],
        "memory ratio": grown[-1] / max(grown[0], 1),
    }


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


KINDS: dict[str, Callable[[int, Path], Figures]] = {
    "in process": in_process,
    "on Ray": on_ray,
    "stock Tune": stock,
    "stock Tune, reuse_actors": stock_reusing,
    "long study": many,
}
GOALS = {"in process": 0.015, "on Ray": 0.3}


def measure(kind: str, trials: int) -> Figures:
    """One measurement in a process of its own.

    Raises:
        RuntimeError: with its last words, when it failed.
    """
    with tempfile.TemporaryDirectory(prefix="precsearch-overhead-") as folder:
        command = [sys.executable, "-m", "benchmarks.overhead", "--measure", kind, str(trials), folder]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise RuntimeError(f"{kind}: {ran.stdout[-2000:]}{ran.stderr[-2000:]}")
        figures: Figures = json.loads((Path(folder) / "figures.json").read_text())
        return figures


def spread(values: list[float], scale: float = 1.0) -> str:
    """Minimum, median and maximum."""
    return " / ".join(f"{value * scale:.3g}" for value in (min(values), statistics.median(values), max(values)))


def table(found: dict[str, list[Figures]], trials: dict[str, int]) -> str:
    """What was measured, as a page has it."""
    lines = ["| study | trials | ms a trial | goal | driver's CPU, ms | s before the first |", "| --- " * 6 + "|"]
    for kind in (kind for kind in found if kind != "long study"):
        seconds, start = ([each[key] for each in found[kind]] for key in ("seconds", "start"))
        cpu = spread([each["cpu"] for each in found[kind]], 1000) if "cpu" in found[kind][0] else ""
        goal = f"{GOALS[kind] * 1000:g}" if kind in GOALS else ""
        lines.append(f"| {kind} | {trials[kind]} | {spread(seconds, 1000)} | {goal} | {cpu} | {spread(start)} |")
    long = found.get("long study", [])
    if long:
        lines += ["", f"| long study, each {long[0]['part']} trials | ms a trial | MB resident |", "| --- " * 3 + "|"]
        for index in range(PARTS):
            seconds, memory = ([each[key][index] for each in long] for key in ("seconds", "resident"))
            lines.append(f"| {index + 1} | {spread(seconds, 1000)} | {spread(memory, 1 / MEGABYTE)} |")
        ratios = (spread([each[key] for each in long]) for key in ("time ratio", "memory ratio"))
        lines += ["", "Last part to first (goal 1.5): time {}, memory grown {}.".format(*ratios)]
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=50, help="of the studies in process and on Ray (50)")
    parser.add_argument("--stock-trials", type=int, default=20, help="of stock Tune; 0 leaves it out (20)")
    parser.add_argument("--many", type=int, default=10_000, help="of the long study; 0 leaves it out (10000)")
    parser.add_argument("--repeat", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument("--quick", action="store_true", help="10, 4 and 300 trials, once")
    parser.add_argument("--json", type=Path, help="a file for every figure")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure everything that was asked for, and print it."""
    asked = arguments()
    if asked.measure:
        kind, count, folder = asked.measure
        (Path(folder) / "figures.json").write_text(json.dumps(KINDS[kind](int(count), Path(folder))))
        return
    if asked.quick:
        asked.trials, asked.stock_trials, asked.many, asked.repeat = 10, 4, 300, 1
    counts = (asked.trials, asked.trials, asked.stock_trials, asked.stock_trials, asked.many)
    trials = {kind: count for kind, count in zip(KINDS, counts, strict=True) if count}
    found: dict[str, list[Figures]] = {kind: [] for kind in trials}
    for turn in range(asked.repeat):
        for kind, count in trials.items():
            print(f"{turn + 1} of {asked.repeat}: {kind}, {count} trials", file=sys.stderr)
            found[kind].append(measure(kind, count))
    print(f"Minimum / median / maximum of {asked.repeat}.\n\n{table(found, trials)}")
    if asked.json:
        asked.json.write_text(json.dumps({"trials": trials, "figures": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
