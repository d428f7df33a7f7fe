"""Corruptions: known ones by hand, properties of all, and folders of ready images."""

import numpy as np
import pytest
import torch
from torch import nn

from precsearch.data.dataset import DataSet, Split
from precsearch.errors import ConfigurationError, DataError
from precsearch.evaluation.corruptions import CORRUPTORS, check_corruptible, corrupt, measure_corruptions
from precsearch.evaluation.images import Images, InputRange
from precsearch.evaluation.ready import find_ready, measure_ready
from precsearch.experiment.evaluate import CORRUPTIONS

UNIT = InputRange(torch.tensor(0.0), torch.tensor(1.0))
SHAPES = [(6, 1, 8, 8), (4, 3, 32, 24), (3, 1, 1, 5)]


def images(shape=(16, 1, 28, 28), values=UNIT, seed=0):
    generator = torch.Generator().manual_seed(seed)
    unit = torch.rand(shape, generator=generator)
    inputs = values.low + unit * values.span
    return Images(inputs, torch.arange(len(inputs)) % 4, values)


def test_the_registry_has_what_the_settings_allow():
    assert tuple(CORRUPTORS) == CORRUPTIONS
    for corruptor in CORRUPTORS.values():
        assert len(corruptor.strengths) == 5
        assert list(corruptor.strengths) == sorted(set(corruptor.strengths))


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_images_of_any_size_stay_in_their_range_and_repeat_by_seed(name, shape):
    given = images(shape)
    for severity in range(1, 6):
        changed = corrupt(given, name, severity, seed=3)
        assert changed.shape == given.inputs.shape
        assert 0 <= float(changed.min()) <= float(changed.max()) <= 1
        assert torch.equal(changed, corrupt(given, name, severity, seed=3))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_higher_severities_change_more(name):
    smooth = nn.functional.avg_pool2d(images((64, 1, 36, 36)).inputs, 9, stride=1)  # neighbours alike, as in pictures
    given = Images(smooth, torch.zeros(64, dtype=torch.int64), UNIT)
    moved = [float((corrupt(given, name, severity, 0) - smooth).square().sum()) for severity in range(1, 6)]
    assert moved[0] > 0
    assert moved == sorted(moved)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_normalized_inputs_are_corrupted_as_the_pixels_behind_them(name):
    values = InputRange(
        torch.tensor([-2.0, -1.0, 0.5]).reshape(3, 1, 1), torch.tensor([2.0, 3.0, 1.0]).reshape(3, 1, 1)
    )
    plain, normalized = images((4, 3, 12, 12)), images((4, 3, 12, 12), values)
    expected = values.low + corrupt(plain, name, 3, 1) * values.span
    assert torch.allclose(corrupt(normalized, name, 3, 1), expected, atol=1e-5)


def test_what_can_be_told_by_hand():
    grey = Images(torch.full((2, 1, 10, 10), 0.25), torch.zeros(2, dtype=torch.int64), UNIT)
    assert torch.allclose(corrupt(grey, "brightness", 2, 0), torch.full((2, 1, 10, 10), 0.45))
    assert torch.allclose(corrupt(grey, "contrast", 5, 0), grey.inputs)
    assert torch.allclose(corrupt(grey, "blur", 5, 0), grey.inputs, atol=1e-6)
    occluded = corrupt(grey, "occlusion", 3, 0)
    assert ((occluded == 0.5).sum((1, 2, 3)) == 16).all()  # a square of 0.4 of each side
    assert ((occluded == 0.25).sum((1, 2, 3)) == 84).all()
    dot = torch.zeros(1, 1, 1, 5)
    dot[..., 2] = 1
    moved = CORRUPTORS["translation"].change(dot.expand(1, 1, 5, 5), 0.2, torch.Generator().manual_seed(0))
    assert float(moved.sum()) == pytest.approx(5, abs=1.1)  # a stroke moves by up to one pixel, and loses none of it


