"""A part of MNIST, so small that many studies can be trained on it; named by import path in `data.name`."""

from __future__ import annotations

from dataclasses import replace

from precsearch.data import DataSet, load_data
from precsearch.experiment import DataSettings


def few_images(root: str, images: int, validation_images: int, test_images: int) -> DataSet:
    """The first `images` of MNIST's training split (which is in random order), and likewise of the others."""
    whole = load_data(DataSettings(name="mnist", root=root, validation=validation_images))
    return replace(whole, train=whole.train.first(images), test=whole.test.first(test_images), checksum="")
