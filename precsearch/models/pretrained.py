"""torchvision's pretrained weights: by name, fetched once into torch's own cache, or from a file."""

from __future__ import annotations

import re
import sys
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlparse

import torch

from precsearch.errors import ModelError
from precsearch.experiment.task import is_weights_file
from precsearch.files import patient_download
from precsearch.imports import nearest
from precsearch.models.starts import load_start
from precsearch.models.state_file import read_state_file

KEY: Final = "model.weights"
_DEFAULT: Final = "DEFAULT"
_HASH: Final = re.compile(r"-([a-f0-9]{8,})\.")  # torch's naming: the file's SHA-256 starts with it


def weights_entry(models: Any, name: str, weights: object) -> Any:
    """The entry of torchvision's enumeration that `model.weights` names; None where it is a file.

    Args:
        models: the module ``torchvision.models``.
        name: of the model.
        weights: what the user wrote.

    Raises:
        ModelError: it is neither a name of this model's weights nor a path.
    """
    if isinstance(weights, str) and is_weights_file(weights):
        return None
    known = models.get_model_weights(name)
    if isinstance(weights, str):
        short = weights.rpartition(".")[2] if weights.startswith(f"{known.__name__}.") else weights
        if short in known.__members__:
            return known[short]
    names = list(dict.fromkeys([_DEFAULT, *known.__members__]))
    raise ModelError(
        f"`{KEY}` of {name} must be one of {', '.join(names)}, or a path to a .pth or .safetensors file, but got "
        f"{weights!r}{nearest(str(weights), names)}"
    )


def load_weights(model: Any, name: str, weights: str, entry: Any, classes: int) -> None:
    """Give `model` pretrained weights.

    Args:
        model: as torchvision built it.
        name: of the model.
        weights: what the user wrote: a path where `entry` is None.
        entry: from `weights_entry`.
        classes: width of the output.

    Raises:
        ModelError: they cannot be fetched or read, or do not fit.
    """
    if entry is None:
        load_start(model, read_state_file(weights, KEY), classes, KEY)
        return
    file = _fetched(name, entry)
    try:
        state = read_state_file(file, KEY)
    except ModelError as problem:
        raise ModelError(f"{problem} Delete it, and it is fetched again") from None
    load_start(model, state, classes, KEY, f"{name} {entry.name}")


def _fetched(name: str, entry: Any) -> Path:
    """The file in torch's cache; fetched beside it and renamed where it is missing."""
    url = str(entry.url)
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    if file.is_file():
        return file
    prefix = _HASH.search(file.name)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with patient_download():
            torch.hub.download_url_to_file(url, str(file), prefix[1] if prefix else None, progress=sys.stderr.isatty())
    except (OSError, RuntimeError, HTTPException, EOFError) as problem:
        told = " ".join(str(problem).split()) or type(problem).__name__
        raise ModelError(
            f"`{KEY}`: cannot fetch {entry.name} of {name} from {url} ({told}); fetch it where there is a network and "
            f"put it at {file}, or name your copy: `{KEY}: path/to/{file.name}`; or leave `weights` out and start at "
            "random"
        ) from None
    return file
