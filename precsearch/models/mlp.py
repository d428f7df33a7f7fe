"""Feed-forward networks of any width and depth."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from precsearch.errors import ModelError
from precsearch.imports import nearest
from precsearch.models.factors import check_depth, check_width, scaled

_UNITS = 64
_LAYERS = 2
_DEEPEST = 100

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


def mlp(
    input_shape: tuple[int, ...],
    classes: int,
    hidden: Sequence[int] | None = None,
    *,
    width: float = 1.0,
    depth: int | None = None,
    batch_norm: bool = False,
    dropout: float = 0.0,
    activation: str = "relu",
) -> nn.Sequential:
    """Build a feed-forward network; its layers are ``fc1``, ``fc2``, ... and ``out``.

    Args:
        input_shape: of one input; flattened.
        classes: width of the output.
        hidden: width of each hidden layer, at least one; `depth` layers of 64 units where None.
        width: factor > 0 on the width of every hidden layer, rounded, at least one unit each.
        depth: hidden layers where `hidden` is not given, 1 to 100; 2 where None.
        batch_norm: normalize before each activation.
        dropout: probability in [0, 1) of dropping a hidden activation.
        activation: one of `ACTIVATIONS`.

    Returns:
        [N, *input_shape] float32 -> [N, classes] float32; initialized from torch's global generator.

    Raises:
        ModelError: an argument is out of range.
    """
    widths = _widths(hidden, width, depth)
    _check(dropout, activation)
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    before = math.prod(input_shape)
    for number, units in enumerate(widths, start=1):
        # BatchNorm subtracts whatever a bias would add
        layers[f"fc{number}"] = nn.Linear(before, units, bias=not batch_norm)
        if batch_norm:
            layers[f"norm{number}"] = nn.BatchNorm1d(units)
        layers[f"{activation}{number}"] = ACTIVATIONS[activation]()
        if dropout:
            layers[f"dropout{number}"] = nn.Dropout(dropout)
        before = units
    layers["out"] = nn.Linear(before, classes)
    return nn.Sequential(layers)


def _widths(hidden: Sequence[int] | None, width: float, depth: int | None) -> list[int]:
    check_width(width)
    if hidden is None:
        check_depth(_LAYERS if depth is None else depth, 1, 0, 1, _DEEPEST)
        hidden = [_UNITS] * (_LAYERS if depth is None else depth)
    elif depth is not None:
        raise ModelError(
            f"`model.hidden` or `model.depth` must be given, not both, but got {hidden!r} and {depth!r}; "
            "`hidden` says how many layers there are: drop `depth`"
        )
    if not isinstance(hidden, list | tuple) or not hidden or not all(_is_width(units) for units in hidden):
        hint = f"; write [{hidden}]" if _is_width(hidden) else ""
        raise ModelError(
            f"`model.hidden`: a list of whole numbers >= 1, at least one, must hold, but got {hidden!r}{hint}"
        )
    return [scaled(units, width) for units in hidden]


def _check(dropout: float, activation: str) -> None:
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise ModelError(f"`model.dropout`: `0 <= dropout < 1` must hold, but got {dropout!r}")
    if activation not in ACTIVATIONS:
        raise ModelError(
            f"`model.activation`: one of {', '.join(ACTIVATIONS)} must hold, "
            f"but got {activation!r}{nearest(str(activation), ACTIVATIONS)}"
        )


def _is_width(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
