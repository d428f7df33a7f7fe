"""Writing a network, running again what was written, and leaving it only where it runs as the network does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import torch
from torch import Tensor

from precsearch.errors import ExportError
from precsearch.exports.network.network import Network
from precsearch.exports.network.ties import rounded_otherwise
from precsearch.exports.report import ExportReport, Rerun, Written
from precsearch.files import write_atomically

Run = Callable[[Tensor], Tensor]
_MOST_TIES: Final = 0.5  # of the inputs: an error may not pass for ties


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
    ties = _ties(network, outputs, distances, how.tolerance)
    difference = float(distances[~ties].max())
    if not difference <= how.tolerance:  # NaN as well
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
        ties=int(ties.sum()),
        agreement=agreement,
        accuracy=right,
        torch_accuracy=torch_right,
    )


def distances_of(outputs: Tensor, expected: Tensor) -> Tensor:
    """How far the outputs of each input are from torch's, in parts of torch's largest output, [N]."""
    largest = expected.abs().max().clamp_min(1e-30)
    return (outputs - expected).abs().flatten(1).amax(1) / largest


def _ties(network: Network, outputs: Tensor, distances: Tensor, tolerance: float) -> Tensor:
    """Inputs that are too far because values between two levels were rounded otherwise, bool [N]; none of too many."""
    far, ties = ~(distances <= tolerance), torch.zeros(len(distances), dtype=torch.bool)
    if int(far.sum()) <= _MOST_TIES * len(distances):
        allowed = tolerance * float(network.outputs.abs().max())
        for at in far.nonzero()[:, 0].tolist():
            one = slice(at, at + 1)
            ties[at] = rounded_otherwise(network.model, network.inputs[one], outputs[one], allowed)
            if not ties[at]:
                break  # it will not be left: the others need no explanation
    return ties


def share(which: Tensor) -> float:
    """Fraction of `which` that is true, 0 to 1."""
    return float(which.to(torch.float64).mean())
