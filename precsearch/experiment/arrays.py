"""Keys of `data:` that a file of arrays has."""

from __future__ import annotations

from pydantic import Field

from precsearch.experiment.base import Settings


class ArraySettings(Settings):
    """Keys of ``arrays``.

    Attributes:
        path: of an ``.npz`` or ``.safetensors`` file, or of a folder of ``.npy`` files, with the arrays `train_inputs`,
            `train_targets`, `test_inputs`, `test_targets` and, where validation is not to be held out of the training
            data, `validation_inputs` and `validation_targets`.
        normalize: whether inputs are standardized: mean 0 and deviation 1 over the training split, by channel for
            pictures [N, channels, height, width], else each feature on its own.
    """

    path: str = Field(min_length=1)
    normalize: bool = False
