"""Signs that attacks fail because their gradients do."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from precsearch.evaluation.images import Images
from precsearch.experiment import EvaluateSettings
from precsearch.measured import AttackCurve, MaskingCheck


def masking_checks(
    model: nn.Module,
    shadow: nn.Module,
    images: Images,
    curves: Sequence[AttackCurve],
    settings: EvaluateSettings,
    seed: int,
) -> tuple[MaskingCheck, ...]:
    """Every check, on the first norm of `settings`; none where there are no curves."""
    raise NotImplementedError
