"""`data: {name: arrays}`: what a file of arrays becomes, and every way in which it can be wrong."""

from __future__ import annotations

import itertools
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from real_trials import experiment, train
from safetensors.numpy import save_file

from precsearch.data import DataSet, Split, load_data
from precsearch.errors import ConfigurationError, DataError
from precsearch.evaluation.images import input_range
from precsearch.experiment import DataSettings
from precsearch.study.tune_space import at_home

Arrays = dict[str, Any]
calm = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NUMBERS = itertools.count()


def arrays(count: int = 24, classes: int = 3, shape: tuple[int, ...] = (5,), validation: bool = False) -> Arrays:
    rng = np.random.default_rng(0)
    made: Arrays = {}
    for split, share in (("train", 1), ("validation", 2), ("test", 2)):
        if split != "validation" or validation:
            made[f"{split}_inputs"] = rng.normal(3, 2, size=(count // share, *shape)).astype(np.float32)
            made[f"{split}_targets"] = np.sort(np.arange(count // share) % classes)
    return made


def _npz(folder: Path, made: Arrays) -> Path:
    np.savez(folder / "data.npz", **made)
    return folder / "data.npz"


def _compressed(folder: Path, made: Arrays) -> Path:
    np.savez_compressed(folder / "small.npz", **made)
    return folder / "small.npz"


def _safetensors(folder: Path, made: Arrays) -> Path:
    save_file({name: np.ascontiguousarray(array) for name, array in made.items()}, folder / "data.safetensors")
    return folder / "data.safetensors"


def _folder(folder: Path, made: Arrays) -> Path:
    place = folder / "arrays"
    place.mkdir(exist_ok=True)
    for name, array in made.items():
        np.save(place / f"{name}.npy", array)
    return place


WRITERS: dict[str, Callable[[Path, Arrays], Path]] = {
    "npz": _npz, "compressed": _compressed, "safetensors": _safetensors, "folder": _folder,
}  # fmt: skip


def load(path: Path | str, **keys: Any) -> DataSet:
    return load_data(DataSettings.model_validate({"name": "arrays", "path": str(path), **keys}))


def pairs(split: Any) -> list[tuple[bytes, int]]:
    return sorted((x.numpy().tobytes(), int(y)) for x, y in zip(split.inputs, split.targets, strict=True))


def given_pairs(made: Arrays, split: str) -> list[tuple[bytes, int]]:
    inputs, targets = made[f"{split}_inputs"], made[f"{split}_targets"]
    return sorted((x.astype(np.float32).tobytes(), int(y)) for x, y in zip(inputs, targets, strict=True))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A new folder each time it is asked for: what was loaded from a path once is kept."""
    return fresh(tmp_path)


def fresh(folder: Path) -> Path:
    made = folder / str(next(NUMBERS))
    made.mkdir()
    return made


class TestLoading:
    @pytest.mark.parametrize("writer", WRITERS)
    @pytest.mark.parametrize("validation", [False, True])
    def test_every_format(self, place: Path, writer: str, validation: bool) -> None:
        made = arrays(validation=validation)
        data = load(WRITERS[writer](place, made), validation=0.25)
        assert (data.name, data.input_shape, data.classes) == ("arrays", (5,), 3)
        assert pairs(data.test) == given_pairs(made, "test")
        if validation:
            assert pairs(data.train) == given_pairs(made, "train")
            assert pairs(data.validation) == given_pairs(made, "validation")
        else:
            assert sorted(pairs(data.train) + pairs(data.validation)) == given_pairs(made, "train")
            assert len(data.validation) == 6
        for split in (data.train, data.validation, data.test):
            assert isinstance(split, Split)
            assert (split.inputs.dtype, split.targets.dtype) == (torch.float32, torch.int64)

    def test_every_format_is_the_same_data(self, tmp_path: Path) -> None:
        found = [load(write(fresh(tmp_path), arrays())) for write in WRITERS.values()]
        assert len({data.checksum for data in found}) == 1
        assert all(torch.equal(data.train.inputs, found[0].train.inputs) for data in found)  # type: ignore[attr-defined]

    @given(
        hnp.array_shapes(min_dims=1, max_dims=4, max_side=4),
        st.sampled_from(["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "?"]),
        st.sampled_from(["i1", "i2", "i4", "i8", "u1", "u2", "u4"]),
        st.sampled_from(sorted(WRITERS)),
        st.integers(2, 4),
    )
    @calm
    def test_any_shape_and_type(
        self, tmp_path: Path, shape: tuple[int, ...], inputs: str, targets: str, writer: str, classes: int
    ) -> None:
        rng = np.random.default_rng(classes)
        made = {
            name: rng.integers(0, 120, size=(20, *shape)).astype(inputs) if name.endswith("inputs")
            else (np.arange(20) % classes).astype(targets)
            for name in ("train_inputs", "train_targets", "test_inputs", "test_targets")
        }  # fmt: skip
        data = load(WRITERS[writer](fresh(tmp_path), made))
        assert data.input_shape == shape and data.classes == classes
        expected = made["test_inputs"].astype(np.float32) / np.float32(255 if inputs == "u1" else 1)
        assert np.array_equal(data.test.inputs.numpy(), expected)  # type: ignore[attr-defined]
        assert data.test.targets.tolist() == made["test_targets"].tolist()

    def test_bfloat16_of_safetensors(self, place: Path) -> None:
        from safetensors.torch import save_file as save_tensors

        made = {name: torch.from_numpy(array) for name, array in arrays().items()}
        made = {name: each.bfloat16() if each.is_floating_point() else each for name, each in made.items()}
        save_tensors(made, place / "half.safetensors")
        data = load(place / "half.safetensors")
        assert torch.equal(data.test.inputs, made["test_inputs"].float())  # type: ignore[attr-defined]

    def test_training_is_in_random_order_so_that_a_limit_has_every_class(self, place: Path) -> None:
        path = _npz(place, arrays(60, validation=True))  # sorted by class
        data, again = load(path), load(place / ".." / place.name / "data.npz")
        assert data.train.targets.tolist() != sorted(data.train.targets.tolist())
        assert torch.equal(data.train.targets, again.train.targets)
        limited = load(path, train_limit=20)
        assert len(limited.train) == 20 and len(set(limited.train.targets.tolist())) == 3
        assert limited.checksum != data.checksum
        assert len(limited.validation) == 30

    def test_the_checksum_is_of_what_is_there(self, tmp_path: Path) -> None:
        made = arrays()
        one = load(_npz(fresh(tmp_path), made)).checksum
        made["test_inputs"][0, 0] += 1
        assert load(_npz(fresh(tmp_path), made)).checksum != one

    def test_relative_paths_mean_those_here_and_those_at_home(
        self, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = _npz(place, arrays())
        monkeypatch.chdir(place)
        assert load("data.npz") is load(path)
        moved = at_home(experiment("data={name: arrays, path: data.npz}"), place)
        assert (moved.data.model_extra or {})["path"] == str(path)

    def test_what_inputs_span_is_taken_from_them(self, place: Path) -> None:
        data = load(_npz(place, arrays()))
        span = input_range(data)
        assert isinstance(data.train, Split)
        assert float(span.low) == float(data.train.inputs.min()) < 0
        assert float(span.high) == float(data.train.inputs.max()) > 1

    def test_other_arrays_are_left_alone(self, place: Path) -> None:
        objects = np.array([{}, []], dtype=object)
        made = arrays() | {"names": objects}
        np.savez(place / "more.npz", **made)
        assert len(load(place / "more.npz").test) == 12


class TestNormalize:
    @given(hnp.array_shapes(min_dims=1, max_dims=3, min_side=2, max_side=4), st.integers(0, 99), st.floats(-3, 3))
    @calm
    def test_each_feature_or_channel_of_the_training_split_has_mean_0_and_deviation_1(
        self, tmp_path: Path, shape: tuple[int, ...], seed: int, size: float
    ) -> None:
        rng = np.random.default_rng(seed)
        made = arrays(40, shape=shape, validation=True)
        scale = (10**size * rng.uniform(0.5, 2, size=shape)).astype(np.float32)
        for name in [name for name in made if name.endswith("inputs")]:
            made[name] = made[name] * scale + 5 * scale
        path = _npz(fresh(tmp_path), made)
        data, plain = load(path, normalize=True), load(path)
        assert data.checksum != plain.checksum
        over = (0, 2, 3) if len(shape) == 3 else (0,)
        train = data.train.inputs.double().numpy()  # type: ignore[attr-defined]
        assert np.allclose(train.mean(over), 0, atol=1e-4) and np.allclose(train.std(over), 1, atol=1e-3)
        before = plain.train.inputs.double().numpy()  # type: ignore[attr-defined]
        mean, std = (getattr(before, what)(over, keepdims=True) for what in ("mean", "std"))
        by_hand = (plain.test.inputs.double().numpy() - mean) / std  # type: ignore[attr-defined]
        assert np.allclose(data.test.inputs.numpy(), by_hand, atol=1e-3)  # type: ignore[attr-defined]

    @pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
    def test_a_feature_that_is_always_the_same(self, place: Path, value: float) -> None:
        made = arrays()
        for name in ("train_inputs", "test_inputs"):
            made[name][:, 2] = value
        data = load(_npz(place, made), normalize=True)
        assert isinstance(data.train, Split)
        assert bool((data.train.inputs[:, 2].abs() < 1e-6 * max(1, value)).all())
        assert bool(data.train.inputs.isfinite().all())

    def test_the_held_out_images_have_no_say(self, place: Path) -> None:
        data = load(_npz(place, arrays(60)), normalize=True, validation=0.5)
        assert isinstance(data.train, Split) and isinstance(data.validation, Split)
        assert data.train.inputs.mean(0).abs().max() < 1e-5 < data.validation.inputs.mean(0).abs().max()


class TestWrong:
    @pytest.mark.parametrize("writer", WRITERS)
    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"test_targets": None}, r"lacks test_targets; it has .*train_inputs"),
            (
                {"train_inputs": None, "train_input": np.zeros((3, 2))},
                r"lacks train_inputs; .*; nearest: 'train_input'",
            ),
            ({"validation_inputs": np.zeros((3, 5))}, r"\(and both of .*, or none\), but .* lacks validation_targets"),
            ({"train_targets": np.arange(23) % 3}, "train must have one target an input .* 24 inputs and 23 targets"),
            ({"train_targets": np.arange(24) % 3 + 1}, r"0, 1, 2, ... without gaps, but their values are 1, 2, 3; num"),
            (
                {"train_targets": np.arange(24) % 3 * 2},
                "without gaps, but their values are 0, 2, 4; number the classes",
            ),
            ({"train_targets": np.arange(24) % 3 - 1}, "without gaps, but their values are -1, 0, 1"),
            ({"test_targets": np.arange(12) % 4}, r"test targets: labels from 0 to 2 \(3 classes\) .* got 3"),
            ({"train_targets": np.zeros(24, int)}, "at least 2 classes must hold, but got 1"),
            ({"train_targets": np.zeros(24)}, "train targets must be integer class indices, but got torch.float64"),
            ({"train_targets": np.zeros((24, 1), int)}, r"train targets must have the shape \[N\], but got \[24, 1\]"),
            ({"train_inputs": np.zeros(24)}, r"train inputs must have the shape \[N, ...\], but got \[24\]"),
            ({"test_inputs": np.zeros((12, 4))}, r"one shape must hold, but train has \[5\] and test has \[4\]"),
            ({"test_inputs": np.zeros((0, 5)), "test_targets": np.zeros(0, int)}, "got 0 inputs"),
            ({"train_inputs": np.full((24, 5), np.nan)}, r"24 of 24 hold NaN or infinity \(the first: index 0\)"),
            ({"test_inputs": np.full((12, 5), np.inf)}, "test inputs must be finite, but 12 of 12"),
        ],
    )
    def test_what_cannot_be_learned_from(self, place: Path, writer: str, change: Arrays, says: str) -> None:
        made = {name: array for name, array in (arrays() | change).items() if array is not None}
        path = WRITERS[writer](place, made)
        with pytest.raises(DataError, match=says) as raised:
            load(path)
        assert str(path) in str(raised.value) and "\n" not in str(raised.value)

    def test_numbers_that_float32_cannot_hold(self, place: Path) -> None:
        made = arrays() | {"train_inputs": np.full((24, 5), 1e300)}
        with pytest.raises(DataError, match="NaN or infinity"):
            load(_npz(place, made))

    def test_text_is_no_number(self, place: Path) -> None:
        made = arrays() | {"train_inputs": np.full((24, 5), "a")}
        with pytest.raises(DataError, match="train inputs must be a tensor or an array of numbers"):
            load(_npz(place, made))

    def test_complex_numbers(self, place: Path) -> None:
        made = arrays() | {"train_inputs": np.ones((24, 5), complex)}
        with pytest.raises(DataError, match=r"train inputs must be floating point, but got torch\.complex128"):
            load(_npz(place, made))

    def test_pickled_objects_are_refused_and_not_run(self, place: Path) -> None:
        class Bomb:
            def __reduce__(self) -> Any:
                return (Path.touch, (place / "ran",))

        bomb = np.empty(2, dtype=object)
        bomb[:] = [Bomb(), Bomb()]
        _folder(place, arrays() | {"test_targets": bomb})
        _npz(place, arrays() | {"train_inputs": bomb})
        (place / "plain.npz").write_bytes(pickle.dumps(Bomb()))
        for name, says in (
            ("arrays", "pickled"),
            ("data.npz", "pickled"),
            ("plain.npz", "cannot read .* a whole file"),
        ):
            with pytest.raises(DataError, match=says):
                load(place / name)
        assert not (place / "ran").exists()

    def test_files_that_are_not_there_or_something_else(self, place: Path) -> None:
        (place / "empty").mkdir()
        (place / "text.npz").write_text("hello")
        (place / "data.csv").write_text("1,2")
        np.save(place / "one.npy", np.zeros(3))
        (place / "one.npy").rename(place / "one.npz")
        with zipfile.ZipFile(place / "zip.npz", "w") as archive:
            archive.writestr("train_inputs", "hello")
        for name, says in {
            "none.npz": "none.npz is not there; a relative path starts",
            "none.safetensors": "is not there",
            "none": r"ends in .npz or .safetensors, or a folder of .npy files, .*none, which is not there",
            "empty": "lacks train_inputs, train_targets, test_inputs, test_targets; it has no arrays",
            "text.npz": "cannot read .*text.npz",
            "one.npz": "cannot read .*one.npz",
            "zip.npz": "cannot read .*zip.npz .*train_inputs in it is no array",
            "data.csv": r"a file that ends in .npz or .safetensors, .* got .*data.csv$",
        }.items():
            with pytest.raises(DataError, match=says):
                load(place / name)

    @given(st.sampled_from(["npz", "compressed", "safetensors", "folder"]), st.floats(0, 0.999), st.booleans())
    @calm
    def test_damaged_files_are_told_in_one_line(self, tmp_path: Path, writer: str, at: float, cut: bool) -> None:
        path = WRITERS[writer](fresh(tmp_path), arrays())
        file = path / "train_inputs.npy" if path.is_dir() else path
        whole = file.read_bytes()
        place = int(at * len(whole))
        turned = bytes(255 - byte for byte in whole[place : place + 40])
        file.write_bytes(whole[:place] if cut else whole[:place] + turned + whole[place + 40 :])
        try:
            load(path)
        except DataError as problem:
            assert "\n" not in str(problem)
        else:
            assert not cut  # other numbers may still be numbers

    @pytest.mark.parametrize(
        ("data", "says"),
        [
            ("{name: arrays}", "`path` is missing; add it"),
            ("{name: arrays, path: ''}", "path"),
            ("{name: arrays, path: x.npz, normalize: imagenet}", "true or false must be given, but got .*imagenet"),
            ("{name: arrays, path: x.npz, augment: crop-flip}", "unknown key 'augment'"),
            ("{name: mnist, path: x.npz}", "unknown key 'path'; only arrays and a data function of your own take it"),
        ],
    )
    def test_keys(self, data: str, says: str) -> None:
        with pytest.raises(ConfigurationError, match=says):
            experiment(f"data={data}")


def test_a_trial_on_frames_of_features(place: Path) -> None:
    rng = np.random.default_rng(0)
    centers = rng.normal(0, 2, size=(4, 13))
    made: Arrays = {}
    for split, count in (("train", 200), ("test", 80)):
        labels = np.arange(count) % 4
        made[f"{split}_targets"] = labels
        made[f"{split}_inputs"] = 50 + 7 * (centers[labels] + rng.normal(size=(count, 13)))
    path = _npz(place, made)
    result = train(
        place / "run", f"data={{name: arrays, path: {path}, normalize: true, batch_size: 20}}",
        "evaluate={images: 40, attacks: [fgsm], epsilons: [0.1]}", "inner.budget.limit=6",
        "inner.epochs={warmup: 2, search: 3, finetune: 3}",
    )  # fmt: skip
    assert result.metrics["test_accuracy"] > 0.8
    assert result.allocation.provenance["data"] == "arrays"
    assert result.allocation.provenance["data_checksum"] == load(path, normalize=True).checksum


def test_8_bit_images(place: Path) -> None:
    made = arrays(24, shape=(3, 8, 8))
    for name in ("train_inputs", "test_inputs"):
        made[name] = (np.random.default_rng(1).random(made[name].shape) * 255).astype(np.uint8)
    data = load(_npz(place, made))
    assert data.input_shape == (3, 8, 8)
    assert isinstance(data.test, Split)
    assert torch.allclose(data.test.inputs, torch.from_numpy(made["test_inputs"]).float() / 255)
