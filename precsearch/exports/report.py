"""What an export wrote, how it holds what was searched, and how it ran when it was run again."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Kept(_Frozen):
    """How one target of one layer is held.

    Attributes:
        layer: its name.
        target: ``weight`` or ``activation``.
        bits: as searched; None where it stays in float32.
        held_as: the format's own word for it, such as ``INT4``; ``left out`` where it holds nothing of it.
        why: what the format cannot do, where `held_as` is not the bits that were searched; None where it is.
    """

    layer: str
    target: str
    bits: int | None
    held_as: str
    why: str | None = None


class Written(_Frozen):
    """What a format says of a file that it wrote.

    Attributes:
        kept: every target that was searched, in the order of the layers.
        notes: what else is to know, a sentence each.
        header: bytes of the file that are neither weights, scales nor float parameters; None where it is not known.
    """

    kept: tuple[Kept, ...] = ()
    notes: tuple[str, ...] = ()
    header: int | None = None


class WrittenText(_Frozen):
    """An allocation in a format of text.

    Attributes:
        text: of the file.
        kept: every target that was searched, in the order of the layers; empty for a format that holds all of it.
        notes: what else is to know, a sentence each.
    """

    text: str
    kept: tuple[Kept, ...] = ()
    notes: tuple[str, ...] = ()


class Rerun(_Frozen):
    """How the written file ran on real inputs, held against the network in torch.

    Attributes:
        inputs: how many.
        difference: the largest distance of an output from torch's, in parts of torch's largest output, ties aside.
        tolerance: what `difference` may be.
        ties: inputs that are further away, as torch rounds a value of theirs that lies between two levels.
        agreement: fraction of the inputs with the same largest output, 0 to 1.
        accuracy: fraction of the inputs that the file gets right; None where the right answers are not known.
        torch_accuracy: the same of the network in torch.
    """

    inputs: int
    difference: float
    tolerance: float
    ties: int = 0
    agreement: float
    accuracy: float | None = None
    torch_accuracy: float | None = None


class ExportReport(_Frozen):
    """One exported network.

    Attributes:
        format: its name.
        output: path of the file.
        size: of the file, bytes.
        float_size: bytes of the network's parameters and buffers in float32.
        model_size: bytes that the allocation promised, `cost.model_size`.
        written: what the format says of it.
        rerun: how it ran.
    """

    format: str
    output: str
    size: int
    float_size: int
    model_size: int
    written: Written
    rerun: Rerun
