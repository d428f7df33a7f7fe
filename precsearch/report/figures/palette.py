"""Colours, and what tells arms and runs apart without them.

Figures are drawn in the light colours; in the SVG each is a CSS variable of that name with the colour as its fallback,
so that a page can set them all, and a program that knows no variables still shows the light ones.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

# name of the CSS variable -> (light, dark); the light ones differ, for each stands for its variable in a drawing.
# Arms and runs: Okabe and Ito's palette, lightened on dark paper.
COLORS: Final[dict[str, tuple[str, str]]] = {
    "ink": ("#1f2328", "#e6e8eb"),
    "muted": ("#5c6570", "#a3abb5"),
    "axis": ("#8c959f", "#6b7480"),
    "grid": ("#e4e7eb", "#30363d"),
    "paper": ("#ffffff", "#14171b"),
    "found": ("#0072b2", "#56b4e9"),
    "uniform": ("#d55e00", "#f28e3d"),
    "random": ("#009e73", "#35c79b"),
    "float": ("#4b4f55", "#c3c8ce"),
    "other": ("#b8860b", "#e0b040"),
    "stochastic": ("#a34e82", "#dd9cc1"),
    "drawn": ("#6f3fa0", "#b99be6"),
    "dropout": ("#8a6d01", "#e8c546"),
    "weight-noise": ("#007d8a", "#4fc4d0"),
    "fixed": ("#8b4513", "#d9a06b"),
    "warn": ("#b4407f", "#e69ac0"),
    "run-1": ("#0072b3", "#56b4ea"),
    "run-2": ("#d55e01", "#f28e3e"),
    "run-3": ("#009e74", "#35c79c"),
    "run-4": ("#a34e83", "#dd9cc2"),
    "run-5": ("#8a6d00", "#e8c547"),
    "run-6": ("#4b5056", "#c3c8cf"),
}


class Style(NamedTuple):
    """How one arm is drawn: a colour, a marker and dashes, so that no two differ by colour alone."""

    color: str
    marker: str
    dashes: Literal["solid"] | tuple[int, tuple[float, ...]]


_ARMS: Final = {
    "found": Style("found", "o", "solid"),
    "uniform": Style("uniform", "s", (0, (5.0, 2.0))),
    "random": Style("random", "^", (0, (1.5, 1.5))),
    "float": Style("float", "D", (0, (6.0, 2.0, 1.5, 2.0))),
    # kinds of arms of a comparison
    "learned": Style("found", "o", "solid"),
    "stochastic": Style("stochastic", "P", (0, (8.0, 2.0))),
    "drawn": Style("drawn", "X", (0, (3.0, 1.5))),
    "dropout": Style("dropout", "<", (0, (2.0, 2.0, 6.0, 2.0))),
    "weight-noise": Style("weight-noise", ">", (0, (1.0, 2.5))),
    "fixed": Style("fixed", "p", (0, (10.0, 3.0))),
}
_SPARE: Final = tuple(
    Style(color, marker, (0, (4.0, at)))
    for at, (color, marker) in enumerate(
        zip(("other", "fixed", "warn", "run-2", "run-3", "run-6"), "dh*H84", strict=True), start=1
    )
)  # fmt: skip
_RUNS: Final = 6


def arm_style(arm: str) -> Style:
    """The style of an arm; one that is not known here has a style that no known arm has."""
    spare = {f"spare-{index}": style for index, style in enumerate(_SPARE)}
    return _ARMS.get(arm) or spare.get(arm) or Style("other", "v", (0, (3.0, 1.0, 1.0, 1.0, 1.0, 1.0)))


def spare_style(index: int) -> str:
    """Name of a style for a further arm of a kind that has its own already; a seventh has that of the first."""
    return f"spare-{index % len(_SPARE)}"


def run_color(index: int) -> str:
    """Name of the colour of the run at `index` of a report; a seventh run has that of the first."""
    return f"run-{index % _RUNS + 1}"


def hex_of(name: str) -> str:
    """The light colour that stands for the variable `name` in a drawing."""
    return COLORS[name][0]
