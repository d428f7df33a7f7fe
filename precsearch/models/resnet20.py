"""ResNet-20 and its kin for small images (He, Zhang, Ren, Sun 2016, section 4.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from precsearch.models.factors import check_depth, check_width, image_shape, scaled

_MAPS = (16, 32, 64)  # of the three stages
_SMALLEST = 4  # pixels a side that leave one behind the second halving
_DEPTHS = (6, 2, 8, 110)  # step, offset, least, most


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut around them without parameters.

    Args:
        before: maps of the input.
        maps: of the output; not fewer than `before`.
        stride: 2 halves the image.
    """

    def __init__(self, before: int, maps: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, maps, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(maps)
        self.conv2 = nn.Conv2d(maps, maps, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(maps)
        self.stride = stride
        self.added = maps - before

    def forward(self, inputs: Tensor) -> Tensor:
        """[N, before, H, W] float32 -> [N, maps, ceil(H / stride), ceil(W / stride)] float32."""
        x = functional.relu(self.norm1(self.conv1(inputs)))
        x = self.norm2(self.conv2(x)) + self._shortcut(inputs)
        return functional.relu(x)

    def _shortcut(self, x: Tensor) -> Tensor:
        # Option A: every second pixel, new maps zero. The paper's own for small images; a projection (option B)
        # would add two layers that need bits of their own.
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.added:
            front = self.added // 2
            x = functional.pad(x, (0, 0, 0, 0, front, self.added - front))
        return x


class ResNet(nn.Module):
    """A convolution, three stages of blocks, the mean over the image, and the classifier.

    Args:
        channels: of the images.
        classes: width of the output.
        maps: of the three stages, not falling.
        blocks: a stage.
    """

    def __init__(self, channels: int, classes: int, maps: tuple[int, int, int], blocks: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, maps[0], 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(maps[0])
        self.stage1 = _stage(maps[0], maps[0], blocks, 1)
        self.stage2 = _stage(maps[0], maps[1], blocks, 2)
        self.stage3 = _stage(maps[1], maps[2], blocks, 2)
        self.fc = nn.Linear(maps[2], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, inputs: Tensor) -> Tensor:
        """[N, channels, height, width] float32 -> logits [N, classes] float32."""
        x = functional.relu(self.norm1(self.conv1(inputs)))
        x = self.stage3(self.stage2(self.stage1(x)))
        logits: Tensor = self.fc(torch.mean(x, dim=(2, 3)))
        return logits


def resnet20(input_shape: tuple[int, ...], classes: int, *, width: float = 1.0, depth: int = 20) -> ResNet:
    """Build a ResNet for small images; its layers are ``conv1``, ``stage1.0.conv1``, ... and ``fc``.

    Three stages of n blocks with 16, 32 and 64 maps, and shortcuts without parameters (option A of the paper):
    270 thousand parameters for 3 x 32 x 32 and 10 classes.

    Args:
        input_shape: (channels, height, width), sides of 4 pixels or more.
        classes: width of the output.
        width: factor > 0 on the 16, 32 and 64 feature maps, rounded, at least one each.
        depth: layers with weights, 6n + 2 for n blocks a stage: 8, 14, 20, ... 110.

    Returns:
        [N, *input_shape] float32 -> [N, classes] float32; initialized from torch's global generator.

    Raises:
        ModelError: the images are too small or no images, or an argument is out of range.
    """
    check_width(width)
    check_depth(depth, *_DEPTHS)
    channels, _, _ = image_shape(input_shape, "resnet20", _SMALLEST)
    first, second, third = (scaled(count, width) for count in _MAPS)
    return ResNet(channels, classes, (first, second, third), depth // 6)


def _stage(before: int, maps: int, blocks: int, stride: int) -> nn.Sequential:
    first = Block(before, maps, stride)
    return nn.Sequential(first, *(Block(maps, maps, 1) for _ in range(blocks - 1)))
