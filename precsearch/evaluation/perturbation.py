"""The smallest perturbation that changes an answer."""

from __future__ import annotations

from torch import nn

from precsearch.evaluation.images import Images
from precsearch.experiment import EvaluateSettings
from precsearch.measured import Perturbation


def smallest_perturbations(
    model: nn.Module, images: Images, settings: EvaluateSettings, seed: int
) -> tuple[Perturbation, ...]:
    """One for each norm of `settings`; none where it does not ask for them."""
    raise NotImplementedError
