import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from precsearch.data import load_data
from precsearch.data.mnist import _FILES
from precsearch.errors import DataError
from precsearch.experiment import DataSettings
from precsearch.torchvision_import import import_torchvision

COUNTS = {"train": 40, "t10k": 20}


@pytest.fixture
def folder(tmp_path):
    """Forty training and twenty test images in IDX files."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, count in COUNTS.items():
        pixels = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8).tobytes()
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, count, 28, 28) + pixels)
        labels = (np.arange(count) % 10).astype(np.uint8).tobytes()
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + labels)
    return tmp_path


@pytest.fixture
def unreachable(monkeypatch):
    mnist = import_torchvision().datasets.MNIST
    monkeypatch.setattr(mnist, "mirrors", ["http://127.0.0.1:9/mnist/"])
    return mnist


def load(root, download=False, validation=10, **keys):
    return load_data(DataSettings(name="mnist", root=str(root), download=download, validation=validation, **keys))


def test_reads_idx_files(folder, capsys):
    data = load(folder)
    assert (data.name, data.classes, data.input_shape) == ("mnist", 10, (1, 28, 28))
    assert [len(split) for split in (data.train, data.validation, data.test)] == [30, 10, 20]
    assert data.train.inputs.dtype is torch.float32
    assert 0 <= float(data.train.inputs.min()) < 0.01
    assert 0.99 < float(data.train.inputs.max()) <= 1
    assert torch.bincount(data.validation.targets).tolist() == [1] * 10
    assert load(folder, batch_size=3) is data
    assert not capsys.readouterr().out


def test_nothing_there_and_no_download(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        load("deep/data")
    text = str(caught.value)
    assert str(tmp_path / "deep" / "data" / "MNIST" / "raw") in text
    for told in ("`data.download` is false", "search_spaces/digits.yaml", "--set data.root=DIR", _FILES[0]):
        assert told in text
    assert not list(tmp_path.iterdir())


def test_says_what_is_missing(folder):
    (folder / "MNIST" / "raw" / _FILES[3]).unlink()
    with pytest.raises(DataError, match=rf"\(missing: {_FILES[3]}\)"):
        load(folder)


def test_download_fails(tmp_path, unreachable, capsys):
    with pytest.raises(DataError) as caught:
        load(tmp_path / "deep" / "data", download=True)
    text = str(caught.value)
    assert str(tmp_path / "deep" / "data") in text
    for told in (
        "the download failed",
        "127.0.0.1:9",
        "refused",
        "search_spaces/digits.yaml",
        "data.root=DIR",
    ):
        assert told in text
    assert not list(tmp_path.iterdir())  # nothing half-made stays
    assert not capsys.readouterr().out


@pytest.mark.parametrize("problem", [TimeoutError("timed out"), EOFError(), RuntimeError("corrupted")])
def test_download_breaks_off(tmp_path, monkeypatch, unreachable, problem):
    def breaks(self):
        raw = Path(self.raw_folder)
        raw.mkdir(parents=True)
        (raw / _FILES[0]).write_bytes(b"half")
        raise problem

    monkeypatch.setattr(unreachable, "download", breaks)
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(DataError, match=rf"the download failed: {problem or 'EOFError'}"):
        load(tmp_path, download=True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_download_arrives_whole(folder, tmp_path_factory, monkeypatch, unreachable, capsys):
    def arrives(self):
        print("Downloading")
        shutil.copytree(folder / "MNIST" / "raw", self.raw_folder, dirs_exist_ok=True)
        self.mirrors.clear()

    monkeypatch.setattr(unreachable, "download", arrives)
    root = tmp_path_factory.mktemp("new") / "data"
    assert len(load(root, download=True).train) == 30
    assert sorted(path.name for path in (root / "MNIST" / "raw").iterdir()) == sorted(_FILES)
    assert [path.name for path in root.iterdir()] == ["MNIST"]
    assert not capsys.readouterr().out


@pytest.mark.parametrize("download", [True, False])
def test_root_is_a_file(tmp_path, unreachable, download):
    (tmp_path / "data").write_text("")
    with pytest.raises(DataError, match=r"no MNIST in .*data"):
        load(tmp_path / "data", download=download)


@pytest.mark.parametrize("name", _FILES)
@pytest.mark.parametrize("keep", [0, 3, 12, 17, -1])
def test_cut_short(folder, name, keep):
    file = folder / "MNIST" / "raw" / name
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(DataError) as caught:
        load(folder)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("name", _FILES)
def test_something_else(folder, name):
    file = folder / "MNIST" / "raw" / name
    file.write_bytes(b"<html>not found</html>" * 500)
    with pytest.raises(DataError, match="is not a whole IDX file") as caught:
        load(folder)
    assert str(file) in str(caught.value)


def test_label_out_of_range(folder):
    file = folder / "MNIST" / "raw" / _FILES[1]
    file.write_bytes(file.read_bytes()[:-1] + bytes([77]))
    with pytest.raises(DataError, match=r"train-labels.*labels from 0 to 9 .* got 77"):
        load(folder)


def test_unlike_counts(folder):
    raw = folder / "MNIST" / "raw"
    shutil.copy(raw / _FILES[3], raw / _FILES[1])
    with pytest.raises(DataError, match=r"train-labels.* got 20 for 40 images"):
        load(folder)


def test_other_sizes(folder):
    file = folder / "MNIST" / "raw" / _FILES[0]
    file.write_bytes(struct.pack(">IIII", 2051, 40, 8, 8) + bytes(40 * 64))
    with pytest.raises(DataError, match=r"train-images.* 28 x 28 must hold, but got \[8, 8\]"):
        load(folder)


def test_a_folder_in_place_of_a_file(folder):
    file = folder / "MNIST" / "raw" / _FILES[0]
    file.unlink()
    file.mkdir()
    with pytest.raises(DataError, match=r"cannot read .*train-images.*Is a directory"):
        load(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable(folder):
    raw = folder / "MNIST" / "raw"
    raw.chmod(0)
    try:
        with pytest.raises(DataError, match="cannot read"):
            load(folder)
    finally:
        raw.chmod(0o755)


@pytest.mark.skipif("PRECSEARCH_DATA" not in os.environ, reason="PRECSEARCH_DATA, a folder with MNIST, is unset")
class TestReal:
    root = os.environ.get("PRECSEARCH_DATA", "")

    def test_whole(self):
        data = load(self.root, validation=5000)
        assert [len(split) for split in (data.train, data.validation, data.test)] == [55000, 5000, 10000]
        assert round(float(data.train.inputs.mean()), 3) == 0.131
        limited = load(self.root, validation=5000, train_limit=1000)
        assert limited.train.inputs.data_ptr() == data.train.inputs.data_ptr()
        assert int(torch.bincount(limited.train.targets).min()) > 70
