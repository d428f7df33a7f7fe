"""What Ray adds to real trainings: the same MNIST trials one after another in process, and two at a time on Ray.

    python -m benchmarks.ray_mnist --data DIR                     # DIR holds MNIST/raw, or it is downloaded there
    python -m benchmarks.ray_mnist --data DIR --repeat 3 --set 'inner.epochs={warmup: 1, search: 1, finetune: 1}'

Points are random, so they do not depend on the order in which trials end; each training has one thread. Costs are
those of the whole tree of processes, Ray's servers included, from start to end: Ray's start weighs little in long
trials and much in short ones. Two such studies in process, side by side, say how much of it is no fault of Ray's:
trainings that share caches may cost more each. Metrics must be equal to the last digit.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.processes import Cost, run
from precsearch.results import RunDirectory

SPACE = Path(__file__).parent.parent / "search_spaces" / "mnist.yaml"
FIXED = ("study.sampler.name=random", "study.baselines=[]", "executor.threads=1")
CONCURRENT = 2
OWN, BESIDE, RAY = KINDS = ("in process", "two studies in process, side by side", "on Ray")
GOAL = 1.15
MEGABYTE = 2**20


def measure(kind: str, asked: argparse.Namespace, folder: Path) -> Cost:
    """One study from start to end; of several side by side, processor time is that of one."""
    executor = (
        ("executor.name=ray", f"executor.max_concurrent={CONCURRENT}") if kind == RAY else ("executor.name=inprocess",)
    )
    command = [sys.executable, "-m", "precsearch", "run", str(SPACE), "--trials", str(asked.trials)]
    for setting in (f"data.root={asked.data.absolute()}", *FIXED, *executor, *asked.set):
        command += ["--set", setting]
    outputs = [folder / f"{kind} {number}" for number in range(CONCURRENT if kind == BESIDE else 1)]
    cost = run([[*command, "--output", str(output)] for output in outputs], os.environ, folder / "log")
    return replace(cost, cpu=cost.cpu / len(outputs), waited=cost.waited / len(outputs))


def differences(folder: Path) -> list[str]:
    """What the trials of one kind measured otherwise than those of the other."""
    here, there = (RunDirectory(folder / f"{kind} 0").records() for kind in (OWN, RAY))
    found = [f"{len(here)} trials and {len(there)}"] if len(here) != len(there) else []
    for one, other in zip(here, there, strict=False):
        left = one.model_dump(exclude={"seconds", "node"})
        found += [
            f"trial {one.number}: {key} {left[key]} and {value}"
            for key, value in other.model_dump(exclude={"seconds", "node"}).items()
            if left[key] != value
        ]
        if one.state != "complete":
            found.append(f"trial {one.number} is {one.state}: {one.reason}")
    return found


def table(found: dict[str, list[Cost]]) -> str:
    """What was measured, as a page has it."""
    lines = ["| trials | wall s | CPU s of a study | peak PSS, MB | peak RSS, MB | processes |", "| --- " * 6 + "|"]
    for kind, costs in found.items():
        cells = [
            spread([cost.wall for cost in costs]),
            spread([cost.cpu for cost in costs]),
            spread([cost.pss / MEGABYTE for cost in costs]),
            spread([cost.rss / MEGABYTE for cost in costs]),
            spread([cost.processes for cost in costs]),
        ]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    for kind, costs in found.items():
        shares = [f"{name} {seconds:.1f}" for name, seconds in list(costs[-1].names.items())[:6]]
        lines += ["", f"CPU s {kind}, the last time: {', '.join(shares)}."]
    lines += ["", f"To one study in process (CPU on Ray: goal {GOAL}):"]
    for kind in (kind for kind in found if kind != OWN):
        pairs = list(zip(found[OWN], found[kind], strict=True))
        ratios = {key: [getattr(b, key) / getattr(a, key) for a, b in pairs] for key in ("cpu", "wall", "pss")}
        lines.append(f"{kind}: {', '.join(f'{key} {spread(values)}' for key, values in ratios.items())}.")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """Minimum, median and maximum; one number where there is one."""
    shown = (min(values), statistics.median(values), max(values)) if len(values) > 1 else values
    return " / ".join(f"{value:.4g}" for value in shown)


def main() -> None:
    """Measure, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the images, as data.root")
    parser.add_argument("--trials", type=int, default=2, help="of each study (2)")
    parser.add_argument("--repeat", type=int, default=1, help="how often each is measured, in turns (1)")
    parser.add_argument("--no-control", action="store_true", help="leave out the two studies side by side")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="as of `precsearch run`")
    parser.add_argument("--json", type=Path, help="a file for every figure")
    asked = parser.parse_args()
    found: dict[str, list[Cost]] = {kind: [] for kind in KINDS if kind != BESIDE or not asked.no_control}
    different: list[str] = []
    for turn in range(asked.repeat):
        with tempfile.TemporaryDirectory(prefix="precsearch-ray-mnist-") as name:
            folder = Path(name)
            for kind, costs in found.items():
                print(f"{turn + 1} of {asked.repeat}: {kind}, {asked.trials} trials", file=sys.stderr)
                costs.append(measure(kind, asked, folder))
            different += differences(folder)
    print(table(found))
    print("\n".join(["Metrics differ:", *different]) if different else "Metrics are identical.")
    if asked.json:
        figures = {kind: [asdict(cost) for cost in costs] for kind, costs in found.items()}
        asked.json.write_text(
            json.dumps({"trials": asked.trials, "set": asked.set, "figures": figures}, indent=2) + "\n"
        )
    if different:
        sys.exit(1)


if __name__ == "__main__":
    main()
