"""Tables accuracy under PGD of a comparison's frozen networks by the bits that their first layer reads the image with.

precsearch run search_spaces/lacey_mnist.yaml
python -m benchmarks.image_bits runs/lacey-mnist-1000

Reads what the run wrote, and trains nothing: `docs/records` has enough of it.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

from precsearch.allocation import Allocation
from precsearch.measured import Evaluation
from precsearch.results import RunDirectory

ARMS = ("uniform", "random", "learned", "perturb-and-map")
MOST = 4  # bits, and more


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Accuracy under PGD by the bits of the image.")
    parser.add_argument("run", type=Path, help="run directory of a comparison")
    run = RunDirectory(parser.parse_args().run)
    found: dict[int, list[tuple[float, ...]]] = defaultdict(list)
    epsilons: tuple[float, ...] = ()
    for folder, record in run.trainings():
        if record.state != "complete" or record.label not in ARMS:
            continue
        bits = Allocation.from_json(folder / "allocation.json").layers[0].bits("activation")
        evaluation = Evaluation.model_validate_json((folder / "evaluation.json").read_text(encoding="utf-8"))
        (pgd,) = (curve for curve in evaluation.attacks if curve.attack == "pgd")
        epsilons = tuple(pgd.epsilons)
        found[min(bits or MOST, MOST)].append(tuple(pgd.accuracies))
    print(f"| bits of the image | networks | {' | '.join(f'{epsilon:g}' for epsilon in epsilons)} |")
    print(f"|{' --- |' * (len(epsilons) + 2)}")
    for bits, curves in sorted(found.items()):
        told = [
            f"{100 * sum(each) / len(each):.0f} % ({100 * min(each):.0f} to {100 * max(each):.0f})"
            for each in zip(*curves, strict=True)
        ]
        print(f"| {bits}{' or more' * (bits == MOST)} | {len(curves)} | {' | '.join(told)} |")


if __name__ == "__main__":
    main()
