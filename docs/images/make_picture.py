"""Draws the README's picture from a run directory, as plain SVG, with what it shows as CSV files beside it.

    python docs/images/make_picture.py runs/digits -o docs/images/digits.svg

Left: the bits of each layer in the best allocation. Right: the front, with what uniform and random allocations
reach at the same budgets. Below: the run that it was drawn from. The picture brings its own background, and follows
a dark theme.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import shlex
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from precsearch.experiment import load_experiment
from precsearch.experiment.loading import fingerprint
from precsearch.results import RunDirectory

WIDTH, HEIGHT = 840, 350
LEFT, RIGHT = (106, 336), (474, 716)  # the two panels, from x to x
TOP, BOTTOM = 88, 262
MOST_BITS = 8
KINDS = ("found", "uniform", "random")

STYLE = """
  .card { fill: #ffffff; stroke: #d0d7de; }
  text { font: 13px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1f2328; }
  .title { font-size: 15px; font-weight: 600; }
  .quiet { fill: #59636e; font-size: 12px; } .origin { fill: #59636e; font-size: 11px; }
  .end { text-anchor: end; } .middle { text-anchor: middle; }
  .line { stroke: #d0d7de; } .track { fill: #eaeef2; }
  .weight, .found { fill: #0969da; } .activation { fill: #9a6700; }
  .front { stroke: #0969da; stroke-width: 1.5; fill: none; opacity: 0.5; }
  .uniform { fill: none; stroke: #cf222e; stroke-width: 2; }
  .random { fill: none; stroke: #59636e; stroke-width: 2; }
  @media (prefers-color-scheme: dark) {
    .card { fill: #0d1117; stroke: #3d444d; }
    text { fill: #f0f6fc; } .quiet, .origin { fill: #9198a1; }
    .line { stroke: #3d444d; } .track { fill: #212830; }
    .weight, .found { fill: #58a6ff; } .activation { fill: #d29922; }
    .front { stroke: #58a6ff; } .uniform { stroke: #ff7b72; } .random { stroke: #9198a1; }
  }
"""


def text(x: float, y: float, words: str, style: str = "") -> str:
    """One line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}">{escape(words)}</text>'


def mark(kind: str, x: float, y: float) -> str:
    """A point of the right panel: a disc, a square or a cross."""
    if kind == "found":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5.5" class="found"/>'
    if kind == "uniform":
        return f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10" class="uniform"/>'
    return f'<path d="M{x - 5:.1f} {y - 5:.1f} l10 10 m0 -10 l-10 10" class="random"/>'


def bars(allocation: dict[str, Any], trial: int) -> list[str]:
    """The left panel: for each layer a bar of weight bits above a bar of activation bits."""
    left, right = LEFT
    layers = allocation["layers"]
    row = (BOTTOM - TOP) / len(layers)
    thick = min(12.0, row * 0.3)
    drawn = [
        text(28, 40, "How many bits each layer got", "title"),
        text(28, 60, f"best allocation of the run (trial {trial})", "quiet"),
    ]
    for i, layer in enumerate(layers):
        middle = TOP + (i + 0.5) * row
        drawn.append(text(left - 12, middle + 4, layer["name"], "end"))
        for target, y in (("weight", middle - thick - 1), ("activation", middle + 1)):
            bits = (layer["targets"].get(target) or {}).get("bits")
            if bits is None:
                continue
            long = (right - left) * min(bits, MOST_BITS) / MOST_BITS
            drawn += [
                f'<rect x="{left}" y="{y:.1f}" width="{right - left}" height="{thick:.1f}" class="track"/>',
                f'<rect x="{left}" y="{y:.1f}" width="{long:.1f}" height="{thick:.1f}" class="{target}"/>',
                text(right + 8, y + thick - 1.5, str(bits), "quiet"),
            ]
    for place, target in ((left, "weight"), (left + 96, "activation")):
        drawn += [
            f'<rect x="{place}" y="{BOTTOM + 25}" width="12" height="12" class="{target}"/>',
            text(place + 18, BOTTOM + 36, f"{target}s", "quiet"),
        ]
    return drawn


def front(members: list[dict[str, Any]]) -> list[str]:
    """The right panel: validation accuracy over BitOPs (logarithmic)."""
    points = {kind: [at for member in members if (at := place(member, kind))] for kind in KINDS}
    every = [at for found in points.values() for at in found]
    costs, accuracies = [cost for cost, _ in every], [accuracy for _, accuracy in every]
    low, high = math.floor(min(accuracies)) - 0.5, math.ceil(max(accuracies)) + 0.5
    left, right = RIGHT
    cheap, dear = math.log(min(costs)) - 0.25, math.log(max(costs)) + 0.25

    def x(cost: float) -> float:
        return left + (math.log(cost) - cheap) / (dear - cheap) * (right - left)

    def y(accuracy: float) -> float:
        return BOTTOM - (accuracy - low) / (high - low) * (BOTTOM - TOP)

    drawn = [
        text(left - 50, 40, "The front, and equal budgets spent otherwise", "title"),
        text(left - 50, 60, "validation accuracy over BitOPs; a point is one training", "quiet"),
        f'<line x1="{left}" y1="{BOTTOM}" x2="{right}" y2="{BOTTOM}" class="line"/>',
    ]
    for accuracy in range(math.ceil(low), math.floor(high) + 1):
        drawn.append(f'<line x1="{left}" y1="{y(accuracy):.1f}" x2="{right}" y2="{y(accuracy):.1f}" class="line"/>')
        drawn.append(text(left - 10, y(accuracy) + 4, f"{accuracy} %", "quiet end"))
    round_costs = [scale * 10**power for power in range(1, 15) for scale in (1, 2, 5)]
    ticks = [cost for cost in round_costs if cheap <= math.log(cost) <= dear]
    drawn += [text(x(cost), BOTTOM + 18, short(cost), "quiet middle") for cost in ticks]
    drawn.append(text(right, BOTTOM + 36, "BitOPs of one image", "quiet end"))
    if len(points["found"]) > 1:
        steps = " L".join(f"{x(cost):.1f} {y(accuracy):.1f}" for cost, accuracy in sorted(points["found"]))
        drawn.append(f'<path d="M{steps}" class="front"/>')
    for kind in KINDS:  # the open marks above the disc: where all three agree, all three are seen
        drawn += [mark(kind, x(cost), y(accuracy)) for cost, accuracy in points[kind]]
    for i, kind in enumerate(KINDS):
        drawn += [mark(kind, right + 24, TOP + 12 + 26 * i), text(right + 38, TOP + 16 + 26 * i, kind)]
    return drawn


def place(member: dict[str, Any], kind: str) -> tuple[float, float] | None:
    """(BitOPs, validation accuracy in percent) of one network."""
    measured = member if kind == "found" else member["baselines"].get(kind)
    if measured is None:
        return None
    metrics = measured["metrics"]
    return metrics["bitops"], 100 * metrics["validation_accuracy"]


def short(number: float) -> str:
    """`50 k` for 50000."""
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= unit:
            return f"{number / unit:g}{name}"
    return f"{number:g}"


def origin(run: RunDirectory) -> str:
    """The command, seed, date, hardware and the experiment's hash, in one line."""
    experiment = load_experiment(run.experiment)
    machine = json.loads(run.environment.read_text(encoding="utf-8"))
    parts = (
        shlex.join(machine["command"]),
        f"seed {experiment.study.seed}",
        machine["started"][:10],
        f"{machine['cpu_count']} cores, torch {machine['packages']['torch']}",
        f"experiment {fingerprint(experiment)}",
    )
    return " · ".join(parts)


def write_csv(path: Path, heading: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """One table of the picture."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([heading, *rows])


def write_tables(picture: Path, members: list[dict[str, Any]], allocation: dict[str, Any]) -> None:
    """What either panel shows, as CSV beside the picture."""
    bits = [
        (layer["name"], *((layer["targets"].get(target) or {}).get("bits") for target in ("weight", "activation")))
        for layer in allocation["layers"]
    ]
    write_csv(picture.with_name(f"{picture.stem}-bits.csv"), ("layer", "weight_bits", "activation_bits"), bits)
    points = [
        (member["trial"], kind, *at) for kind in KINDS for member in members if (at := place(member, kind)) is not None
    ]
    heading = ("trial", "allocation", "bitops", "validation_accuracy_percent")
    write_csv(picture.with_name(f"{picture.stem}-front.csv"), heading, points)


def read(run: RunDirectory) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """The best trial of a run, its allocation, and the front."""
    pareto = json.loads((run.path / "pareto.json").read_text(encoding="utf-8"))
    best = next(member for member in pareto["front"] if member["trial"] == pareto["best"])
    return best, json.loads((run.path / best["allocation"]).read_text(encoding="utf-8")), pareto["front"]


def draw(run: RunDirectory) -> str:
    """The picture of one run directory."""
    best, allocation, members = read(run)
    bits = ", ".join(f"{layer['name']} {layer['targets']['weight']['bits']}" for layer in allocation["layers"])
    label = f"Weight bits of each layer: {bits}. The front of the run beside uniform and random allocations."
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
            f'height="{HEIGHT}" role="img" aria-label="{escape(label)}">',
            f"<style>{STYLE}</style>",
            f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="8" class="card"/>',
            *bars(allocation, best["trial"]),
            *front(members),
            text(28, HEIGHT - 16, origin(run), "origin"),
            "</svg>\n",
        ]
    )


def main() -> None:
    """Draw the picture of the run directory that is named."""
    parser = argparse.ArgumentParser(description="Draw a run as SVG.")
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument("-o", "--output", type=Path, required=True, help="SVG file to write")
    given = parser.parse_args()
    run = RunDirectory(given.run)
    given.output.write_text(draw(run), encoding="utf-8")
    _, allocation, members = read(run)
    write_tables(given.output, members, allocation)


if __name__ == "__main__":
    main()
