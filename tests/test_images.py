"""Images from folders: the same batches whether they are in memory or read from files, by whomever."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_images import CLASSES, draw, load, make_folder
from PIL import Image
from real_trials import Interrupted, Recorder, left
from torch import Tensor

import precsearch.data as data_package
from precsearch.data import Batches, FileSplit, Split, load_data, shared, training_batches
from precsearch.data.augment import AUGMENTATIONS, CropFlip, RandomResizedCrop
from precsearch.errors import ConfigurationError
from precsearch.experiment import DataSettings, Experiment, with_overrides
from precsearch.experiment.loading import load_experiment_text
from precsearch.torchvision_import import import_torchvision
from precsearch.training.recalibration import recalibrate
from precsearch.trial import run_trial

calm = settings(max_examples=60, deadline=None)
SPACE = """
version: 1
name: images
data: {name: image_folder, validation: 9, batch_size: 6}
model: {name: mlp, hidden: [6], batch_norm: true}
inner:
  bits: [2, 4, 8]
  epochs: {warmup: 1, search: 2, finetune: 1}
  logits: {update: alternate}
executor: {threads: 1}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "images")


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def collected(batches: Batches) -> tuple[Tensor, Tensor]:
    inputs, targets = zip(*batches, strict=True)
    return torch.cat(inputs), torch.cat(targets)


def same(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_what_torchvision_reads(folder: Path) -> None:
    data = load(folder, in_memory=False)
    assert (data.input_shape, data.classes) == ((3, 16, 16), 3)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [27, 9, 12]
    assert torch.bincount(data.validation.targets).tolist() == [3, 3, 3]
    torchvision: Any = import_torchvision()
    theirs = torchvision.datasets.ImageFolder(str(folder / "test"))
    inputs, targets = collected(Batches(data.test, 5))
    assert theirs.classes == list(CLASSES) and theirs.targets == targets.tolist()
    for (picture, _), ours in zip(theirs, inputs, strict=True):
        assert torch.equal(torchvision.transforms.functional.to_tensor(picture), ours)


@pytest.mark.parametrize("keys", [{}, {"image_size": 12}, {"normalize": "imagenet"}], ids=str)
@pytest.mark.parametrize("augment", ["none", "crop-flip"])
@pytest.mark.parametrize("workers", [0, 2])
def test_files_and_memory_give_the_same_batches(folder: Path, keys: Any, augment: str, workers: int) -> None:
    found = []
    for in_memory, count in ((True, 0), (False, workers)):
        given = {"in_memory": in_memory, "workers": count, "augment": augment, **keys}
        data = load(folder, **given)
        assert isinstance(data.train, Split if in_memory else FileSplit)
        if in_memory:
            assert data.train.inputs.dtype == torch.uint8
        order = seeded()
        batches = training_batches(data.train, DataSettings(name="image_folder", batch_size=4, **given), order)
        epochs = [collected(batches) for _ in range(2)]
        assert epochs[0][0].dtype == torch.float32 and len(batches) == 7
        assert not same(*epochs)
        found.append([*epochs, collected(Batches(data.test, 5)), (order.get_state(), data.validation.targets)])
    assert all(map(same, *found))


@pytest.mark.parametrize("augment", ["crop-flip", "random-resized-crop"])
def test_variation_is_the_image_s_own(folder: Path, augment: str) -> None:
    """Neither the batch an image is in, nor who reads it, nor torch's global state plays a part."""
    epochs = []
    for size, workers in ((4, 0), (7, 2), (27, 1)):
        data = load(folder, in_memory=False, image_size=12, workers=workers)
        torch.manual_seed(size)
        state = torch.random.get_rng_state()
        epochs.append(collected(Batches(data.train, size, seeded(), AUGMENTATIONS[augment])))
        assert torch.equal(torch.random.get_rng_state(), state)
    assert same(epochs[0], epochs[1]) and same(epochs[0], epochs[2])
    assert not same(epochs[0], collected(Batches(data.train, 4, seeded())))


@calm
@given(st.integers(8, 20), st.integers(8, 20), st.lists(st.integers(0, 2**62), min_size=1, max_size=8))
def test_crop_flip_is_a_shift_and_a_mirror(height: int, width: int, draws: list[int]) -> None:
    images = torch.randint(1, 256, (len(draws), 3, height, width), dtype=torch.uint8)
    varied = CropFlip().pixels(images, torch.tensor(draws))
    down, right = height // 8, width // 8
    for image, result in zip(images, varied, strict=True):
        padded = np.pad(image.numpy(), ((0, 0), (down, down), (right, right)))
        wanted = [
            crop[:, :, ::step]
            for top in range(2 * down + 1)
            for start in range(2 * right + 1)
            for crop in [padded[:, top : top + height, start : start + width]]
            for step in (1, -1)
        ]
        assert any(np.array_equal(result.numpy(), crop) for crop in wanted)


def test_crop_flip_does_everything() -> None:
    image = torch.arange(1, 65, dtype=torch.uint8).reshape(1, 1, 8, 8)
    draws = torch.randint(2**62, (2000,), generator=seeded())
    results = {x.numpy().tobytes() for x in CropFlip().pixels(image.expand(2000, 1, 8, 8), draws)}
    assert len(results) == 18  # three places down, three across, mirrored or not


@calm
@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 2**62))
def test_a_random_part_lies_in_the_picture(height: int, width: int, draw: int) -> None:
    top, start, h, w = RandomResizedCrop().box(height, width, draw)
    assert 0 <= top <= top + h <= height and 0 <= start <= start + w <= width and h > 0 and w > 0


