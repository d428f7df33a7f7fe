"""How long one forward of an exported network takes in onnxruntime, against the same network in float32.

    python -m benchmarks.onnx_latency [--rounds 50] [--json FILE]

Both files are run in one process, in turn, with one thread and the runtime's own optimizations; what is told is the
median of each, and the median of the ratios of neighbours. Weights and inputs are random: time does not depend on them.
Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import precsearch
from precsearch.conversion import calibrate
from precsearch.exports.network.onnx_session import ACCURACY, session
from precsearch.models import MODELS

BATCHES = (1, 32)
SETTINGS = {  # what is quantized: bits of every layer, targets
    "weights 8": (8, ["weight"]),
    "weights 4": (4, ["weight"]),
    "weights 2": (2, ["weight"]),
    "weights and inputs 8": (8, ["weight", "activation"]),
    "weights and inputs 4": (4, ["weight", "activation"]),
    "weights and inputs 2": (2, ["weight", "activation"]),
}
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "lenet5": (lambda: MODELS["lenet5"]((1, 28, 28), 10), (1, 28, 28)),
    "resnet20": (lambda: MODELS["resnet20"]((3, 32, 32), 10), (3, 32, 32)),
    "mlp of 2048": (lambda: MODELS["mlp"]((2048,), 10, hidden=[2048, 2048, 2048]), (2048,)),
}


@dataclass(frozen=True)
class Row:
    """One network, one batch: milliseconds for a forward, and how they compare.

    Attributes:
        network: its name.
        quantized: what of it.
        batch: inputs at once.
        float_ms: median in float32.
        quantized_ms: median of the exported file.
        ratio: median of exported / float32 of neighbouring runs; above 1 the exported file is slower.
        exact_ratio: the same with products computed in float32.
        size: of the exported file in parts of the float32 one.
    """

    network: str
    quantized: str
    batch: int
    float_ms: float
    quantized_ms: float
    ratio: float
    exact_ratio: float
    size: float


def float_file(model: nn.Module, x: Tensor, path: Path) -> None:
    """The network's own export, as torch makes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(), (x,), str(path), dynamo=True, dynamic_shapes=({0: torch.export.Dim("N")},), verbose=False,
            external_data=False,
        )  # fmt: skip


def quantized_file(model: nn.Module, x: Tensor, bits: int, targets: list[Any], path: Path) -> None:
    """The network at these bits, every layer alike."""
    budget = precsearch.Budget("average_bits", float(bits))
    layers = sum(1 for each in model.modules() if isinstance(each, nn.Linear | nn.Conv2d))
    searchable = precsearch.SearchableModel(
        model, budget=budget, example_input=x, bits=[bits], targets=targets, sampler="fixed",
        allocation=[bits] * layers, granularity="channel",
    )  # fmt: skip
    calibrate(searchable, x)
    allocation = searchable.allocation()
    precsearch.export_model(searchable.freeze().eval(), allocation, "onnx", path, inputs=x)


def compare(files: list[Any], x: Tensor, rounds: int) -> list[list[float]]:
    """Milliseconds of each session, run in turn."""
    given = {"x": x.numpy()}
    taken: list[list[float]] = [[] for _ in files]
    for at in range(rounds + 3):
        for own, each in zip(taken, files, strict=True):
            name = each.get_inputs()[0].name
            start = time.perf_counter()
            each.run(None, {name: given["x"]})
            if at >= 3:  # noqa: PLR2004 -- rounds that warm up
                own.append(1e3 * (time.perf_counter() - start))
    return taken


def rows(folder: Path, rounds: int) -> list[Row]:
    """Every network, setting and batch."""
    found = []
    for network, (make, shape) in NETWORKS.items():
        x = torch.rand(max(BATCHES), *shape)
        plain = folder / "float.onnx"
        float_file(make(), x, plain)
        for quantized, (bits, targets) in SETTINGS.items():
            file = folder / "quantized.onnx"
            torch.manual_seed(0)
            quantized_file(make(), x, bits, targets, file)
            sessions = [
                session(str(plain), optimized=True),
                session(str(file), optimized=True),
                session(str(file), optimized=True, accuracy=1),
            ]
            for batch in BATCHES:
                floats, ours, exact = compare(sessions, x[:batch].contiguous(), rounds)
                speed = _ratio(ours, floats), _ratio(exact, floats)
                size = file.stat().st_size / plain.stat().st_size
                medians = statistics.median(floats), statistics.median(ours)
                found.append(Row(network, quantized, batch, *medians, *speed, size))
                print(line(found[-1]), flush=True)
    return found


def line(row: Row) -> str:
    """One row of the table."""
    return (
        f"| {row.network} | {row.quantized} | {row.batch} | {row.float_ms:.2f} | {row.quantized_ms:.2f} | "
        f"{row.ratio:.2f} | {row.exact_ratio:.2f} | {100 * row.size:.0f} % |"
    )


def _ratio(ours: list[float], floats: list[float]) -> float:
    return statistics.median(own / other for own, other in zip(ours, floats, strict=True))


def main() -> None:
    """Print the table, and write it where a file is named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=50, help="runs of each file that count")
    parser.add_argument("--json", type=Path, help="write the rows there too")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| network | quantized | batch | float32 ms | exported ms | ratio | ratio, {ACCURACY}=1 | size |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        found = rows(Path(folder), given.rounds)
    if given.json is not None:
        given.json.write_text(json.dumps([asdict(row) for row in found], indent=2) + "\n")


if __name__ == "__main__":
    main()
