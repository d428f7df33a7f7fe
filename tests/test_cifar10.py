"""CIFAR-10 as torchvision reads it: original files or none."""

from __future__ import annotations

import hashlib
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_images import load

from precsearch.data import Batches
from precsearch.data.cifar10 import _FILES
from precsearch.errors import DataError
from precsearch.torchvision_import import import_torchvision

torchvision: Any = import_torchvision()
CIFAR10: Any = torchvision.datasets.CIFAR10


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty images a batch, and torchvision told their checksums."""
    place = tmp_path / "data" / "cifar-10-batches-py"
    place.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in _FILES[:-1]:
        pixels = rng.integers(0, 256, (20, 3072), dtype=np.uint8)
        (place / name).write_bytes(pickle.dumps({"data": pixels, "labels": [i % 10 for i in range(20)]}))
    (place / "batches.meta").write_bytes(pickle.dumps({"label_names": [str(i) for i in range(10)]}))
    md5 = {name: hashlib.md5((place / name).read_bytes()).hexdigest() for name in _FILES}
    monkeypatch.setattr(CIFAR10, "train_list", [[name, md5[name]] for name in _FILES[:5]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", md5["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5["batches.meta"]})
    return tmp_path / "data"


def cifar(root: Path, **keys: Any) -> Any:
    return load(root, "cifar10", **{"validation": 20, "download": False, **keys})


def test_reads_what_torchvision_reads(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = cifar(folder)
    assert (data.name, data.classes, data.input_shape) == ("cifar10", 10, (3, 32, 32))
    assert [len(split) for split in (data.train, data.validation, data.test)] == [80, 20, 20]
    assert torch.bincount(data.validation.targets).tolist() == [2] * 10
    theirs = CIFAR10(str(folder), train=False)
    ((inputs, targets),) = Batches(data.test, 20)
    for (picture, label), image, target in zip(theirs, inputs, targets, strict=True):
        assert label == target and torch.equal(torchvision.transforms.functional.to_tensor(picture), image)
    assert cifar(folder, augment="crop-flip", batch_size=3).train.inputs is cifar(folder, augment="none").train.inputs
    normalized = cifar(folder, normalize="imagenet")
    assert normalized.checksum != data.checksum
    assert float(next(iter(Batches(normalized.test, 4)))[0].min()) < -1
    assert not capsys.readouterr().out


@pytest.mark.parametrize("name", _FILES)
@pytest.mark.parametrize("content", [b"", b"cos\nsystem\n(S'touch stolen'\ntR."])
def test_opens_only_the_original(folder: Path, name: str, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "cifar-10-batches-py" / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name} is not CIFAR-10's \(its MD5 must be .*delete it"):
        cifar(folder)
    assert not (folder / "stolen").exists()


def test_says_what_is_missing(folder: Path) -> None:
    (folder / "cifar-10-batches-py" / "test_batch").unlink()
    with pytest.raises(DataError, match=r"no CIFAR-10 in .*\(missing: test_batch\), and `data.download` is false"):
        cifar(folder)


def test_download(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def arrives(self: Any) -> None:
        print("Downloading")
        shutil.copytree(folder, self.root, dirs_exist_ok=True)

    def breaks(self: Any) -> None:
        arrives(self)
        raise RuntimeError("File not found or corrupted.")

    monkeypatch.setattr(CIFAR10, "download", breaks)
    new = tmp_path / "new" / "data"
    with pytest.raises(DataError, match=r"no CIFAR-10 in .*the download failed: File not found or corrupted"):
        cifar(new, download=True)
    assert not new.parent.exists()
    monkeypatch.setattr(CIFAR10, "download", arrives)
    assert len(cifar(new, download=True).train) == 80
    assert sorted(path.name for path in (new / "cifar-10-batches-py").iterdir()) == sorted(_FILES)
