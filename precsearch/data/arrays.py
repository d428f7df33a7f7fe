"""Arrays from a file: features of speech, of sensors, images; whatever has one label a sample."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from precsearch.data.checks import as_split, check_data_set
from precsearch.data.dataset import DataSet, Split
from precsearch.data.splits import SPLIT_SEED, hold_out
from precsearch.errors import DataError
from precsearch.experiment import ArraySettings, DataSettings, data_keys
from precsearch.imports import nearest

_PARTS: Final = ("inputs", "targets")
_NEEDED: Final = tuple(f"{split}_{part}" for split in ("train", "test") for part in _PARTS)
_VALIDATION: Final = tuple(f"validation_{part}" for part in _PARTS)
_BRIGHTEST: Final = 255.0
_PICTURES: Final = 4  # dimensions of a batch of them
_SHOWN: Final = 8
_ROWS: Final = 65536
_DUST: Final = 1e-20


def load_arrays(settings: DataSettings) -> DataSet:
    """Load the arrays at ``data.path``.

    Args:
        settings: `path`, `normalize` and `validation` are used; the last where the file has no validation arrays.

    Returns:
        Inputs [N, ...] float32, 8-bit ones divided by 255; as many classes as the training targets have; the training
        split in random order, the same for every trial.

    Raises:
        DataError: the file is missing, damaged or holds Python objects; an array is missing, or is not what it must be.
    """
    keys = data_keys(settings)
    assert isinstance(keys, ArraySettings)
    path = Path(keys.path).expanduser()
    arrays = _read(path)
    _check_names(arrays, path)
    train, test = (_split(arrays, split, path) for split in ("train", "test"))
    classes = _classes(train.targets, path)
    if _VALIDATION[0] in arrays:
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(SPLIT_SEED))
        train, validation = train.select(order), _split(arrays, "validation", path)
    else:
        train, validation = hold_out(train, settings.validation)
    data = check_data_set(DataSet("arrays", train, validation, test, classes), str(path))
    return DataSet("arrays", *_standardized(train, validation, test), classes) if keys.normalize else data


def _read(path: Path) -> Mapping[str, Any]:
    """Name -> array or tensor."""
    if path.is_dir():
        files = sorted(path.glob("*.npy"))
        return {file.stem: _guarded(file, _read_npy) for file in files}
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"`data.path`: a file that ends in {' or '.join(_READERS)}, or a folder of .npy files, must be given, but "
            f"got {path}" + ("" if path.exists() else ", which is not there")
        )
    arrays: Mapping[str, Any] = _guarded(path, reader)
    return arrays


def _guarded(path: Path, reader: Callable[[Path], Any]) -> Any:
    try:
        return reader(path)
    except FileNotFoundError:
        raise DataError(
            f"`data.path`: {path} is not there; a relative path starts from the current directory"
        ) from None
    except Exception as problem:  # damaged bytes make readers raise whatever they meet
        told = " ".join(str(problem).split())
        if "pickle" in told or "Object arrays" in told:
            raise DataError(
                f"`data.path`: arrays of plain numbers must be given, but {path} holds Python objects (pickled), and "
                "loading those can run any code, so it is refused; write arrays of a number type with numpy.savez"
            ) from None
        raise DataError(
            f"`data.path`: cannot read {path} ({type(problem).__name__}: {told}); it must be a whole file, as "
            "numpy.savez, numpy.save or safetensors writes it"
        ) from None


def _read_npy(path: Path) -> Any:
    with path.open("rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _read_npz(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path):  # numpy would take whatever else has this name for a pickle
        pass
    with np.load(path, allow_pickle=False) as archive:
        wanted = {name: archive[name] for name in archive.files if name in (*_NEEDED, *_VALIDATION)}
        strange = [name for name, array in wanted.items() if not isinstance(array, np.ndarray)]
        if strange:
            raise ValueError(f"{strange[0]} in it is no array")
        return dict.fromkeys(archive.files) | wanted


_READERS: Final[dict[str, Callable[[Path], Mapping[str, Any]]]] = {".npz": _read_npz, ".safetensors": load_file}


def _check_names(arrays: Mapping[str, Any], path: Path) -> None:
    partly = any(name in arrays for name in _VALIDATION)
    missing = [name for name in (*_NEEDED, *(_VALIDATION if partly else ())) if name not in arrays]
    if missing:
        others = [name for name in arrays if name not in (*_NEEDED, *_VALIDATION)]
        hint = nearest(missing[0], others)
        has = ", ".join(list(arrays)[:_SHOWN]) or "no arrays"
        raise DataError(
            f"`data.path`: the arrays {', '.join(_NEEDED)} must be there (and both of {' and '.join(_VALIDATION)}, or "
            f"none), but {path} lacks {', '.join(missing)}; it has {has}{hint}"
        )


def _split(arrays: Mapping[str, Any], split: str, path: Path) -> Split:
    inputs, targets = (arrays[f"{split}_{part}"] for part in _PARTS)
    if isinstance(targets, Tensor) and targets.dtype in (torch.uint16, torch.uint32, torch.uint64):
        targets = targets.to(torch.int64)
    return as_split((_floats(inputs), targets), f"{path}: {split}")


def _floats(inputs: Any) -> Any:
    """Whole numbers as floats; those of 8 bits as parts of the brightest, like the pixels of every other data set."""
    eight_bits = inputs.dtype in (torch.uint8, np.dtype("uint8"))
    if isinstance(inputs, Tensor):
        whole = not inputs.is_floating_point() and not inputs.is_complex()
        return inputs.to(torch.float32) / (_BRIGHTEST if eight_bits else 1.0) if whole else inputs
    if inputs.dtype.kind in "iub":
        return inputs.astype(np.float32) / np.float32(_BRIGHTEST if eight_bits else 1.0)
    return inputs


def _classes(targets: Tensor, path: Path) -> int:
    """How many there are, each of them in the training targets."""
    found = torch.unique(targets).tolist()
    if found[0] < 0 or found != list(range(len(found))):
        shown = ", ".join(map(str, found[:_SHOWN])) + (", ..." if len(found) > _SHOWN else "")
        raise DataError(
            f"{path}: train_targets must be class indices 0, 1, 2, ... without gaps, but their values are {shown}; "
            "number the classes from 0: `numpy.unique(targets, return_inverse=True)[1]`"
        )
    return len(found)


def _standardized(train: Split, validation: Split, test: Split) -> tuple[Split, Split, Split]:
    """The three by what the training split has."""
    over = [0, *range(2, train.inputs.ndim)] if train.inputs.ndim == _PICTURES else [0]
    # part by part: the whole in double precision may be too much
    parts = torch.split(train.inputs, _ROWS)
    mean = torch.stack([part.double().sum(over, keepdim=True) for part in parts]).sum(0)
    count = train.inputs.numel() // mean.numel()
    mean /= count
    power = torch.stack([(part.double() - mean).square().sum(over, keepdim=True) for part in parts]).sum(0) / count
    # what is always the same stays so, at 0, but for the dust of the mean
    std = torch.where(power > _DUST * mean.square(), power.sqrt(), 1.0)

    def standardized(split: Split) -> Split:
        made = [((part.double() - mean) / std).float() for part in torch.split(split.inputs, _ROWS)]
        return Split(torch.cat(made), split.targets)

    return standardized(train), standardized(validation), standardized(test)
