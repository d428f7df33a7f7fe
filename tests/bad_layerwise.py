"""Bad input in what is said of single layers, of measured costs, of images and of weights to start from."""

from __future__ import annotations

from pathlib import Path

import torch
from bad_inputs import Bad
from made_images import draw, make_folder

HEAD = "layer,weight_bits,activation_bits,cost\n"
TABLES = {
    "good.csv": HEAD + "*,,,1\n",
    "column.csv": "layer,bits,cost\nfc1,2,1\n",
    "negative.csv": HEAD + "fc1,,,1\nout,,,-2\n",
    "rows.csv": HEAD + "fc1,,,1\nout,2,,1\nout,4,,2\n",
    "layers.csv": HEAD + "*,,,1\nfc2,,,1\n",
    "falling.csv": HEAD + "*,2,,9\n*,4,,5\n*,8,,1\n",
    "empty.csv": "",
    "cut.json": '[{"layer": "fc1", "cost": 1}, {"lay',
}


def lay_out(home: Path) -> None:
    """The files that the cases name."""
    for name, text in TABLES.items():
        (home / name).write_text(text)
    torch.save({"body.0.weight": torch.zeros(3, 4), "body.0.bias": torch.zeros(3)}, home / "other.pth")
    torch.save({"fc1.weight": torch.zeros(8, 9), "fc1.bias": torch.zeros(8), "out.weight": torch.zeros(10, 8),
                "out.bias": torch.zeros(10)}, home / "narrow.pth")  # fmt: skip
    for name in ("mixed", "corrupt"):
        make_folder(home / name, count=6)
    draw(home / "mixed" / "train" / "dog" / "003.png", (20, 18))
    (home / "corrupt" / "train" / "dog" / "003.png").write_bytes(b"<html>not found</html>")


def asks(inner: str, *says: str, status: int = 2, more: tuple[str, ...] = ()) -> Bad:
    """A key of `inner:`, and further overrides."""
    key, _, value = inner.partition("=")
    assignments = [f"inner.{key}={value}", *more]
    return Bad(list(says), arguments=[word for each in assignments for word in ("--set", each)], status=status)


def table(name: str, *says: str, status: int = 2) -> Bad:
    return asks(f"budget={{kind: latency, limit: 9, table: {name}}}", *says, status=status)


