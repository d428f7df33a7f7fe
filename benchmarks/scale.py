"""How drawing and solving grow with layers and candidates, beside the step they belong to.

    OMP_NUM_THREADS=1 python -m benchmarks.scale           # three minutes
    OMP_NUM_THREADS=1 python -m benchmarks.scale --report  # and renews the page's tables

Residual networks are what a draw is beside real layers; chains of small linear layers are the worst case: nothing but
overhead. A step draws once, which finds an allocation that keeps the budget; it solves, exactly, only where a model is
evaluated or ends. CPU time, one thread, medians.

Legend: S slots, K candidates, C constraints.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

import precsearch
from benchmarks.steps import tables
from benchmarks.steps.contestants import CANDIDATES
from benchmarks.steps.networks import CLASSES
from benchmarks.steps.training import training
from precsearch.models.resnet20 import ResNet
from precsearch.precision.exact import best_choice, solve_exactly
from precsearch.precision.problem import Floats, Problem, Slot
from precsearch.precision.solver import maximize

LAYERS = (10, 50, 200, 500)
DEPTHS = (20, 200)
SLOTS = (10, 100, 300, 1000)
WIDTH, BATCH = 32, 32
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
NOTEWORTHY = 0.02  # of a step


def median(function: Callable[[], object], repeats: int) -> float:
    """CPU seconds of a call, after one that is not counted; of that one where it took more than a second."""
    began = time.process_time()
    function()
    if (first := time.process_time() - began) > 1:
        return first
    found = []
    for _ in range(repeats):
        began = time.process_time()
        function()
        found.append(time.process_time() - began)
    return statistics.median(found)


def chain(layers: int) -> nn.Module:
    """Linear layers with ReLU between them, of a gain that keeps what passes through."""
    made: list[nn.Module] = []
    for _ in range(layers):
        linear = nn.Linear(WIDTH, WIDTH)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        made += [linear, nn.ReLU()]
    return nn.Sequential(*made[:-1])


def of_chain(layers: int, count: int) -> tuple[float, float, float, float]:
    """Seconds of a draw, a solve, a search step and a float32 step."""
    torch.manual_seed(0)
    inputs, labels = torch.rand(BATCH, WIDTH), torch.randint(0, WIDTH, (BATCH,))
    plain = chain(layers)
    step = training(plain, torch.optim.SGD(plain.parameters(), lr=1e-4), inputs, labels)
    float32 = median(step, 8)
    budget = precsearch.Budget("average_bits", 4.5)
    searchable = precsearch.SearchableModel(chain(layers), budget, inputs, bits=CANDIDATES[count])
    sampler = searchable.sampler
    with torch.no_grad():
        sampler.logits.normal_()  # as a search makes them: equal ones are solved at once
    draw, solve = median(lambda: sampler.draw(1.0), 9), median(sampler.solve, 5)
    optimizer = torch.optim.SGD(searchable.parameter_groups(lr=1e-4))
    step = training(searchable.train(), optimizer, inputs, labels)
    step()
    return draw, solve, median(step, 8), float32


def chains() -> str:
    """The table of chains, and where draw and solve are worth a word."""
    lines = [
        "| layers | candidates | draw, ms | solve, ms | search step, ms | float32 step, ms | (draw + solve) / step |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    above, draws = [], []
    for layers in LAYERS:
        for count in CANDIDATES:
            draw, solve, step, float32 = of_chain(layers, count)
            share = (draw + solve) / step
            above += [f"{layers} x {count}"] if share > NOTEWORTHY else []
            draws.append(draw / step)
            cells = [f"{1000 * each:.2f}" for each in (draw, solve, step, float32)]
            lines.append(f"| {layers} | {count} | {' | '.join(cells)} | {share:.1%} |")
            print(lines[-1], flush=True)
    told = "everywhere" if len(above) == len(draws) else ", ".join(above) or "nowhere"
    lines += ["", f"Draw and solve take more than {NOTEWORTHY:.0%} of a step (layers x candidates): {told}."]
    return "\n".join(
        [*lines, f"The draw alone, which is what every step pays, takes {min(draws):.0%} to {max(draws):.0%}."]
    )


def resnets() -> str:
    """The table of residual networks: what drawing is beside real layers."""
    lines = [
        "| batch 128 | candidates | slots | draw, ms | solve, ms | search step, ms | draw / step | with solve |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for depth in DEPTHS:
        for count in CANDIDATES:
            torch.manual_seed(0)
            model = ResNet(3, CLASSES, (16, 32, 64), depth // 6).to(memory_format=torch.channels_last)
            inputs = torch.rand(128, 3, 32, 32).contiguous(memory_format=torch.channels_last)
            budget = precsearch.Budget("average_bits", 4.5)
            searchable = precsearch.SearchableModel(model, budget, inputs[:2], bits=CANDIDATES[count]).train()
            sampler = searchable.sampler
            with torch.no_grad():
                sampler.logits.normal_()
            draw, solve = median(partial(sampler.draw, 1.0), 9), median(sampler.solve, 5)
            optimizer = torch.optim.SGD(searchable.parameter_groups(lr=1e-4))
            step = training(searchable, optimizer, inputs, torch.randint(0, CLASSES, (128,)))
            step()  # the first looks at the data
            took = median(step, 3)
            cells = f"{1000 * draw:.2f} | {1000 * solve:.2f} | {1000 * took:.0f} | {draw / took:.2%}"
            lines.append(
                f"| ResNet-{depth} | {count} | {len(searchable.plan.problem.slots)} | {cells} "
                f"| {(draw + solve) / took:.2%} |"
            )
            print(lines[-1], flush=True)
    return "\n".join(lines)


def problem(slots: int, count: int, kind: str) -> tuple[Problem, Floats]:
    """A synthetic problem with scores: layers of 10^2 to 10^6 weights, returns that diminish with bits.

    ``one limit``: bits weighted by size; ``two limits``: of the same slots; ``coupled``: bits of weights times bits
    of activations, half of the slots each.
    """
    random, bits = np.random.default_rng(0), np.array(CANDIDATES[count])
    size = np.round(10 ** random.uniform(2, 6, slots))
    scores = -(10 ** random.uniform(-1, 1, slots))[:, None] * 2.0**-bits + 0.02 * random.standard_normal((slots, count))
    hub = np.full(slots, slots)
    cost = size[None, :, None, None] * bits
    if kind == "two limits":
        cost = np.concatenate([cost, np.round(10 ** random.uniform(2, 6, slots))[None, :, None, None] * bits])
    if kind == "coupled":
        hub[slots // 2 :] = np.arange(slots - slots // 2) % (slots // 2)
        cost = np.zeros((1, slots, count, count))
        cost[0, slots // 2 :] = size[slots // 2 :, None, None] * bits[:, None] * bits
    cheapest, dearest = cost[:, :, 0, 0].sum(1), cost[:, :, -1, -1].sum(1)
    limits = np.floor(cheapest + 0.3 * (dearest - cheapest))
    names = tuple(Slot(((f"layer{each}", "weight"),)) for each in range(slots))
    candidates = np.ones((slots, count), dtype=np.bool_)
    lowest = np.zeros(slots, dtype=np.int64)
    return Problem(names, tuple(bits.tolist()), candidates, hub, cost.astype(np.float64), limits, lowest), scores


def solvers() -> str:
    """The table of synthetic problems."""
    lines = [
        "| problem | slots | candidates | `maximize`, ms | `solve_exactly`, ms | missed by `maximize` |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for kind in ("one limit", "two limits", "coupled"):
        for slots in SLOTS:
            for count in (5, 16):
                knapsack, scores = problem(slots, count, kind)
                times = [
                    median(partial(maximize, scores, knapsack), 5),
                    median(partial(solve_exactly, scores, knapsack), 3),
                ]
                quick, best = maximize(scores, knapsack), best_choice(scores, knapsack)
                gained = [knapsack.total(scores, each) for each in (quick, best, knapsack.lowest)]
                missed = (gained[1] - gained[0]) / (gained[1] - gained[2])  # of what bits can gain
                cells = " | ".join(f"{1000 * each:.2f}" for each in times)
                lines.append(f"| {kind} | {slots} | {count} | {cells} | {missed:.2%} |")
                print(lines[-1], flush=True)
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and renew the page where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", action="store_true", help="write the tables into docs/performance.md")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # gradients that vanish along a chain would be slow to multiply
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = f"{resnets()}\n\n{chains()}\n\n{solvers()}"
    if asked.report:
        tables.renew(PAGE, "scale", text)


if __name__ == "__main__":
    main()
