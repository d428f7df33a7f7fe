"""LeNet-5 (LeCun, Bottou, Bengio, Haffner 1998), with ReLU and max-pooling."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional

from precsearch.models.factors import check_width, image_shape, scaled

_KERNEL = 5
_ORIGINAL = 32  # pixels a side of the paper's images; smaller ones are padded as MNIST's 28 are
_SMALLEST = 12  # pixels a side that leave one behind the last pooling


class LeNet5(nn.Module):
    """Two convolutions and three fully connected layers.

    Args:
        input_shape: (channels, height, width).
        classes: width of the output.
        maps: feature maps of the two convolutions.
    """

    def __init__(self, input_shape: tuple[int, int, int], classes: int, maps: tuple[int, int]) -> None:
        super().__init__()
        channels, *size = input_shape
        padding = 2 if min(size) < _ORIGINAL else 0
        self.conv1 = nn.Conv2d(channels, maps[0], _KERNEL, padding=padding)
        self.conv2 = nn.Conv2d(maps[0], maps[1], _KERNEL)
        left = [((side + 2 * padding - _KERNEL + 1) // 2 - _KERNEL + 1) // 2 for side in size]
        self.fc1 = nn.Linear(maps[1] * math.prod(left), 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """[N, channels, height, width] float32 -> logits [N, classes] float32."""
        x = functional.max_pool2d(functional.relu(self.conv1(inputs)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        x = functional.relu(self.fc1(x.flatten(1)))
        x = functional.relu(self.fc2(x))
        logits: Tensor = self.fc3(x)
        return logits


def lenet5(input_shape: tuple[int, ...], classes: int, width: float = 1.0) -> LeNet5:
    """Build LeNet-5; its layers are ``conv1``, ``conv2``, ``fc1``, ``fc2``, ``fc3``.

    Args:
        input_shape: (channels, height, width), sides of 12 pixels or more.
        classes: width of the output.
        width: factor > 0 on the 6 and 16 feature maps of the convolutions, rounded, at least one map each.

    Returns:
        [N, *input_shape] float32 -> [N, classes] float32; initialized from torch's global generator.

    Raises:
        ModelError: the images are too small or no images, or `width` is not positive.
    """
    check_width(width)
    return LeNet5(image_shape(input_shape, "lenet5", _SMALLEST), classes, (scaled(6, width), scaled(16, width)))
