"""Random streams of an evaluation: one for each use, so that asking for more of one changes no other."""

from __future__ import annotations

import hashlib

import torch


def stream(seed: int, *labels: object) -> torch.Generator:
    """A generator on the CPU for the use that the labels name; the same on every machine."""
    digest = hashlib.sha256(":".join(map(str, (seed, *labels))).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