@pytest.mark.parametrize("sides", [(300, 200), (64, 64)])
def test_random_parts_are_distributed_as_torchvision_s(sides: tuple[int, int]) -> None:
    height, width = sides
    torch.manual_seed(0)
    torchvision: Any = import_torchvision()
    draws = torch.randint(2**62, (3000,), generator=seeded()).tolist()
    ours = np.array([RandomResizedCrop().box(height, width, draw) for draw in draws])
    image = torch.empty(3, height, width)
    get = torchvision.transforms.RandomResizedCrop.get_params
    theirs = np.array([get(image, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3)) for _ in draws])
    for column in range(4):
        error = ours[:, column].std() * (2 / len(draws)) ** 0.5
        assert abs(ours[:, column].mean() - theirs[:, column].mean()) < 4 * error


def test_only_training_is_varied(folder: Path) -> None:
    data = load(folder, augment="crop-flip")
    settings = DataSettings(name="image_folder", augment="crop-flip", batch_size=4)
    seen: list[Tensor] = []
    model = torch.nn.Identity()
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    recalibrate(model, training_batches(data.train, settings, seeded()))
    assert torch.equal(torch.cat(seen), collected(Batches(data.train, 4, seeded()))[0])
    assert load(folder).train is not data.train and torch.equal(load(folder).train.inputs, data.train.inputs)


@pytest.mark.parametrize(
    ("mode", "ending"), [("L", "png"), ("RGBA", "png"), ("P", "png"), ("LA", "png"), ("CMYK", "jpg"), ("1", "png")]
)
def test_every_kind_of_picture_becomes_rgb(folder: Path, mode: str, ending: str) -> None:
    path = draw(folder / "test" / "cat" / f"0.{ending}", mode=mode)
    with Image.open(path) as picture:
        assert picture.mode == mode
        wanted = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1) / 255
    assert torch.equal(collected(Batches(load(folder).test, 4))[0][0], wanted)


def test_sixteen_bits_of_grey(folder: Path) -> None:
    values = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(values).save(folder / "test" / "cat" / "0.png")
    image = collected(Batches(load(folder).test, 4))[0][0]
    assert torch.equal(
        (image * 255).round().to(torch.int64), torch.from_numpy(values.astype(np.int64) >> 8).expand(3, 16, 16)
    )


