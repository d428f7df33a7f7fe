import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from precsearch.data import Batches, DataSet, Split, hold_out, load_data
from precsearch.errors import ConfigurationError, DataError
from precsearch.experiment import DataSettings

calm = settings(max_examples=50, deadline=None)


def numbered(count: int, classes: int = 1) -> Split:
    return Split(torch.arange(count, dtype=torch.float32)[:, None], torch.arange(count) % classes)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def visited(batches: Batches) -> list[int]:
    return [int(x) for inputs, _ in batches for x in inputs[:, 0]]


class TestBatches:
    @calm
    @given(st.integers(1, 60), st.integers(1, 20), st.none() | st.integers(0, 99))
    def test_every_image_once_an_epoch(self, count, size, seed):
        batches = Batches(numbered(count, 3), size, None if seed is None else seeded(seed))
        for _ in range(2):
            seen = list(batches)
            assert len(seen) == len(batches)
            assert all(torch.equal(inputs[:, 0].long() % 3, targets) for inputs, targets in seen)
            order = [int(x) for inputs, _ in seen for x in inputs[:, 0]]
            assert sorted(order) == list(range(count))
            if seed is None:
                assert order == list(range(count))
            sizes = [len(targets) for _, targets in seen]
            assert all(n == size for n in sizes[:-1])
            assert sizes[-1] <= size + 1
            if size > 1 and count > 1:
                assert min(sizes) > 1

    @calm
    @given(st.integers(2, 60), st.integers(1, 20), st.integers(0, 99))
    def test_depend_on_the_generator_only(self, count, size, seed):
        one, other = (Batches(numbered(count), size, seeded(seed)) for _ in range(2))
        first = visited(one)
        torch.manual_seed(seed + 1)
        assert visited(other) == first
        assert visited(one) == visited(other)
        halfway = seeded(seed)
        iter(Batches(numbered(count), size, halfway))
        assert torch.equal(halfway.get_state(), seeded(seed).get_state()) is False

    def test_shuffles_anew_each_epoch(self):
        batches = Batches(numbered(50), 8, seeded(0))
        assert visited(batches) != visited(batches)

    def test_a_state_carries_on(self):
        generator = seeded(5)
        visited(Batches(numbered(20), 6, generator))
        resumed = torch.Generator()
        resumed.set_state(generator.get_state())
        assert visited(Batches(numbered(20), 6, generator)) == visited(Batches(numbered(20), 6, resumed))

    def test_batch_size(self):
        with pytest.raises(ValueError, match=r"batch_size >= 1.* got 0"):
            Batches(numbered(3), 0)

    def test_to(self):
        batches = Batches(numbered(3), 2, seeded(0))
        assert batches.to("cpu").split is batches.split
        assert batches.to("meta").split.inputs.is_meta


class TestHoldOut:
    @calm
    @given(
        st.lists(st.integers(4, 30), min_size=2, max_size=5),
        st.floats(0.2, 0.6) | st.integers(5, 8),
        st.integers(0, 9),
    )
    def test_disjoint_stratified_deterministic(self, sizes, amount, seed):
        targets = torch.tensor([label for label, size in enumerate(sizes) for _ in range(size)])
        total = len(targets)
        split = Split(torch.arange(total, dtype=torch.float32)[:, None], targets)
        held_wanted = amount if isinstance(amount, int) else int(np.ceil(amount * total))
        if not len(sizes) <= held_wanted <= total - len(sizes):
            with pytest.raises(DataError):
                hold_out(split, amount, seed)
            return
        rest, held = hold_out(split, amount, seed)
        both = [int(x) for part in (rest, held) for x in part.inputs[:, 0]]
        assert sorted(both) == list(range(total))
        assert len(held) == held_wanted
        for label, size in enumerate(sizes):
            assert abs(int((held.targets == label).sum()) - size * held_wanted / total) <= 1
        again = hold_out(split, amount, seed)
        assert torch.equal(again[0].inputs, rest.inputs)
        assert torch.equal(again[1].targets, held.targets)

    @pytest.mark.parametrize("amount", [28, 30, 40, 2, 0.01])
    def test_nothing_left(self, amount):
        with pytest.raises(DataError, match=f"cannot hold out {amount:g} of 30 .* from 3 to 27"):
            hold_out(numbered(30, 3), amount)

    def test_a_class_of_one(self):
        split = Split(torch.zeros(9, 1), torch.tensor([0] * 8 + [4]))
        with pytest.raises(DataError, match="class 4 has only 1 training image"):
            hold_out(split, 3)


class TestDigits:
    def test_shapes_and_ranges(self):
        data = load_data(DataSettings())
        assert (data.name, data.input_shape, data.classes) == ("digits", (1, 8, 8), 10)
        assert [len(split) for split in (data.train, data.validation, data.test)] == [1149, 288, 360]
        for split in (data.train, data.validation, data.test):
            assert (split.inputs.dtype, split.targets.dtype) == (torch.float32, torch.int64)
            assert (float(split.inputs.min()), float(split.inputs.max())) == (0, 1)
            assert int(torch.bincount(split.targets).min()) >= len(split) // 12

    def test_test_split_does_not_depend_on_validation(self):
        one, other = (load_data(DataSettings(validation=v)) for v in (0.2, 100))
        assert torch.equal(one.test.inputs, other.test.inputs)
        assert len(other.validation) == 100
        assert one.checksum != other.checksum

    def test_parts_are_disjoint(self):
        data = load_data(DataSettings())
        parts = [{x.numpy().tobytes() for x in split.inputs} for split in (data.train, data.validation, data.test)]
        assert not any(one & other for one, other in itertools.combinations(parts, 2))

    def test_same_object_and_shared_memory(self, tmp_path, monkeypatch):
        data = load_data(DataSettings())
        assert load_data(DataSettings(batch_size=7)) is data
        limited = load_data(DataSettings(train_limit=100))
        assert len(limited.train) == 100
        assert limited.train.inputs.data_ptr() == data.train.inputs.data_ptr()
        assert limited.validation is data.validation
        assert limited.checksum != data.checksum
        assert len(limited.train.targets.unique()) == 10
        assert load_data(DataSettings(train_limit=10**6)) is data

    def test_checksum(self):
        data = load_data(DataSettings())
        assert len(data.checksum) == 16
        inputs = data.train.inputs.clone()
        inputs[0, 0, 0, 0] += 1
        changed = DataSet("digits", Split(inputs, data.train.targets), data.validation, data.test, 10)
        assert changed.checksum != data.checksum
        assert changed.to("cpu") is changed

    def test_validation_that_leaves_nothing(self):
        with pytest.raises(DataError, match="cannot hold out 1437 of 1437"):
            load_data(DataSettings(validation=1437))

    def test_unknown_name_and_key(self):
        with pytest.raises(ConfigurationError, match=r"`data.name` .* got 'digit'; nearest: 'digits'"):
            load_data(DataSettings(name="digit"))
        with pytest.raises(ConfigurationError, match=r"`data.rooot`: unknown key 'rooot'; did you mean 'root'\?"):
            load_data(DataSettings(rooot="x"))
