"""Files of weights: torch's and safetensors', told apart by content, read without running anything in them."""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from precsearch.errors import ModelError

# Where training scripts keep the state dict among epochs and optimizers, the most telling first.
_WRAPPERS: Final = ("state_dict", "model_state_dict", "model", "network", "net", "weights")
_DEEPEST: Final = 3
_LENGTH_BYTES: Final = 8  # a safetensors file starts with the length of its JSON header
_SHOWN: Final = 5
# Where quantizers lie in a network, and the float weight that a parametrization keeps.
_QUANTIZER: Final = re.compile(
    r"((?:.*\.)?(?:parametrizations\.[^.]+\.\d+|input_quantizer(?:_\d+)?|gradient_quantizer))\.reach"
)
_ORIGINAL: Final = re.compile(r"((?:.*\.)?)(parametrizations\.([^.]+)\.)original")


@dataclass(frozen=True)
class StateFile:
    """The weights in a file.

    Attributes:
        path: as the user wrote it.
        sha256: first 16 hex digits of the file's SHA-256.
        tensors: name -> value, on the CPU.
        quantized: whether a trial of precsearch left the file; `tensors` are then the float weights in it.
    """

    path: Path
    sha256: str
    tensors: dict[str, Tensor]
    quantized: bool


def read_state_file(given: str | Path, key: str) -> StateFile:
    """Read a state dict, out of the wrappers that training scripts put around it.

    Args:
        given: the path; a relative one starts from the current directory.
        key: where the user wrote it, such as ``model.checkpoint``.

    Raises:
        ModelError: the file is missing or damaged, holds anything but data, or no weights.
    """
    path = Path(given).expanduser()
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as problem:
        raise ModelError(f"`{key}`: cannot read {path.absolute()} ({problem.strerror}){_hint(path)}") from None
    loaded = _read_safetensors(path, key) if _is_safetensors(path) else _read_torch(path, key)
    tensors = _unwrapped(loaded, path, key)
    quantizers = {found[1] for name in tensors if (found := _QUANTIZER.fullmatch(name))}
    return StateFile(path, digest, _float_weights(tensors, quantizers) if quantizers else tensors, bool(quantizers))


def some(names: list[str]) -> str:
    """A handful of names, and how many more there are."""
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _hint(path: Path) -> str:
    inside = path / "weights.safetensors"
    if inside.is_file():
        return f"; give {inside}"
    return "; give a file that holds a state dict: .pth, .pt or .safetensors"


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(_LENGTH_BYTES + 1)
    length = int.from_bytes(start[:_LENGTH_BYTES], "little")
    return start[_LENGTH_BYTES:] == b"{" and length <= path.stat().st_size


def _read_safetensors(path: Path, key: str) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as problem:
        raise _damaged(path, key, problem) from None
    return tensors


def _read_torch(path: Path, key: str) -> Any:
    try:
        with path.open("rb") as file, warnings.catch_warnings():  # by its name, torch would take some for safetensors
            warnings.simplefilter("ignore")  # what torch says of TorchScript archives is an error below as well
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as problem:
        found = re.search(r"GLOBAL ([\w.]+)", str(problem))
        if found is None:
            raise _damaged(path, key, problem) from None
        raise ModelError(
            f"`{key}`: a file of plain tensors must be given, but {path} holds Python objects ({found[1]}), and "
            "loading those can run any code, so it is refused; where you trust it, load it yourself and write the "
            "weights alone: torch.save(model.state_dict(), 'weights.pth')"
        ) from None
    except Exception as problem:  # damaged bytes make the unpickler raise whatever it meets
        raise _damaged(path, key, problem) from None


def _damaged(path: Path, key: str, problem: Exception) -> ModelError:
    reason = (str(problem).splitlines() or [""])[0].partition(". ")[0]
    return ModelError(
        f"`{key}`: a state dict that torch.save or safetensors wrote must be given, but {path} cannot be read as one "
        f"({type(problem).__name__}: {reason}); is it cut short, a web page, or a whole model?"
    )


def _unwrapped(loaded: Any, path: Path, key: str) -> dict[str, Tensor]:
    found = loaded
    for _ in range(_DEEPEST):
        inner = [found[name] for name in _WRAPPERS if isinstance(found, Mapping) and name in found]
        mappings = [each for each in inner if isinstance(each, Mapping)]
        if not mappings:
            break
        found = mappings[0]
    if isinstance(found, Mapping):
        tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
        if tensors:
            return tensors
        holds = f"the keys {some([str(name) for name in found])}" if found else "nothing"
    else:
        holds = f"a {type(found).__name__}"
    raise ModelError(
        f"`{key}`: a state dict (name -> tensor) must be in the file, alone or under one of {', '.join(_WRAPPERS)}, "
        f"but {path} holds {holds}; write one with torch.save(model.state_dict(), 'weights.pth')"
    )


def _float_weights(tensors: dict[str, Tensor], quantizers: set[str]) -> dict[str, Tensor]:
    """What a quantized model learned, by the names that its float model has."""
    kept = {name: tensor for name, tensor in tensors.items() if name.rpartition(".")[0] not in quantizers}
    for name in list(kept):
        found = _ORIGINAL.fullmatch(name)
        # where the network parametrizes the weight as well, its float model keeps it under this very name
        if found and sum(other.startswith(found[1] + found[2]) for other in kept) == 1:
            kept[found[1] + found[3]] = kept.pop(name)
    return kept
