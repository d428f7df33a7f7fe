"""A small convolutional net whose feature maps are what varies, as in studies of complexity against precision."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from torch import nn

from precsearch.errors import ModelError
from precsearch.models.factors import check_width, image_shape, scaled

_MAPS: Final = (32, 32, 64)
_UNITS: Final = 64
_KERNEL: Final = 5


def convnet(
    input_shape: tuple[int, ...], classes: int, maps: Sequence[int] = _MAPS, *, width: float = 1.0
) -> nn.Sequential:
    """Build the quick CIFAR-10 net of cuda-convnet (Krizhevsky 2012), with max-pooling throughout.

    A stage for each of `maps`: a 5x5 convolution, ReLU, max-pooling that halves the image; then a fully connected
    layer of 64 units, and the output. 145,578 parameters for 3 x 32 x 32 and 10 classes. Its layers are ``conv1``,
    ``conv2``, ..., ``fc1`` and ``fc2``.

    Args:
        input_shape: (channels, height, width), sides of 8 pixels or more for three stages.
        classes: width of the output.
        maps: feature maps of each convolution, at least one convolution.
        width: factor > 0 on the maps and on the 64 units, rounded, at least one each.

    Returns:
        [N, *input_shape] float32 -> [N, classes] float32; initialized from torch's global generator.

    Raises:
        ModelError: the images are too small or no images, or an argument is out of range.
    """
    check_width(width)
    if not isinstance(maps, list | tuple) or not maps or not all(type(count) is int and count >= 1 for count in maps):
        raise ModelError(f"`model.maps`: a list of whole numbers >= 1, at least one, must hold, but got {maps!r}")
    smallest = 2 ** len(maps)  # pixels a side that leave one behind the last pooling
    before, height, across = image_shape(input_shape, "convnet", smallest)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for stage, count in enumerate(maps, start=1):
        after = scaled(count, width)
        layers[f"conv{stage}"] = nn.Conv2d(before, after, _KERNEL, padding=_KERNEL // 2)
        layers[f"relu{stage}"] = nn.ReLU()
        layers[f"pool{stage}"] = nn.MaxPool2d(2)
        before = after
    units = scaled(_UNITS, width)
    layers["flatten"] = nn.Flatten()
    layers["fc1"] = nn.Linear(before * (height // smallest) * (across // smallest), units)
    layers["relu"] = nn.ReLU()
    layers["fc2"] = nn.Linear(units, classes)
    return nn.Sequential(layers)
