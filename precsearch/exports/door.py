"""The functions that export: from a run, and from a network that a training loop of one's own made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from precsearch.allocation import Allocation
from precsearch.errors import ConfigurationError
from precsearch.exports.choice import choose
from precsearch.exports.formats import AllocationFormat, format_named
from precsearch.exports.report import ExportReport, WrittenText
from precsearch.files import write_text
from precsearch.results import RunDirectory

if TYPE_CHECKING:
    from torch import Tensor, nn

IMAGES = 1000


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        format: its name.
        allocation: the bits of every layer.
        written: the allocation in a format of text, and how it holds it; None for a whole network.
        report: how a whole network was written, and ran when it was run again; None for an allocation.
    """

    format: str
    allocation: Allocation
    written: WrittenText | None = None
    report: ExportReport | None = None

    @property
    def text(self) -> str | None:
        """The allocation in a format of text; None for a whole network."""
        return None if self.written is None else self.written.text


def export(
    run: RunDirectory | str | Path,
    format: str = "json",
    output: str | Path | None = None,
    *,
    trial: int | None = None,
    budget: float | None = None,
    knee: bool = False,
    training: str | None = None,
    images: int = IMAGES,
) -> Exported:
    """Export one allocation of a run, or its network; the best one unless the arguments say otherwise.

    Args:
        run: a run directory, finished or not; never written to.
        format: a key of `FORMATS`.
        output: file to write, whole or not at all; needed for whole networks.
        trial: number of a trial; with `budget`, of one whose budget has a range.
        budget: in the budget kind's unit; what the trial answers at this limit, where its budget has a range, else
            the best trial whose limit is at most this.
        knee: the knee of the front.
        training: of a run of kind compare or grid, by its name, such as ``0003-uniform-02``.
        images: of the test split that a written network is run on, the first so many, >= 1.

    Raises:
        ConfigurationError: for an unknown format, or when no trial matches.
        ExportError: when the format cannot hold the network, or what was written does not run as the network does.
    """
    how = format_named(format)
    choice = choose(RunDirectory(run) if isinstance(run, str | Path) else run, trial, budget, knee, training)
    if isinstance(how, AllocationFormat):
        return _export_text(how, format, choice.allocation, output)
    to = _output(format, output)
    from precsearch.exports.network.leave import leave
    from precsearch.exports.network.restore import restore

    if images < 1:
        raise ConfigurationError(f"a written network is run on 1 image or more, but got {images}")
    return Exported(format, choice.allocation, report=leave(restore(choice, images), how.load(), to))


def export_model(
    model: nn.Module,
    allocation: Allocation,
    format: str = "json",
    output: str | Path | None = None,
    *,
    inputs: Tensor | None = None,
    targets: Tensor | None = None,
) -> Exported:
    """Export a network that a training loop of one's own made: after `SearchableModel.freeze` or `apply_allocation`.

    Args:
        model: quantized, with known ranges; its mode is restored.
        allocation: that it computes with.
        format: a key of `FORMATS`.
        output: file to write, whole or not at all; needed for whole networks.
        inputs: real ones that a written network is run on again, [N, ...], float32; needed for whole networks.
        targets: the right classes, int64 [N], to tell the accuracy.

    Raises:
        ConfigurationError: for an unknown format, or when something that it needs is missing.
        ExportError: when the format cannot hold the network, or what was written does not run as the network does.
    """
    how = format_named(format)
    if isinstance(how, AllocationFormat):
        return _export_text(how, format, allocation, output)
    to = _output(format, output)
    if inputs is None:
        raise ConfigurationError(f"format {format!r} runs what it wrote again, on real inputs; give `inputs`")
    from precsearch.exports.network.leave import leave
    from precsearch.exports.network.network import Network

    training = model.training
    try:
        network = Network(allocation.model.name, model.eval(), allocation, inputs, targets)
        return Exported(format, allocation, report=leave(network, how.load(), to))
    finally:
        model.train(training)


def _export_text(how: AllocationFormat, name: str, allocation: Allocation, output: str | Path | None) -> Exported:
    written = how.write(allocation)
    if output is not None:
        write_text(Path(output), written.text)
    return Exported(name, allocation, written)


def _output(name: str, output: str | Path | None) -> Path:
    if output is None:
        raise ConfigurationError(f"format {name!r} is a file of its own; name it with --output (`output=` in Python)")
    return Path(output)