def test_sizes_are_brought_to_one(tmp_path: Path) -> None:
    root = make_folder(tmp_path, size=(24, 16))
    assert load(root).input_shape == (3, 16, 24)
    draw(root / "train" / "cat" / "tall.png", (10, 40))
    data = load(root, image_size=16)
    assert data.input_shape == (3, 16, 16)
    # a side of 16 already: only cropped, not scaled
    with Image.open(root / "test" / "cat" / "000.png") as picture:
        middle = torch.from_numpy(np.array(picture.crop((4, 0, 20, 16)))).permute(2, 0, 1) / 255
    assert torch.equal(collected(Batches(data.test, 4))[0][0], middle)


def test_normalized_as_torchvision_does(folder: Path) -> None:
    torchvision: Any = import_torchvision()
    plain = collected(Batches(load(folder).test, 4))[0]
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
    ours = collected(Batches(load(folder, normalize={"mean": mean, "std": std}).test, 4))[0]
    assert torch.allclose(ours, torchvision.transforms.functional.normalize(plain, mean, std), atol=1e-6)


def test_names_of_the_folders(tmp_path: Path) -> None:
    root = make_folder(tmp_path, parts=("train", "val"))
    assert len(load(root).test) == 12
    (root / "val").rename(root / "held")
    (root / "train").rename(root / "learn")
    assert len(load(root, test="held", train="learn").test) == 12


def test_imagenet_layout(tmp_path: Path) -> None:
    root = make_folder(tmp_path, size=(40, 32), parts=("train", "val"), ending="JPEG")
    data = load(root, "imagenet", image_size=28, workers=1)
    assert data.input_shape == (3, 28, 28) and len(data.test) == 12
    with Image.open(root / "val" / "cat" / "000.JPEG") as picture:  # 7/8 of 32 is 28
        middle = torch.from_numpy(np.array(picture.crop((6, 2, 34, 30)))).permute(2, 0, 1) / 255
    assert torch.equal(collected(Batches(data.test, 4))[0][0], middle)


def test_auto_keeps_what_fits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(load(folder).train, Split)
    assert isinstance(load(folder, augment="random-resized-crop", image_size=12).train, FileSplit)
    data_package._load.cache_clear()
    monkeypatch.setattr("precsearch.data.folders.MEMORY_LIMIT", 48 * 3 * 16 * 16 - 1)
    assert isinstance(load(folder).train, FileSplit)


def test_checksum_of_files(folder: Path) -> None:
    def fresh(**keys: Any) -> str:
        data_package._load.cache_clear()
        return load(folder, in_memory=False, **keys).checksum

    before = fresh()
    assert fresh(workers=2) == before
    assert len({before, fresh(image_size=12), fresh(train_limit=20), fresh(normalize="imagenet")}) == 4
    other = folder.rename(folder.with_name("elsewhere")).rename(folder)
    assert fresh() == before and other == folder
    path = folder / "train" / "cat" / "000.png"
    path.write_bytes(path.read_bytes() + b"\0")
    assert fresh() != before
    path.rename(path.with_name("100.png"))
    assert fresh() != before


