"""Folders of small generated images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from precsearch.data import DataSet, load_data
from precsearch.experiment import DataSettings

CLASSES = ("cat", "dog", "fox")


def draw(path: Path, size: tuple[int, int] = (16, 16), seed: int = 0, mode: str = "RGB", **save: Any) -> Path:
    """One picture of noise, `size` is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **save)
    return path


def make_folder(
    root: Path,
    count: int = 12,
    size: tuple[int, int] = (16, 16),
    parts: Sequence[str] = ("train", "test"),
    ending: str = "png",
) -> Path:
    """`count` images a class in `train`, a third of that in the other part."""
    seed = 0
    for part in parts:
        for name in CLASSES:
            for number in range(count if part == "train" else count // 3):
                draw(root / part / name / f"{number:03d}.{ending}", size, seed := seed + 1)
    return root


def load(root: Path, name: str = "image_folder", **keys: Any) -> DataSet:
    return load_data(DataSettings(name=name, root=str(root), **{"validation": 9, **keys}))
