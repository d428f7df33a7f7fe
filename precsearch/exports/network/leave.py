"""Writing a network, running again what was written, and leaving it only where it runs as the network does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import torch
from torch import Tensor

from precsearch.errors import ExportError
from precsearch.exports.network.network import Network
from precsearch.exports.network.ties import with_roundings
from precsearch.exports.report import ExportReport, Rerun, Written
from precsearch.files import write_atomically

Run = Callable[[Tensor], Tensor]
Watched = Callable[[Tensor], tuple[Tensor, list[Tensor]]]
_BATCH: Final = 50  # inputs whose every rounded value is in memory at once


class NetworkFormat(Protocol):
    """A format that holds a whole network.

    Attributes:
        name: of the format.
        tolerance: how far an output may be from torch's, in parts of torch's largest output.
    """

    name: str
    tolerance: float

    def write(self, network: Network, path: Path) -> Written:
        """Write `network` to `path`.

        Raises:
            ExportError: when the format cannot hold it.
        """

    def read(self, network: Network, path: Path) -> Run:
        """What runs the file at `path`, inputs [B, ...] -> outputs; of `network` only what the file leaves out."""

    def watch(self, network: Network, path: Path) -> Watched | None:
        """What runs the file and tells what it rounded: inputs [B, ...] -> outputs, quantized inputs of the layers.

        These are in the order of the forward, and in torch's layout. None where torch runs the file too, or what it
        rounds cannot be seen: then no output may be beyond the tolerance.
        """


def leave(network: Network, how: NetworkFormat, output: Path) -> ExportReport:
    """Write a network, whole and found to run as it does, or not at all.

    Args:
        network: to export.
        how: the format.
        output: the file.

    Raises:
        ExportError: when the format cannot hold it, or the written file does not run as the network does.
        RunDirectoryError: when `output` cannot be written.
    """
    told: list[tuple[Written, Rerun, int]] = []

    def write(temporary: Path) -> None:
        written = how.write(network, temporary)
        told.append((written, run_again(network, how, temporary), temporary.stat().st_size))

    write_atomically(output, write)
    written, rerun, size = told[0]
    return ExportReport(
        format=how.name,
        output=str(output),
        size=size,
        float_size=network.float_size,
        model_size=network.allocation.cost.model_size,
        written=written,
        rerun=rerun,
    )


def run_again(network: Network, how: NetworkFormat, path: Path) -> Rerun:
    """Run the file on the network's inputs, and hold it against torch.

    Raises:
        ExportError: when an output is further away than the format's tolerance.
    """
    outputs, expected = how.read(network, path)(network.inputs), network.outputs
    if outputs.shape != expected.shape:
        raise ExportError(
            f"{how.name}: the written file returns {tuple(outputs.shape)} where torch returns {tuple(expected.shape)}; "
            "nothing was left; please report this"
        )
    distances, agreement = distances_of(outputs, expected), share(outputs.argmax(1) == expected.argmax(1))
    far = ~(distances <= how.tolerance)  # NaN as well
    excused = bool(far.any()) and _only_ties(network, how, path, network.inputs[far])
    difference = max((distances[~far] if excused else distances).tolist(), default=0.0)
    if far.any() and not excused:
        raise ExportError(
            f"{how.name}: the written file must run as the network does, within {how.tolerance:g} of its largest "
            f"output, but differs by {difference:.3g} on {len(outputs)} inputs ({100 * agreement:.1f} % have the same "
            "answer); nothing was left; please report this"
        )
    right, torch_right = (
        (None, None)
        if network.targets is None
        else (share(outputs.argmax(1) == network.targets), share(expected.argmax(1) == network.targets))
    )
    return Rerun(
        inputs=len(outputs),
        difference=difference,
        tolerance=how.tolerance,
        ties=int(far.sum()),
        agreement=agreement,
        accuracy=right,
        torch_accuracy=torch_right,
    )


def distances_of(outputs: Tensor, expected: Tensor) -> Tensor:
    """How far the outputs of each input are from torch's, in parts of torch's largest output, [N]."""
    largest = expected.abs().max().clamp_min(1e-30)
    return (outputs - expected).abs().flatten(1).amax(1) / largest


def _only_ties(network: Network, how: NetworkFormat, path: Path, inputs: Tensor) -> bool:
    """Whether torch returns what the file does once values between two levels are rounded as the file rounds them."""
    watched = how.watch(network, path)
    if watched is None:
        return False
    largest = network.outputs.abs().max()
    for batch in torch.split(inputs, _BATCH):
        outputs, rounded = watched(batch)
        expected = with_roundings(network.model, batch, rounded)
        if expected is None or not bool(((outputs - expected).abs() <= how.tolerance * largest).all()):
            return False
    return True


def share(which: Tensor) -> float:
    """Fraction of `which` that is true, 0 to 1."""
    return float(which.to(torch.float64).mean())
