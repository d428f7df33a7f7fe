"""How well a network's probabilities mean what they say. Legend: N images, C classes, B bins."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from precsearch.data.batches import Batches
from precsearch.data.dataset import BaseSplit
from precsearch.measured import Calibration, ReliabilityBin

BINS: Final = 15
"""Of equal width, as torchmetrics has them by default."""
_BATCH: Final = 1000


@torch.no_grad()
def measure_calibration(model: nn.Module, split: BaseSplit) -> Calibration:
    """Run `model` over `split` in evaluation mode; its mode is restored.

    Args:
        model: maps inputs [B, ...] to logits [B, classes].
        split: what to run over.
    """
    training = model.training
    model.eval()
    outputs = [(model(inputs), targets) for inputs, targets in Batches(split, _BATCH)]
    model.train(training)
    logits, targets = (torch.cat(parts) for parts in zip(*outputs, strict=True))
    return calibration(logits, targets)


def calibration(logits_NC: Tensor, targets_N: Tensor) -> Calibration:
    """Calibration of answers.

    Args:
        logits_NC: float, [N, C]; the logarithms of probabilities will do.
        targets_N: the right classes, int64, [N].

    Reference:
        Guo et al. 2017 (arXiv:1706.04599), eq. 5, for the expected calibration error; Brier 1950 for the score.
    """
    logs_NC = logits_NC.double().log_softmax(1)
    probabilities_NC = logs_NC.exp()
    right_NC = nn.functional.one_hot(targets_N, logits_NC.shape[1])
    # the answer from the logits, whose ties the exponential makes
    right_N = (logits_NC.argmax(1) == targets_N).double()
    bins = _bins(probabilities_NC.amax(1).clamp(max=1), right_N)
    return Calibration(
        nll=float(-logs_NC.gather(1, targets_N.unsqueeze(1)).mean()),
        brier=float((probabilities_NC - right_NC).square().sum(1).mean()),
        ece=sum(each.count * abs(each.accuracy - each.confidence) for each in bins) / len(targets_N),
        bins=bins,
    )


def _bins(confidence_N: Tensor, right_N: Tensor) -> tuple[ReliabilityBin, ...]:
    edges = torch.linspace(0, 1, BINS + 1, dtype=confidence_N.dtype, device=confidence_N.device)
    bin_N = torch.bucketize(confidence_N, edges[1:-1])  # closed above: a confidence of 1 lies in the last
    count_B = torch.bincount(bin_N, minlength=BINS)
    shares_B = [
        (torch.bincount(bin_N, values, minlength=BINS) / count_B.clamp(min=1)).clamp(max=1).tolist()
        for values in (confidence_N, right_N)
    ]
    return tuple(
        ReliabilityBin(low=low, high=high, count=count, confidence=confidence, accuracy=accuracy)
        for low, high, count, confidence, accuracy in zip(
            edges[:-1].tolist(), edges[1:].tolist(), count_B.tolist(), *shares_B, strict=True
        )
    )