def test_noise_has_the_strength_it_says():
    grey = Images(torch.full((40, 1, 28, 28), 0.5), torch.zeros(40, dtype=torch.int64), UNIT)
    assert float(corrupt(grey, "gaussian_noise", 1, 0).std()) == pytest.approx(0.08, rel=0.03)
    hit = corrupt(grey, "impulse_noise", 5, 0)
    assert float((hit != 0.5).float().mean()) == pytest.approx(0.27, abs=0.01)
    assert float(hit[hit != 0.5].mean()) == pytest.approx(0.5, abs=0.03)


def test_accuracies_are_those_on_the_corrupted_images():
    given, model = images(), nn.Sequential(nn.Flatten(), nn.Linear(784, 4))
    (found,) = measure_corruptions(model, given, ("occlusion",), 5)
    expected = [
        (model(corrupt(given, "occlusion", s, 5)).argmax(1) == given.targets).float().mean() for s in range(1, 6)
    ]
    assert found.accuracies == pytest.approx([float(each) for each in expected])


def test_what_is_no_image_is_refused():
    check_corruptible((), (64,), "mine:flat")
    with pytest.raises(ConfigurationError, match=r"mine:flat.*\[64\].*leave `corruptions` out"):
        check_corruptible(("blur",), (64,), "mine:flat")


def data(shape, classes=4):
    split = Split(torch.zeros(8, *shape), torch.arange(8) % classes)
    return DataSet("made", split, split, split, classes)


def brightness_model():
    """Answers 1 for bright images, else 0."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 4))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model[1].weight[1] = 1.0
        model[1].bias[0] = 8.0
    return model


def test_a_folder_like_mnist_c(tmp_path):
    (tmp_path / "fog").mkdir()
    pixels = np.zeros((6, 4, 4, 1), np.uint8)
    pixels[::2] = 255
    np.save(tmp_path / "fog" / "test_images.npy", pixels)
    np.save(tmp_path / "fog" / "test_labels.npy", np.array([1, 0, 1, 1, 1, 1]))
    found = find_ready(tmp_path, data((1, 4, 4)))
    (row,) = measure_ready(brightness_model(), found, 4, UNIT)
    assert (row.corruption, row.accuracies) == (f"{tmp_path.name}/fog", (0.75,))


def test_a_folder_like_cifar_10_c(tmp_path):
    pixels = np.zeros((20, 4, 4, 1), np.uint8)
    for severity in range(5):
        pixels[4 * severity : 4 * severity + severity] = 255  # one more of four is bright at each severity
    np.save(tmp_path / "frost.npy", pixels)
    np.save(tmp_path / "labels.npy", np.zeros(20, np.int64))
    (row,) = measure_ready(brightness_model(), find_ready(tmp_path, data((1, 4, 4))), 100, UNIT)
    assert row.accuracies == (1.0, 0.75, 0.5, 0.25, 0.0)


def test_folders_that_cannot_be_used_say_so(tmp_path):
    with pytest.raises(DataError, match=r"`evaluate.corrupted`.*has neither"):
        find_ready(tmp_path, data((1, 4, 4)))
    with pytest.raises(DataError, match="is no folder"):
        find_ready(tmp_path / "nowhere", data((1, 4, 4)))
    np.save(tmp_path / "labels.npy", np.zeros(5, np.int64))
    np.save(tmp_path / "fog.npy", np.array([{"a": 1}] * 5), allow_pickle=True)
    with pytest.raises(DataError, match=r"cannot read .*fog.npy"):
        find_ready(tmp_path, data((1, 4, 4)))
    np.save(tmp_path / "fog.npy", np.zeros((5, 4, 5, 1), np.uint8))
    with pytest.raises(DataError, match=r"\[4, 4, 1\].*got \[4, 5, 1\]"):
        find_ready(tmp_path, data((1, 4, 4)))
    np.save(tmp_path / "fog.npy", np.zeros((6, 4, 4, 1), np.uint8))
    with pytest.raises(DataError, match="one label an image"):
        find_ready(tmp_path, data((1, 4, 4)))
    np.save(tmp_path / "fog.npy", np.zeros((5, 4, 4, 1), np.uint8))
    np.save(tmp_path / "labels.npy", np.full(5, 9))
    with pytest.raises(DataError, match="labels from 0 to 3"):
        find_ready(tmp_path, data((1, 4, 4)))
