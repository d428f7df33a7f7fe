"""Networks of the benchmarks, built by import path."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


def four_layers(input_shape: tuple[int, ...], classes: int, width: int = 8) -> nn.Module:
    """Two convolutions and two fully connected layers for small images, [B, C, H, W] -> [B, classes]."""
    channels, height, wide = input_shape
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, width, 3, padding=1),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(width, 2 * width, 3, padding=1),
            relu2=nn.ReLU(),
            pool=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(2 * width * (height // 2) * (wide // 2), 4 * width),
            relu3=nn.ReLU(),
            fc2=nn.Linear(4 * width, classes),
        )
    )
