"""Everything that `evaluate:` asks of one trained network, measured."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import nn

from precsearch.data.batches import Batches
from precsearch.data.dataset import DataSet
from precsearch.evaluation.alone import Candidates, measure_alone
from precsearch.evaluation.attacks import attack_curves
from precsearch.evaluation.bit_flips import measure_bit_flips
from precsearch.evaluation.calibration import measure_calibration
from precsearch.evaluation.corruptions import check_corruptible, measure_corruptions
from precsearch.evaluation.images import Images, input_range
from precsearch.evaluation.masking import masking_checks
from precsearch.evaluation.perturbation import smallest_perturbations
from precsearch.evaluation.ready import find_ready, measure_ready
from precsearch.evaluation.shadow import float_shadow
from precsearch.evaluation.victims import MeanOverDraws, evaluating, weights_in
from precsearch.experiment import EvaluateSettings
from precsearch.measured import Corruption, Evaluation

SplitName = Literal["validation", "test"]
_RANGES: Final = 500  # training images that the ranges of `alone` are taken from


def check_measurable(settings: EvaluateSettings, data: DataSet) -> None:
    """Refuse before the training what could not be measured after it.

    Raises:
        ConfigurationError: when corruptions are asked for, and the inputs are not images.
        DataError: when the folder of corrupted images cannot be used.
    """
    check_corruptible(settings.corruptions, data.input_shape, data.name)
    if settings.corrupted is not None:
        find_ready(Path(settings.corrupted).expanduser(), data)


def evaluate_network(
    model: nn.Module,
    data: DataSet,
    settings: EvaluateSettings,
    split: SplitName,
    seed: int,
    candidates: Candidates | None = None,
) -> Evaluation:
    """Measure a trained network; weights, ranges, modes and the global random state are left as they were.

    Args:
        model: quantized; maps inputs [B, ...] to logits [B, classes]. A searchable one in training mode is still
            stochastic, and everything is then measured of the mean probability over `evaluate.draws` allocations, the
            same for all of it; but for `alone`, which is of its weights, whatever is drawn.
        data: what it was trained on.
        settings: what to measure; the calibration always is.
        split: whose images to measure on. A folder of corrupted images is of test images: read for ``test`` only.
        seed: of every random choice.
        candidates: bit-widths of each layer and target, for `alone`.
    """
    started = time.monotonic()
    measured = data.validation if split == "validation" else data.test
    with evaluating(model, settings.draws, seed) as network, torch.random.fork_rng(devices=[]):
        draws = len(network.drawn) if isinstance(network, MeanOverDraws) else 1
        calibration = measure_calibration(network, measured)
        images = Images.of(measured, settings.images, input_range(data))
        found = {
            **_attacked(network, images, settings, seed),
            "corruptions": _corrupted(network, data, images, settings, split, seed),
            "bit_flips": measure_bit_flips(network, images, settings.bit_flips, settings.flip_draws, seed),
            **(_alone(weights_in(network), data, images, candidates or {}) if settings.alone else {}),
        }
    return Evaluation(
        split=split,
        images=len(images),
        seed=seed,
        draws=draws,
        calibration=calibration,
        **found,
        seconds=round(time.monotonic() - started, 3),
    )


def _attacked(model: nn.Module, images: Images, settings: EvaluateSettings, seed: int) -> dict[str, Any]:
    curves = attack_curves(model, images, settings, seed)
    shadow = float_shadow(weights_in(model)) if curves else model
    return {
        "attacks": curves,
        "masking": masking_checks(model, shadow, images, curves, settings, seed),
        "perturbations": smallest_perturbations(model, images, settings, seed),
    }


def _corrupted(
    model: nn.Module, data: DataSet, images: Images, settings: EvaluateSettings, split: SplitName, seed: int
) -> tuple[Corruption, ...]:
    made = measure_corruptions(model, images, settings.corruptions, seed)
    if settings.corrupted is None or split == "validation":
        return made
    ready = find_ready(Path(settings.corrupted).expanduser(), data)
    return made + measure_ready(model, ready, settings.images, images.range)


def _alone(model: nn.Module, data: DataSet, images: Images, candidates: Candidates) -> dict[str, Any]:
    ranges_from = next(iter(Batches(data.train.first(min(_RANGES, len(data.train))), _RANGES)))[0]
    rows, loss = measure_alone(model, images, ranges_from, candidates)
    return {"alone": rows, "float_loss": loss}
