"""A network and data of one's own, as a search space names them: `examples.nets:build` and `examples.nets:digits`."""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

Pair = tuple[Tensor, Tensor]
TRAINING_IMAGES = 1400


class SmallCNN(nn.Module):
    """Two convolutions with BatchNorm, then one fully connected layer; an ordinary module, written for no search.

    Args:
        channels: of the images.
        width: feature maps of the first convolution.
        classes: width of the output.
    """

    def __init__(self, channels: int = 1, width: int = 16, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(2 * width)
        self.out = nn.Linear(2 * width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """[N, channels, height, width] float32 -> [N, classes] float32."""
        x = nn.functional.max_pool2d(torch.relu(self.norm1(self.conv1(images))), 2)
        x = torch.relu(self.norm2(self.conv2(x))).mean((2, 3))
        logits: Tensor = self.out(x)
        return logits


def build(input_shape: tuple[int, ...], classes: int, width: int = 16) -> SmallCNN:
    """What `model.name: examples.nets:build` calls.

    Args:
        input_shape: of one image, given by precsearch because the signature names it.
        classes: likewise.
        width: every other argument is a key of `model:`; this one can be searched as `model.width`.
    """
    return SmallCNN(input_shape[0], width, classes)


def digits() -> tuple[Pair, Pair]:
    """What `data.name: examples.nets:digits` calls: (inputs, labels) to train on, and to test on.

    Validation images are held out of the first pair by precsearch; return three pairs to do it yourself.
    """
    images, labels = load_digits(return_X_y=True)
    inputs = torch.from_numpy(images).float().reshape(-1, 1, 8, 8) / 16
    targets = torch.from_numpy(labels).long()
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(0))
    train, test = order[:TRAINING_IMAGES], order[TRAINING_IMAGES:]
    return (inputs[train], targets[train]), (inputs[test], targets[test])
