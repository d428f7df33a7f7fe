"""Grids of networks in numbers alone: errors by cell, arm and bits; nothing is read and nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from precsearch.analysis.grid import Grid, GridNetwork

WIDTH, DEPTH = "model.width", "model.depth"
Errors = Sequence[float] | Mapping[int, float]


def network(
    cell: int, at: Mapping[str, Any], size: float, errors: Errors, arm: str = "float", bits: int | None = None,
    layer: str | None = None,
) -> GridNetwork:  # fmt: skip
    by_index = dict(errors) if isinstance(errors, Mapping) else dict(enumerate(errors))
    return GridNetwork(cell, dict(at), arm, bits, layer, size, by_index)


def row_of_widths(
    sizes: Sequence[float], floats: Sequence[Errors], quantized: Mapping[int, Errors], arm: str = "retrained",
    bits: int = 2, times: float = 16.0,
) -> Grid:  # fmt: skip
    """One family: a cell for each size, and quantized networks `times` as small in some of them."""
    networks = [network(cell, {WIDTH: cell + 1.0}, size, floats[cell]) for cell, size in enumerate(sizes)]
    networks += [
        network(cell, {WIDTH: cell + 1.0}, sizes[cell] / times, errors, arm, bits) for cell, errors in quantized.items()
    ]
    return Grid((WIDTH,), tuple(networks))


def plane(errors: Mapping[tuple[float, int], Mapping[str, Errors]], sizes: Mapping[tuple[float, int], float]) -> Grid:
    """Widths x depths; (width, depth) -> ``float`` or ``retrained-2`` -> errors."""
    networks = []
    for cell, (key, own) in enumerate(errors.items()):
        for label, values in own.items():
            arm, _, bits = label.partition("-")
            size = sizes[key] * (int(bits) / 32 if bits else 1.0)
            at = {WIDTH: key[0], DEPTH: key[1]}
            networks.append(network(cell, at, size, values, arm, int(bits) if bits else None))
    return Grid((WIDTH, DEPTH), tuple(networks))
