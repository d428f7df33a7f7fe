"""Networks that a step is measured on: a name -> how to build it, its images and its batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from precsearch.models.lenet5 import lenet5
from precsearch.models.resnet20 import resnet20
from precsearch.torchvision_import import import_torchvision

CLASSES = 10


@dataclass(frozen=True)
class Network:
    """Of a network, what a step needs.

    Attributes:
        build: makes it anew.
        shape: (channels, height, width) of an image.
        batch: images a step.
        rounds: how often it is measured, so that the whole takes minutes.
        rivals: whether the rivals are measured on it.
    """

    build: Callable[[], nn.Module]
    shape: tuple[int, int, int]
    batch: int
    rounds: int
    rivals: bool = False


def lenet317() -> nn.Module:
    """A wider LeNet of 317 thousand parameters: large enough that convolutions decide."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1568, 192),
        nn.ReLU(),
        nn.Linear(192, CLASSES),
    )


def mobilenet_v2() -> nn.Module:
    """torchvision's, for ten classes: depthwise convolutions, many activations for each product."""
    import_torchvision()
    from torchvision import models

    net: nn.Module = models.mobilenet_v2(num_classes=CLASSES)
    return net


def small_vit() -> nn.Module:
    """A vision transformer of four layers on 64 patches."""
    import_torchvision()
    from torchvision import models

    net: nn.Module = models.VisionTransformer(
        image_size=32, patch_size=4, num_layers=4, num_heads=4, hidden_dim=128, mlp_dim=256, num_classes=CLASSES
    )
    return net


NETWORKS = {
    "lenet5": Network(lambda: lenet5((1, 28, 28), CLASSES), (1, 28, 28), 128, 9),
    "lenet317": Network(lenet317, (1, 28, 28), 128, 5, rivals=True),
    "resnet20": Network(lambda: resnet20((3, 32, 32), CLASSES), (3, 32, 32), 128, 3, rivals=True),
    "mobilenet_v2": Network(mobilenet_v2, (3, 64, 64), 32, 3),
    "small_vit": Network(small_vit, (3, 32, 32), 32, 3),
}
