import numpy as np
import pytest
import torch

from precsearch.data import DataSet, Split, load_data
from precsearch.errors import ConfigurationError, DataError
from precsearch.experiment import DataSettings


def arrays(count=12, classes=3, shape=(2,)):
    rng = np.random.default_rng(0)
    return rng.random((count, *shape)), np.arange(count) % classes


CALLS = []


def three(root, seed, scale=1.0):
    CALLS.append((root, seed, scale))
    x, y = arrays()
    return (x * scale, y), (torch.from_numpy(x).half(), list(y)), (x, y.astype(np.uint16))


def two():
    return arrays(), arrays(6)


def whole():
    train, test = (Split(torch.rand(4, 2), torch.tensor([0, 1, 0, 1])) for _ in range(2))
    return DataSet("theirs", train, test, test, classes=5)


def returns(case):
    x, y = arrays()
    good = (x, y)
    nan = x.copy()
    nan[3] = np.nan
    return {
        "nothing": None,
        "one": (good,),
        "pair": ((x,), good, good),
        "uint8": ((x.astype(np.uint8), y), good, good),
        "flat": ((x[:, 0], y), good, good),
        "float targets": ((x, y.astype(float)), good, good),
        "column": ((x, y[:, None]), good, good),
        "lengths": (good, (x, y[:-1]), good),
        "empty": (good, good, (x[:0], y[:0])),
        "nan": ((nan, y), good, good),
        "negative": ((x, y - 1), good, good),
        "beyond": (good, good, (x, y + 1)),
        "shapes": (good, good, (x[:, :1], y)),
        "one class": ((x, y * 0), good, good),
        "ragged": (([[1.0], [1.0, 2.0]], [0, 1]), good, good),
        "strings": ((["a", "b"], [0, 1]), good, good),
        "dataset": DataSet("x", Split(torch.rand(3, 2), torch.tensor([0, 1, 2])), *[whole().test] * 2, 2),
    }[case]


def raises():
    raise OSError("disk gone")


class TestOwn:
    def load(self, function, **keys):
        return load_data(DataSettings(name=f"{__name__}:{function.__name__}", **keys))

    def test_three_pairs(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        data = self.load(three, scale=2.0, root="there")
        assert CALLS[-1] == (str(tmp_path / "there"), 0, 2.0)
        assert (data.classes, data.input_shape, len(data.test)) == (3, (2,), 12)
        assert data.validation.inputs.dtype is torch.float32
        assert data.test.targets.dtype is torch.int64
        calls = len(CALLS)
        assert self.load(three, scale=2.0, root="there", batch_size=3) is data
        assert len(CALLS) == calls
        assert self.load(three, scale=3.0, root="there") is not data

    def test_two_pairs(self):
        data = self.load(two, validation=4, train_limit=5)
        assert [len(split) for split in (data.train, data.validation, data.test)] == [5, 4, 6]

    def test_a_data_set(self):
        assert self.load(whole).classes == 5

    @pytest.mark.parametrize(
        ("case", "told"),
        [
            ("nothing", "must return a precsearch.data.DataSet.* got a NoneType"),
            ("one", "must return .* got a tuple"),
            ("pair", r"train must be a pair \(inputs, targets\), but got a tuple of 1"),
            ("uint8", "train inputs must be floating point, but got torch.uint8.*/ 255"),
            ("flat", r"train inputs must have the shape \[N, ...\], but got \[12\]"),
            ("float targets", "targets must be integer class indices, but got torch.float64"),
            ("column", r"targets must have the shape \[N\], but got \[12, 1\]"),
            ("lengths", "validation must have one target an input .* got 12 inputs and 11 targets"),
            ("empty", "test must have .* got 0 inputs"),
            ("nan", r"1 of 12 hold NaN or infinity \(the first: index 3\)"),
            ("negative", "train targets: labels from 0 to 1 .* got -1"),
            ("beyond", "test targets: labels from 0 to 2 .* got 3"),
            ("shapes", r"train has \[2\] and test has \[1\]"),
            ("one class", "at least 2 classes must hold, but got 1"),
            ("ragged", "train inputs must be a tensor or an array of numbers"),
            ("strings", "train inputs must be a tensor or an array of numbers"),
            ("dataset", "labels from 0 to 1 .* got 2"),
        ],
    )
    def test_what_cannot_be_learned_from(self, case, told):
        with pytest.raises(DataError, match=told):
            self.load(returns, case=case)

    def test_unknown_key(self):
        with pytest.raises(ConfigurationError, match=r"`data.scal` .* accepts scale; nearest: 'scale'"):
            self.load(three, scal=1.0)

    def test_function_that_raises(self):
        with pytest.raises(DataError, match=r"raised OSError: disk gone \(.*test_own_data.py"):
            self.load(raises)
