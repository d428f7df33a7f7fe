"""VGG-Small, the plain convolutional net of the quantization literature (as in LQ-Nets, Zhang et al. 2018)."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from precsearch.models.factors import check_depth, check_width, image_shape, scaled

_MAPS = (128, 256, 512)  # of the three stages
_SMALLEST = 8  # pixels a side that leave one behind the third pooling
_DEPTHS = (3, 1, 4, 31)  # step, offset, least, most: the same number of convolutions a stage, and the classifier


def vgg_small(input_shape: tuple[int, ...], classes: int, *, width: float = 1.0, depth: int = 7) -> nn.Sequential:
    """Build VGG-Small; its layers are ``conv1``, ``conv2``, ... and ``fc``.

    Three stages of 128, 256 and 512 maps: 3x3 convolutions with BatchNorm and ReLU, then max-pooling that halves
    the image; one fully connected layer on what is left. 4.66 million parameters for 3 x 32 x 32 and 10 classes.

    Args:
        input_shape: (channels, height, width), sides of 8 pixels or more.
        classes: width of the output.
        width: factor > 0 on the 128, 256 and 512 feature maps, rounded, at least one each.
        depth: layers with weights, 4 to 31 in steps of 3: one convolution a stage is 4, two are 7, three are 10.

    Returns:
        [N, *input_shape] float32 -> [N, classes] float32; initialized from torch's global generator.

    Raises:
        ModelError: the images are too small or no images, or an argument is out of range.
    """
    check_width(width)
    check_depth(depth, *_DEPTHS)
    before, height, across = image_shape(input_shape, "vgg_small", _SMALLEST)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    number = 0
    for stage, count in enumerate(_MAPS, start=1):
        maps = scaled(count, width)
        for _ in range(depth // len(_MAPS)):
            number += 1
            # BatchNorm subtracts whatever a bias would add
            layers[f"conv{number}"] = nn.Conv2d(before, maps, 3, padding=1, bias=False)
            layers[f"norm{number}"] = nn.BatchNorm2d(maps)
            layers[f"relu{number}"] = nn.ReLU()
            before = maps
        layers[f"pool{stage}"] = nn.MaxPool2d(2)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(before * (height // _SMALLEST) * (across // _SMALLEST), classes)
    return nn.Sequential(layers)
