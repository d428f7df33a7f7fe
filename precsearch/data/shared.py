"""One copy of a data set for all processes of a machine: loaded by the first, mapped from a file by all.

Off unless a process asks for it, as the workers of a Ray node do. A mapped file's pages are in memory once,
however many processes read them.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from precsearch.data.dataset import DataSet, Split
from precsearch.data.look import Look
from precsearch.experiment import DataSettings
from precsearch.files import shared_data_folder

_USERS: Final = ".users"  # locked by every process that uses the folder, so that one nobody uses can be told
_SPLITS: Final = ("train", "validation", "test")
_held: list[tuple[Path, IO[bytes]]] = []


def share_data(name: str) -> None:
    """From now on, load each data set once for all processes of this machine that gave the same `name`.

    Other folders that nobody uses any more are removed, since whoever used them may have been killed. That of
    `name` is not: who looked at the data before the trials has often ended when their workers come.
    """
    if _held:
        return
    place = shared_data_folder(name)
    remove_unused(but=place)
    while True:
        place.mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            file = (place / _USERS).open("ab")
            fcntl.flock(file, fcntl.LOCK_SH)
            if (place / _USERS).exists():  # or another process removed it between the two
                _held.append((place, file))
                return
            file.close()


def remove_unused(but: Path | None = None) -> None:
    """Remove the folders of this user that no living process holds; `but` stays."""
    for place in set(Path(tempfile.gettempdir()).glob(shared_data_folder("*").name)) - {but}:
        with contextlib.suppress(OSError), (place / _USERS).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(place, ignore_errors=True)


def loaded_once(settings: DataSettings, load: Callable[[], DataSet]) -> DataSet:
    """The data set that `load` makes of `settings`; from the shared file where `share_data` was called."""
    if not _held:
        return load()
    key = hashlib.sha256(settings.model_dump_json().encode()).hexdigest()[:16]
    path = _held[0][0] / f"{key}.safetensors"
    unshared = path.with_suffix(".files")  # images that are read from their own files stay there
    if unshared.exists():
        return load()
    with _locked(path.with_suffix(".lock")):
        if not path.is_file():
            data = load()
            if not all(isinstance(getattr(data, name), Split) for name in _SPLITS):
                unshared.touch()
                return data
            _write(path, data)
    return _read(path)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write(path: Path, data: DataSet) -> None:
    tensors: dict[str, Tensor] = {}
    looks: dict[str, list[tuple[float, ...]]] = {}
    for name in _SPLITS:
        split = getattr(data, name)
        # cloned: splits are often parts of one tensor, which the format refuses
        tensors[f"{name}.inputs"] = split.inputs.clone(memory_format=torch.contiguous_format)
        tensors[f"{name}.targets"] = split.targets.clone(memory_format=torch.contiguous_format)
        looks[name] = [split.look.mean, split.look.std]
    about = {"name": data.name, "classes": str(data.classes), "checksum": data.checksum, "looks": json.dumps(looks)}
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata=about)
    partial.replace(path)


def _read(path: Path) -> DataSet:
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
        looks = {name: Look(*map(tuple, look)) for name, look in json.loads(about["looks"]).items()}
        splits = {n: Split(file.get_tensor(f"{n}.inputs"), file.get_tensor(f"{n}.targets"), looks[n]) for n in _SPLITS}
    return DataSet(about["name"], **splits, classes=int(about["classes"]), checksum=about["checksum"])
