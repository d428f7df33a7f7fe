"""scikit-learn's bundled handwritten digits: 1,797 images of 8 x 8, no download."""

from __future__ import annotations

import torch

from precsearch.data.dataset import DataSet, Split
from precsearch.data.splits import hold_out
from precsearch.experiment import DataSettings

_TEST = 0.2
_BRIGHTEST = 16.0  # pixels count the dark cells of a 4 x 4 block


def load_digits(settings: DataSettings) -> DataSet:
    """Load the digits.

    Args:
        settings: `validation` is used: a fraction or count of the 1,437 images that are not test images.

    Returns:
        Inputs [N, 1, 8, 8] in [0, 1]; 10 classes. The 360 test images are the same whatever the settings.

    Raises:
        DataError: `validation` leaves too little.
    """
    from sklearn.datasets import load_digits as read_digits

    bunch = read_digits()
    inputs = torch.from_numpy(bunch.images).to(torch.float32).div_(_BRIGHTEST).unsqueeze(1)
    whole = Split(inputs, torch.from_numpy(bunch.target).to(torch.int64))
    learnable, test = hold_out(whole, _TEST)
    train, validation = hold_out(learnable, settings.validation)
    return DataSet("digits", train, validation, test, classes=10)
