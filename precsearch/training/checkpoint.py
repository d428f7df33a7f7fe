"""Checkpoints of a half-trained trial: one file, written then renamed, loaded without pickle."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save
from torch import nn

from precsearch.errors import RunDirectoryError
from precsearch.files import write_atomically

FOLDER = "checkpoint"
_FILE = "state.pt"


def save_checkpoint(directory: Path, state: dict[str, Any]) -> Path:
    """Write `state` (tensors, numbers, text, lists, dicts) into a trial's directory -> the checkpoint folder."""
    folder = directory / FOLDER
    buffer = io.BytesIO()  # torch's own file writer reports a full disk as a RuntimeError
    torch.save(state, buffer)
    write_atomically(folder / _FILE, lambda path: path.write_bytes(buffer.getbuffer()))
    return folder


def save_weights(model: nn.Module, path: Path) -> None:
    """Write a model's state to a safetensors file, whole or not at all."""
    # copies: safetensors refuses the memory that tied weights share
    weights = save({name: tensor.detach().clone().contiguous() for name, tensor in model.state_dict().items()})
    write_atomically(path, lambda temporary: temporary.write_bytes(weights))


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """Read a checkpoint folder.

    Raises:
        RunDirectoryError: when it cannot be read.
    """
    path = folder / _FILE
    try:
        return cast(dict[str, Any], torch.load(path, weights_only=True, map_location="cpu"))
    except Exception as error:  # damaged bytes make the unpickler raise whatever it meets
        reason = (str(error).splitlines() or [""])[0]
        raise RunDirectoryError(
            f"cannot read the checkpoint {path}: {type(error).__name__}: {reason}; "
            f"delete {folder} to train that trial from its start"
        ) from None