def test_shared_by_workers_only_where_in_memory(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = {kind: load(folder, in_memory=kind, normalize="imagenet") for kind in (True, False)}
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(shared, "_held", [])
    data_package._load.cache_clear()
    data_package.share_data("images")
    try:
        for kind, data in plain.items():
            for _ in range(2):
                again = load(folder, in_memory=kind, normalize="imagenet")
                data_package._load.cache_clear()
                assert again.checksum == data.checksum
                assert same(collected(Batches(again.train, 4)), collected(Batches(data.train, 4)))
    finally:
        data_package._load.cache_clear()
        shared._held[0][1].close()
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1


def of_images(folder: Path, *overrides: str) -> Experiment:
    return with_overrides(load_experiment_text(SPACE), [f"data.root={folder}", *overrides])


@pytest.mark.parametrize("keys", ["image_size: 12, augment: crop-flip", "image_size: 12, augment: random-resized-crop"])
def test_an_interrupted_trial_is_the_one_that_ran_through(folder: Path, tmp_path: Path, keys: str) -> None:
    def document(workers: int) -> Experiment:
        block = f"validation: 9, batch_size: 6, {keys}, workers: {workers}, in_memory: false"
        return of_images(folder, f"data={{name: image_folder, root: '{folder}', {block}}}")

    whole = tmp_path / "whole"
    through = left(whole, run_trial(document(0), Recorder(whole)))
    for epoch, workers in ((1, 2), (2, 0), (3, 1)):
        cut = tmp_path / f"cut{epoch}"
        with pytest.raises(Interrupted):
            run_trial(document(workers), Recorder(cut, die_after=[epoch]))
        assert left(cut, run_trial(document(2 - workers), Recorder(cut))) == through


def test_augment_counts_and_is_searched(folder: Path, tmp_path: Path) -> None:
    results = [
        run_trial(of_images(folder, f"data.augment={how}"), Recorder(tmp_path / how)).metrics["train_loss"]
        for how in ("none", "crop-flip")
    ]
    assert results[0] != results[1]
    dimension = "space={data.augment: {type: categorical, choices: [none, crop-flip]}}"
    assert "data.augment" in of_images(folder, dimension).space
    with pytest.raises(ConfigurationError, match=r"`data.augment` cannot be 'flip'.*crop-flip"):
        of_images(folder, dimension.replace("none", "flip"))


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ("{name: digits, augment: crop-flip}", r"<text>:1:22: data.augment: unknown key 'augment'; only cifar10"),
        ("{name: image_folder, image_sise: 3}", "unknown key 'image_sise'; did you mean 'image_size'"),
        ("{name: image_folder, augment: flip}", "1:37: data.augment: one of none, crop-flip, random.* got 'flip'"),
        ("{name: image_folder, in_memory: yes}", "`auto`, true or false must be given, but got 'yes'"),
        ("{name: image_folder, workers: -1}", "workers >= 0"),
        ("{name: image_folder, normalize: {mean: [1, 2], std: [1, 1, 1]}}", "data.normalize.mean"),
        ("{name: image_folder, normalize: {mean: [1, 2, 3], std: [1, 0, 1]}}", "`std > 0` must hold"),
        ("{name: image_folder, normalize: minus}", "one of none, imagenet must be given, but got 'minus'"),
        ("{name: image_folder, augment: random-resized-crop}", "`image_size` must be set"),
        ("{name: imagenet, augment: random-resized-crop, in_memory: true}", "`in_memory: true` must not be set"),
        ("{name: cifar10, augment: random-resized-crop}", "one of none, crop-flip must be given"),
        ("{name: cifar10, image_size: 3}", "unknown key 'image_size'; only image_folder, imagenet and a data"),
    ],
)
def test_keys_are_checked_where_they_stand(block: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        load_experiment_text(f"data: {block}", "<text>")


@pytest.mark.skipif("PRECSEARCH_DATA" not in os.environ, reason="PRECSEARCH_DATA, with cifar10-jpeg.tar.gz, is unset")
def test_photographs(tmp_path: Path) -> None:
    with tarfile.open(Path(os.environ["PRECSEARCH_DATA"]) / "cifar10-jpeg.tar.gz") as packed:
        wanted = [each for each in packed if each.name.removeprefix("./")[-8:] < "0030.jpg" and each.isfile()]
        packed.extractall(tmp_path, wanted, filter="data")
    data = load_data(DataSettings(name="image_folder", root=str(tmp_path), validation=0.2))
    assert (data.input_shape, data.classes) == ((3, 32, 32), 10)
    assert len(data.train) > 200 and 0.3 < float(collected(Batches(data.train, 99))[0].mean()) < 0.6
