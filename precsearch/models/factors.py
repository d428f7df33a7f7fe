"""What the networks here have in common: width factors, depths, and images of a size that fits."""

from __future__ import annotations

import math

from precsearch.errors import ModelError

_DIMENSIONS = 3  # channels, height, width


def scaled(count: int, width: float) -> int:
    """`count` units or maps times `width`, rounded, at least one."""
    return max(1, round(count * width))


def check_width(width: object) -> None:
    """Check a factor on widths.

    Raises:
        ModelError: it is no finite number > 0.
    """
    if isinstance(width, bool) or not isinstance(width, int | float) or not 0 < width < math.inf:
        raise ModelError(f"`model.width`: `width > 0` must hold, but got {width!r}")


def check_depth(depth: object, step: int, offset: int, low: int, high: int) -> None:
    """Check a count of layers: `offset` plus a multiple of `step`, from `low` to `high`.

    Raises:
        ModelError: it is none; the message names the nearest that is.
    """
    if isinstance(depth, int) and not isinstance(depth, bool):
        if low <= depth <= high and (depth - offset) % step == 0:
            return
        near = min(range(low, high + 1, step), key=lambda other: abs(other - depth))
        hint = f"; nearest: {near}"
    else:
        hint = ""
    allowed = f"a whole number from {low} to {high}" + (f" in steps of {step}" if step > 1 else "")
    raise ModelError(f"`model.depth`: {allowed} must hold, but got {depth!r}{hint}")


def image_shape(input_shape: tuple[int, ...], model: str, smallest: int) -> tuple[int, int, int]:
    """The shape of an image, checked.

    Args:
        input_shape: of one input.
        model: which needs it, for messages.
        smallest: pixels a side that it needs.

    Returns:
        (channels, height, width).

    Raises:
        ModelError: the inputs are no images, or too small.
    """
    if len(input_shape) != _DIMENSIONS:
        raise ModelError(
            f"{model} needs inputs of the shape [channels, height, width], but got {list(input_shape)}; "
            "`model.name: mlp` takes any shape"
        )
    channels, height, width = input_shape
    if min(height, width) < smallest:
        raise ModelError(
            f"{model} needs images of at least {smallest} x {smallest}, but got {height} x {width}; "
            "`model.name: mlp` takes any size"
        )
    return channels, height, width
