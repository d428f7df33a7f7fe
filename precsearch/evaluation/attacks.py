"""Gradient attacks."""

from __future__ import annotations

from torch import nn

from precsearch.evaluation.images import Images
from precsearch.experiment import EvaluateSettings
from precsearch.measured import AttackCurve


def attack_curves(model: nn.Module, images: Images, settings: EvaluateSettings, seed: int) -> tuple[AttackCurve, ...]:
    """Accuracy under every attack and norm of `settings`, at each epsilon."""
    raise NotImplementedError