SHARED = ("model={name: 'own:shared'}",)
BAD_LAYERWISE = {
    # tables of measured costs
    "table that is missing": table("nowhere.csv", "nowhere.csv", "No such file", "CSV or JSON", status=1),
    "table that is a folder": table("folder", "table of costs folder", "directory", status=1),
    "table with a wrong column": table("column.csv", "column.csv:2", "'bits'", "weight_bits", status=1),
    "table with a negative cost": table("negative.csv", "negative.csv:3", "number from 0", "'-2'", status=1),
    "table that lacks rows": table("rows.csv", "rows.csv has none for 'out' (Linear) at 8 weight bits", "add a row"),
    "table of another net": table("layers.csv", "layers.csv:3", "no layer 'fc2'", "'fc1'?"),
    "empty table": table("empty.csv", "empty.csv", "is empty", status=1),
    "table cut short": table("cut.json", "cut.json:1:", "not valid JSON", status=1),
    "no table": asks("budget={kind: latency, limit: 9}", "inner.budget", "table"),
    "table of what needs none": asks("budget={kind: bitops, limit: 9e9, table: good.csv}", "`kind: energy`", "bitops"),
    "table that does not bind": table("good.csv", "weight", "must be bound by the budget"),
    # patterns
    "pin of nothing": asks("pin={'c*': 4}", "`pin`", "no layer 'c*'", "fc1, out"),
    "pin of an unknown type": asks("pin={'type:Lienar': 4}", "no type of layer", "did you mean 'type:Linear'?"),
    "candidates of nothing": asks("candidates={fc3: [4]}", "`candidates`", "no layer 'fc3'", "did you mean 'fc1'?"),
    "group of nothing": asks("groups={g: [fc1, 'conv*']}", "`groups.g`", "no layer 'conv*'", "fc1, out"),
    "budget over nothing": asks("budgets={ram: {kind: activation_memory, limit: 9e9, layers: ['conv*']}}",
                                "`layers` of budget ram", "no layer 'conv*'", "fc1, out"),
    # bits of single layers
    "pin out of range": asks("pin={fc1: 17}", "inner.pin", "1 <= bits <= 16", "'fc1'", "17"),
    "pin in words": asks("pin={fc1: flaot}", "inner.pin", "'flaot'", "float"),
    "pin of a target that is not quantized": asks("pin={fc1: {gradient: 4}}", "`pin.fc1` sets the gradient",
                                                  "(weight, activation)", "add it to `targets`"),
    "pin of an unknown target": asks("pin={fc1: {wieght: 4}}", "inner.pin", "'wieght'"),
    "candidates not ascending": asks("candidates={fc1: [4, 2]}", "inner.candidates", "ascending", "'fc1'", "[2, 4]"),
    "no candidates": asks("candidates={fc1: []}", "inner.candidates"),
    # groups
    "pins that disagree in a group": asks(
        "groups={g: [fc1, out]}", "in 'g' fc1 (weight) is pinned to 2 bits, out (weight) is pinned to 4 bits",
        "pin them alike", more=("inner.pin={fc1: {weight: 2}, out: {weight: 4}}",)),
    "candidates that disagree in a group": asks(
        "groups={g: ['*']}", "no bit-width is a candidate of all", "fc1 (weight) has 2", "out (weight) has 4/8",
        "give them one in common", more=("inner.candidates={fc1: [2], out: [4, 8]}",)),
    "pins that disagree of tied weights": asks(
        "pin={'1': 4, '2': 8}", "'tied to 1'", "1 (weight) is pinned to 4 bits, 2 (weight) is pinned", more=SHARED),
    "group of one": asks("groups={g: [out]}", "`groups.g` must name at least two layers", "out is out alone"),
    "group without layers": asks("groups={g: {targets: [weight]}}", "inner.groups", "layers"),
    "group of a target that is not quantized": asks(
        "groups={g: {layers: ['*'], targets: [gradient]}}", "`groups.g.targets` sets the gradient", "`targets`"),
    "unknown share": asks("share=[residuals]", "inner.share", "'residuals'", "residual"),
    "fixed bits that a group forbids": asks(
        "sampler=fixed", "these share one bit-width", "fc1.weight 2, out.weight 3",
        more=("inner.allocation=[2, 3]", "inner.groups={g: ['*']}")),
    # several budgets
    "budgets that contradict each other": asks(
        "budgets={heat: {kind: energy, limit: 2, table: falling.csv}}", "each can be kept alone",
        "average_bits <= 3", "heat (energy) <= 2", "raise one of these limits"),
    "gradients that nothing binds": asks(
        "budget={kind: bitops, limit: 9e9}", "bitops does not count the bits of the gradients", "layer_bits",
        more=("inner.targets=[weight, activation, gradient]",)),
    # weights to start from
    "checkpoint of another net": asks("bits=[2, 4]", "of this Sequential", "other.pth has 4 missing", "body.0.weight",
                                      more=("model.checkpoint=other.pth",)),
    "checkpoint of other widths": asks("bits=[2, 4]", "narrow.pth", "fc1.weight [8, 9] in the file and [8, 64] here",
                                       more=("model.checkpoint=narrow.pth",)),
    # images
    "images of several sizes": Bad(
        ["one size must hold", "003.png has 20 x 18", "image_size"],
        arguments=["--set", "data={name: image_folder, root: mixed, validation: 3}"], status=1),
    "an image that is none": Bad(
        ["dog/003.png is no picture", "replace or delete it"],
        arguments=["--set", "data={name: image_folder, root: corrupt, validation: 3}"], status=1),
}  # fmt: skip
