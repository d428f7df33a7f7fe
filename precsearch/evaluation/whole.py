"""Everything that `evaluate:` asks of one trained network, measured."""

from __future__ import annotations

import time
from typing import Literal

from torch import nn

from precsearch.data.dataset import DataSet
from precsearch.evaluation.calibration import measure_calibration
from precsearch.experiment import EvaluateSettings
from precsearch.measured import Evaluation

SplitName = Literal["validation", "test"]


def evaluate_network(
    model: nn.Module, data: DataSet, settings: EvaluateSettings, split: SplitName, seed: int
) -> Evaluation:
    """Measure a trained network; weights, ranges, modes and the global random state are left as they were.

    Args:
        model: quantized, settled; maps inputs [B, ...] to logits [B, classes].
        data: what it was trained on.
        settings: what to measure; the calibration always is.
        split: whose images to measure on.
        seed: of every random choice.
    """
    started = time.monotonic()
    measured = data.validation if split == "validation" else data.test
    return Evaluation(
        split=split,
        images=min(settings.images, len(measured)),
        seed=seed,
        calibration=measure_calibration(model, measured),
        seconds=time.monotonic() - started,
    )
